/**
 * What reads give: bytes, with the conversions people want made when they are asked for.
 */
import { text } from '../core/base/bytes.ts';
import { StoreError } from '../core/base/errors.ts';
import type { Revision } from '../core/base/position.ts';
import type { Bytes, Entry, WatchBookmark, WatchEvent } from './types.ts';

const encoder = new TextEncoder();

/** Bytes of a key or value as given: text is UTF-8. */
export function toBytes(value: Bytes): Uint8Array {
  if (typeof value === 'string') {
    // Half a surrogate pair would be written as U+FFFD: two different texts would be one key.
    if (!value.isWellFormed()) throw new StoreError('BAD_REQUEST', 'a text with half a surrogate pair is no UTF-8');
    return encoder.encode(value);
  }
  if (value instanceof Uint8Array) return value;
  throw new TypeError('a key or value is a string or a Uint8Array');
}

class Content {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly revision: Revision;

  constructor(key: Uint8Array, value: Uint8Array, revision: Revision) {
    this.key = key;
    this.value = value;
    this.revision = revision;
  }

  keyText(): string {
    return text(this.key);
  }

  text(): string {
    return text(this.value);
  }

  json(): unknown {
    return JSON.parse(this.text());
  }
}

/** An entry read in this process by a text key: the key's bytes are made when they are asked for. */
export class LocalEntry implements Entry {
  readonly #key: Bytes;
  readonly value: Uint8Array;
  readonly revision: Revision;
  readonly #expiryMs: number;

  constructor(key: Bytes, value: Uint8Array, revision: Revision, expiryMs: number) {
    this.#key = key;
    this.value = value;
    this.revision = revision;
    this.#expiryMs = expiryMs;
  }

  get key(): Uint8Array {
    return toBytes(this.#key);
  }

  get expiryMs(): number | undefined {
    return this.#expiryMs === 0 ? undefined : this.#expiryMs;
  }

  keyText(): string {
    return typeof this.#key === 'string' ? this.#key : text(this.#key);
  }

  text(): string {
    return text(this.value);
  }

  json(): unknown {
    return JSON.parse(this.text());
  }
}

export class ClientEntry extends Content implements Entry {
  readonly expiryMs: number | undefined;

  constructor(key: Uint8Array, value: Uint8Array, revision: Revision, expiryMs: number) {
    super(key, value, revision);
    this.expiryMs = expiryMs === 0 ? undefined : expiryMs;
  }
}

export class ClientWatchEvent extends Content implements WatchEvent {
  readonly kind: 'put' | 'delete';
  readonly timeMs: number;
  readonly lastOfRevision: boolean;

  constructor(
    change: { readonly kind: 'put' | 'delete'; readonly key: Uint8Array; readonly value: Uint8Array },
    at: { readonly revision: Revision; readonly timeMs: number; readonly lastOfRevision: boolean },
  ) {
    super(change.key, change.value, at.revision);
    this.kind = change.kind;
    this.timeMs = at.timeMs;
    this.lastOfRevision = at.lastOfRevision;
  }
}

export class ClientBookmark implements WatchBookmark {
  readonly kind: 'bookmark' = 'bookmark' as const;
  readonly revision: Revision;

  constructor(revision: Revision) {
    this.revision = revision;
  }
}
