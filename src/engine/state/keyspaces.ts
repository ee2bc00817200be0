/**
 * Keyspaces: what a node keeps in its tree beside the users' keys. The first byte of a key says which.
 *
 *   'l'  first revision u64 BE                        →  ledger records       a chunk of whole records
 *   'm'                                               →  the machine's state  sessions, log time; one row per flush
 *   'r'                                               →  members              the newest entry of Raft that says them
 *   'u'  user key                                     →  the value
 *   'w'  private key                                  →  a private row        writers and limits; in no ledger record
 *   'x'  expiry u64 BE | revision u64 BE | user key   →  nothing              which key expires when
 *
 * The ledger comes first on purpose: a new table of level 0 holds its newest records, so nothing of the table stands
 * before them, and the old records are not in its range and are not merged again with it.
 *
 * Letters, so that a dump can be read. Numbers are big-endian, so that they sort. Tables are cut where the first byte
 * changes: a compaction of users' keys then never copies the ledger, and a ledger table goes as a whole.
 */
export const KEYSPACE: Readonly<Record<'expiry' | 'ledger' | 'machine' | 'members' | 'private' | 'user', number>> = {
  ledger: 0x6c,
  machine: 0x6d,
  members: 0x72,
  user: 0x75,
  private: 0x77,
  expiry: 0x78,
};

export const MACHINE_KEY: Uint8Array = new Uint8Array([KEYSPACE.machine]);
export const MEMBERS_KEY: Uint8Array = new Uint8Array([KEYSPACE.members]);
export const LEDGER_PREFIX: Uint8Array = new Uint8Array([KEYSPACE.ledger]);
export const USER_PREFIX: Uint8Array = new Uint8Array([KEYSPACE.user]);
export function privateKey(key: Uint8Array): Uint8Array {
  const tagged = new Uint8Array(key.length + 1);
  tagged[0] = KEYSPACE.private;
  tagged.set(key, 1);
  return tagged;
}

/** The first key behind a keyspace. */
export const keyspaceEnd = (first: number): Uint8Array => new Uint8Array([first + 1]);

export const LEDGER_KEY_BYTES = 9;

export function ledgerKey(revision: number): Uint8Array {
  const key = new Uint8Array(LEDGER_KEY_BYTES);
  key[0] = KEYSPACE.ledger;
  storeU64(key, 1, revision);
  return key;
}

export const EXPIRY_HEAD_BYTES = 17;

export function expiryKey(expiryMs: number, revision: number, userKey: Uint8Array): Uint8Array {
  const key = new Uint8Array(EXPIRY_HEAD_BYTES + userKey.length);
  key[0] = KEYSPACE.expiry;
  storeU64(key, 1, expiryMs);
  storeU64(key, 9, revision);
  key.set(userKey, EXPIRY_HEAD_BYTES);
  return key;
}

/** The number at `at`, big-endian. */
export function loadU64(bytes: Uint8Array, at: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return view.getUint32(at) * 0x1_0000_0000 + view.getUint32(at + 4);
}

function storeU64(bytes: Uint8Array, at: number, value: number): void {
  const view = new DataView(bytes.buffer);
  view.setUint32(at, Math.floor(value / 0x1_0000_0000));
  view.setUint32(at + 4, value >>> 0);
}

/**
 * Puts a keyspace's byte before users' keys, in a buffer of its own that is used again: what it returns is valid
 * until the next call.
 */
export class KeyTagger {
  #buffer: Uint8Array = new Uint8Array(1024);
  /** Views of it by their length, as far as they were wanted: each is an object. */
  #views: (Uint8Array | undefined)[] = [];

  constructor() {
    this.#buffer[0] = KEYSPACE.user;
  }

  user(key: Uint8Array): Uint8Array {
    const length = key.length + 1;
    if (length > this.#buffer.length) {
      this.#buffer = new Uint8Array(length * 2);
      this.#buffer[0] = KEYSPACE.user;
      this.#views = [];
    }
    const buffer = this.#buffer;
    if (key.length > 32) buffer.set(key, 1);
    else for (let i = 0; i < key.length; i++) buffer[i + 1] = key[i] as number;
    this.#views[length] ??= buffer.subarray(0, length);
    return this.#views[length];
  }
}
