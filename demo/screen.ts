/**
 * Screen: what a person sees. A line per result, in two columns; while something runs on a terminal, one line
 * that is written over. With --json it stays dark.
 */
import { styleText } from 'node:util';

const LABEL_COLUMNS = 28;
const VALUE_COLUMNS = 32;
const REDRAW_MS = 80;

export class Screen {
  #isSilent: boolean;
  #isLive: boolean;
  #drawnMs = 0;
  #hasTransient = false;
  /** What is being done, for an error's text. */
  doing = 'starting';

  constructor(isSilent: boolean) {
    this.#isSilent = isSilent;
    this.#isLive = !isSilent && process.stdout.isTTY;
  }

  title(text: string): void {
    this.#write(`\n${styleText('bold', text)}\n`);
  }

  /** Begins a step: shown while it runs. */
  begin(doing: string): void {
    this.doing = doing;
    this.progress('', true);
  }

  /** How far it is. Drawn on a terminal only, and not more often than one can see. */
  progress(text: string, now = false): void {
    if (!this.#isLive) return;
    const nowMs = performance.now();
    if (!now && nowMs - this.#drawnMs < REDRAW_MS) return;
    this.#drawnMs = nowMs;
    this.#hasTransient = true;
    const line = `  ${this.doing}${text === '' ? '' : `: ${text}`} …`;
    process.stdout.write(`\r\x1b[K${styleText('dim', line.slice(0, (process.stdout.columns ?? 80) - 1))}`);
  }

  /** One result. */
  result(label: string, value: string, detail = ''): void {
    this.#row(label, value, detail, 'none');
  }

  /** A result that must hold. */
  verdict(label: string, value: string, isGood: boolean, detail = ''): void {
    this.#row(label, value, detail, isGood ? 'green' : 'red');
  }

  /** A line as it is: of a table, of a plot. */
  line(text: string): void {
    this.clear();
    this.#write(text);
  }

  /** Nothing more is shown. */
  end(): void {
    this.clear();
    this.#isSilent = true;
    this.#isLive = false;
  }

  clear(): void {
    if (!this.#hasTransient) return;
    process.stdout.write('\r\x1b[K');
    this.#hasTransient = false;
  }

  #row(label: string, value: string, detail: string, colour: 'none' | 'green' | 'red'): void {
    this.clear();
    // Padded before it is coloured: a colour takes no room.
    const columns = detail === '' ? value : value.padEnd(VALUE_COLUMNS);
    const shown = colour === 'none' ? columns : styleText(colour, columns);
    this.#write(`  ${label.padEnd(LABEL_COLUMNS)}${shown}${detail === '' ? '' : styleText('dim', detail)}`);
  }

  #write(line: string): void {
    if (!this.#isSilent) console.log(line);
  }
}

export const whole = (value: number): string => Math.round(value).toLocaleString('en-US');
export const ms = (value: number): string => (value < 10 ? `${value.toFixed(2)} ms` : `${whole(value)} ms`);
export const seconds = (valueMs: number): string => `${(valueMs / 1000).toFixed(2)} s`;

/** The p-th part of some numbers, sorted here. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? Number.NaN;
}
