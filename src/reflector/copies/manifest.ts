/**
 * Manifest: what a copy of an LDB is made of. A copy is its LMDB file in chunks, each compressed, and a manifest that is
 * written last: what has none is not there.
 *
 *   ldb-<ms since 1970, 13 digits>-r<revision>.json          the manifest: JSON, newline, SHA-256 of the JSON in hex, newline
 *   ldb-<ms>-r<revision>.<number, 6 digits>.gz               a chunk
 *   latest                                                   the name of the newest copy, for who cannot list
 *
 * The SHA-256 of each chunk is of its bytes before compression: of what lies in the file in the end.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { ByteReader } from '../../core/base/bytes.ts';
import { StoreError } from '../../core/base/errors.ts';
import { decodeFilter, encodeFilter, type LedgerFilter } from '../../core/model/ledger-filter.ts';

export const CHUNK_BYTES: number = 8 * 1024 * 1024;
const CHUNK_BYTES_MAX = 64 * 1024 * 1024;
/** A terabyte in our chunks, and then some. */
const CHUNKS_MAX = 200_000;
export const MANIFEST_BYTES_MAX: number = 32 * 1024 * 1024;

const NAME = /^ldb-(\d{13})-r(\d+)$/;

const hex64 = z.string().regex(/^[0-9a-f]{64}$/);
const whole = z.int().nonnegative();

export interface Manifest {
  readonly format: 1;
  readonly name: string;
  readonly cluster: string;
  readonly revision: number;
  /** Log time of the revision. */
  readonly timeMs: number;
  /** As base64; null: everything. */
  readonly filter: string | null;
  /** Of the file. */
  readonly bytes: number;
  /** Of each chunk but the last. */
  readonly chunkBytes: number;
  readonly chunks: readonly { readonly storedBytes: number; readonly sha256: string }[];
}

const schema: z.ZodType<Manifest> = z.strictObject({
  format: z.literal(1),
  name: z.string().regex(NAME),
  cluster: z.string().min(1).max(256),
  revision: whole.min(1),
  timeMs: z.number(),
  filter: z.base64().nullable(),
  bytes: whole,
  chunkBytes: whole.min(4096).max(CHUNK_BYTES_MAX),
  chunks: z.array(z.strictObject({ storedBytes: whole, sha256: hex64 })).max(CHUNKS_MAX),
});

export const LATEST = 'latest';
export const manifestName = (copy: string): string => `${copy}.json`;
export const chunkName = (copy: string, number: number): string => `${copy}.${String(number).padStart(6, '0')}.gz`;

export const copyName = (revision: number, createdMs: number): string =>
  `ldb-${String(Math.round(createdMs)).padStart(13, '0')}-r${revision}`;

export const isCopyName = (name: string): boolean => NAME.test(name);
export const createdMsOf = (copy: string): number => Number(NAME.exec(copy)?.[1]);

/** The copy that an object belongs to; undefined: it is none of ours. */
export function copyOf(object: string): string | undefined {
  const copy = object.split('.')[0] ?? '';
  return NAME.test(copy) ? copy : undefined;
}

/** Where in the file chunk `number` lies. */
export function placeOf(
  { bytes, chunkBytes }: Manifest,
  number: number,
): { readonly at: number; readonly length: number } {
  const at = number * chunkBytes;
  return { at, length: Math.min(chunkBytes, bytes - at) };
}

export const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

export const filterText = (filter: LedgerFilter | undefined): string | null =>
  filter === undefined ? null : Buffer.from(encodeFilter(filter)).toString('base64');

export const filterOf = ({ filter }: Manifest): LedgerFilter | undefined =>
  filter === null ? undefined : decodeFilter(new ByteReader(Buffer.from(filter, 'base64')));

export function encodeManifest(manifest: Manifest): Uint8Array {
  const json = JSON.stringify(manifest);
  return Buffer.from(`${json}\n${sha256(json)}\n`);
}

/** Throws LDB_CORRUPT. */
export function decodeManifest(bytes: Uint8Array, from: string): Manifest {
  const [json = '', hash] = Buffer.from(bytes).toString().split('\n');
  if (hash !== sha256(json)) throw new StoreError('LDB_CORRUPT', `the manifest in ${from} has a wrong checksum`);
  // Its checksum is right: it is what somebody wrote, if not what we expect.
  const parsed = schema.safeParse(JSON.parse(json));
  if (!parsed.success)
    throw new StoreError('LDB_CORRUPT', `the manifest in ${from} is none: ${z.prettifyError(parsed.error)}`);
  const manifest = parsed.data;
  if (Math.ceil(manifest.bytes / manifest.chunkBytes) !== manifest.chunks.length) {
    throw new StoreError('LDB_CORRUPT', `the manifest in ${from} names too few chunks, or too many`);
  }
  return manifest;
}
