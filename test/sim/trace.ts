/**
 * Trace: all that happened in a run, as a hash, and on request as lines that people read. Two runs of one seed have the
 * same hash, or something in them depends on more than the seed.
 */
export class Trace {
  #low = 0x811c9dc5 | 0;
  #high = 0x6d2b79f5 | 0;
  #count = 0;
  readonly #print: ((line: string) => void) | undefined;

  constructor(print?: (line: string) => void) {
    this.#print = print;
  }

  get count(): number {
    return this.#count;
  }

  get isOn(): boolean {
    return this.#print !== undefined;
  }

  get hash(): string {
    return hex(this.#high) + hex(this.#low);
  }

  /** Something happened: what, to whom, and up to three numbers that tell it from others. */
  note(timeMs: number, what: string, who: string, a: number = 0, b: number = 0, c: number = 0): void {
    this.#count++;
    this.#mixText(what);
    this.#mixText(who);
    this.#mix(Math.round(timeMs * 1000));
    this.#mix(a);
    this.#mix(b);
    this.#mix(c);
    if (this.#print !== undefined) {
      this.#print(`${timeMs.toFixed(3).padStart(12)} ${who.padEnd(4)} ${what} ${a} ${b} ${c}`);
    }
  }

  /** For people only: not in the hash. */
  say(timeMs: number, who: string, text: () => string): void {
    if (this.#print !== undefined) this.#print(`${timeMs.toFixed(3).padStart(12)} ${who.padEnd(4)} · ${text()}`);
  }

  /** Mixes bytes in, e.g. of a record. */
  bytes(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) this.#low = Math.imul(this.#low ^ (bytes[i] as number), 0x01000193);
    this.#mix(bytes.length);
  }

  #mixText(text: string): void {
    for (let i = 0; i < text.length; i++) this.#low = Math.imul(this.#low ^ text.charCodeAt(i), 0x01000193);
  }

  #mix(value: number): void {
    this.#low = Math.imul(this.#low ^ (value | 0), 0x01000193);
    this.#high = Math.imul(this.#high ^ this.#low ^ ((value / 0x1_0000_0000) | 0), 0x85ebca6b);
    this.#high = ((this.#high << 13) | (this.#high >>> 19)) + this.#low;
    this.#high |= 0;
  }
}

const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, '0');
