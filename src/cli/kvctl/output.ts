/**
 * Output: stdout carries data and nothing else, stderr what is said about it.
 *
 * A write waits when the reader is slower than we are, so a scan of everything into a pipe holds little memory;
 * and when the reader leaves, the next write ends the command quietly.
 */
import type { Entry, WatchEvent } from '../../client/types.ts';
import type { Terminal } from '../cluster/console.ts';
import { OutputClosed } from './errors.ts';

export class Output {
  readonly #stream: Terminal;
  #error: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(stream: Terminal) {
    this.#stream = stream;
    stream.on('error', (error: Error) => {
      this.#error = error;
      this.#wake?.();
    });
    stream.on('drain', () => this.#wake?.());
  }

  line(text: string): Promise<void> {
    return this.bytes(`${text}\n`);
  }

  json(value: unknown): Promise<void> {
    return this.line(JSON.stringify(value));
  }

  async bytes(bytes: Uint8Array | string): Promise<void> {
    this.#check();
    if (this.#stream.write(bytes)) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
    this.#check();
  }

  /** Resolves when everything written has left, or nobody wants it. */
  async flush(): Promise<void> {
    if (this.#error !== undefined || this.#stream.destroyed) return;
    await new Promise<void>((resolve) => this.#stream.write('', () => resolve()));
  }

  #check(): void {
    if (this.#error === undefined) return;
    if ((this.#error as NodeJS.ErrnoException).code === 'EPIPE') throw new OutputClosed();
    throw this.#error;
  }
}

const strict = new TextDecoder('utf-8', { fatal: true });

/** The bytes as text, or undefined when they are not UTF-8. */
export function utf8Text(bytes: Uint8Array): string | undefined {
  try {
    return strict.decode(bytes);
  } catch {
    return undefined;
  }
}

/** For a line of a listing: control characters, and bytes that are no text, as escapes. */
export function visible(bytes: Uint8Array): string {
  const text = utf8Text(bytes);
  if (text !== undefined) return text.replaceAll(/\p{Cc}/gu, escaped);
  return Buffer.from(bytes)
    .toString('latin1')
    .replaceAll(/[\p{Cc}\u0080-\u00ff]/gu, escaped);
}

function escaped(character: string): string {
  if (character === '\n') return '\\n';
  if (character === '\t') return '\\t';
  return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}

/** `{ [name]: text }`, or `{ [name + 'Base64']: … }` when the bytes are not UTF-8. */
export function field(name: string, bytes: Uint8Array): Record<string, string> {
  const text = utf8Text(bytes);
  return text === undefined ? { [`${name}Base64`]: Buffer.from(bytes).toString('base64') } : { [name]: text };
}

export function entryJson(entry: Entry, keysOnly = false): Record<string, unknown> {
  return {
    ...field('key', entry.key),
    ...(keysOnly ? {} : field('value', entry.value)),
    revision: entry.revision,
    ...(entry.expiryMs === undefined ? {} : { expiryMs: entry.expiryMs }),
  };
}

export function eventJson(event: WatchEvent): Record<string, unknown> {
  return {
    kind: event.kind,
    ...field('key', event.key),
    ...(event.kind === 'put' ? field('value', event.value) : {}),
    revision: event.revision,
    timeMs: event.timeMs,
    lastOfRevision: event.lastOfRevision,
  };
}

/** One entry for people: the value alone for `get`, key and value for listings. */
export function entryLine(entry: Entry, keysOnly = false): string {
  return keysOnly ? visible(entry.key) : `${visible(entry.key)}\t${visible(entry.value)}`;
}
