/**
 * bootstrap: fills an LDB that was never filled from a copy, before it follows the ledger from there.
 *
 *   DIR/bootstrap/manifest.json      which copy; written first
 *   DIR/bootstrap/data.mdb           its file, growing: each chunk goes to its place once its SHA-256 is right
 *
 * Killed at any point, the next start reads what is there, fetches the chunks that are missing or wrong, and no others. As
 * long as the same copy can be had it goes on with that one, even when there is a newer one. Only a file of which every
 * chunk is right, and which LMDB opens with the position that its manifest says, becomes the LDB: by one rename where
 * there was none, and where programs have an empty one open already, by a snapshot in place, as they would not see another
 * file.
 *
 * An LDB that holds something goes on from where it is.
 */
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import type { DiskFile } from '../../core/base/env.ts';
import { isStoreError, StoreError } from '../../core/base/errors.ts';
import { toIndex } from '../../core/base/position.ts';
import { isSameFilter, type LedgerFilter, showFilter } from '../../core/model/ledger-filter.ts';
import { lockDir } from '../../engine/disk/lock.ts';
import { nodeDisk } from '../../engine/disk/node-disk.ts';
import { copiedRows, hasLdb, ldbFacts, ldbFile, moveLdb } from '../../engine/ldb/copy.ts';
import { LdbWriter } from '../../engine/ldb/writer.ts';
import {
  chunkName,
  decodeManifest,
  filterOf,
  isCopyName,
  LATEST,
  type Manifest,
  MANIFEST_BYTES_MAX,
  manifestName,
  placeOf,
  sha256,
} from './manifest.ts';
import { type Objects, withTries } from './objects.ts';
import { inParallel } from './sender.ts';

export interface BootstrapOptions {
  readonly dir: string;
  readonly objects: Objects;
  readonly signal: AbortSignal;
  /** What is wanted; undefined: all that there is. */
  readonly filter?: LedgerFilter | undefined;
  /** The ring of hosts that this one is in; default: in none. */
  readonly ring?: string | undefined;
  /** Told when a chunk is in its place; `fetched`: it was not there before. */
  readonly onChunk?: (chunk: { readonly number: number; readonly count: number; readonly fetched: boolean }) => void;
  readonly retryDelayMs?: number | undefined;
}

export interface Bootstrapped {
  readonly name: string;
  readonly revision: number;
  readonly timeMs: number;
  readonly bytes: number;
  /** Chunks that were fetched now; the others were there. */
  readonly fetched: number;
}

const BOOTSTRAP_DIR = 'bootstrap';
const MANIFEST_FILE = 'manifest.json';
const LATEST_BYTES_MAX = 1024;
const ROWS_BYTES = 4 * 1024 * 1024;
/** gzip can make a chunk a little larger. */
const STORED_SLACK_BYTES = 64 * 1024;
const decompress = promisify(gunzip);

/**
 * Undefined: the LDB was filled before, and is left as it is. NOT_FOUND: there is no copy; LDB_FOREIGN: it holds another
 * part of the data; LDB_CORRUPT: it is not whole; UNAVAILABLE: it could not be fetched, the next start goes on.
 */
export async function bootstrap(options: BootstrapOptions): Promise<Bootstrapped | undefined> {
  const { dir } = options;
  if (hasLdb(dir) && (await ldbFacts(dir, { besideWriter: true })).position.revision > 0) {
    clean(join(dir, BOOTSTRAP_DIR));
    return undefined;
  }
  const lock = await lockDir(dir);
  try {
    return await bootstrapAlone(options, () => lock.release());
  } finally {
    await lock.release();
  }
}

async function bootstrapAlone(options: BootstrapOptions, letGo: () => Promise<void>): Promise<Bootstrapped> {
  const { dir, filter } = options;
  const beside = join(dir, BOOTSTRAP_DIR);
  nodeDisk.mkdir(beside);
  const manifest = await chosen(options, beside);
  const holds = filterOf(manifest);
  if (!isSameFilter(holds, filter)) {
    clean(beside);
    const message = `the copy holds ${showFilter(holds)}, and wanted is ${showFilter(filter)}`;
    throw new StoreError('LDB_FOREIGN', message, { data: { holds: showFilter(holds), wanted: showFilter(filter) } });
  }
  const fetched = await fill(options, manifest, beside);
  await check(manifest, beside);
  if (hasLdb(dir)) {
    // Its writer takes the lock itself.
    await letGo();
    await adopt(options, beside, manifest);
  } else {
    // What this host's ring is shown is settled before anybody can look: the copy is of a host that may be in another one.
    const writer = await LdbWriter.open(beside, { ring: options.ring });
    await writer.close();
    moveLdb(beside, dir);
  }
  clean(beside);
  const { name, revision, timeMs, bytes } = manifest;
  return { name, revision, timeMs, bytes, fetched };
}

/** The copy that was begun with, while it can be had, or the newest. */
async function chosen(options: BootstrapOptions, beside: string): Promise<Manifest> {
  const begun = readBegun(beside);
  if (begun !== undefined && (await isThere(options, begun.name))) return begun;
  clean(beside);
  const { objects } = options;
  const name = Buffer.from(await get(options, LATEST, LATEST_BYTES_MAX))
    .toString()
    .trim();
  if (!isCopyName(name)) throw new StoreError('LDB_CORRUPT', `${objects.url}/${LATEST} names no copy`);
  const bytes = await get(options, manifestName(name), MANIFEST_BYTES_MAX);
  const manifest = decodeManifest(bytes, `${objects.url}/${manifestName(name)}`);
  writeWhole(beside, MANIFEST_FILE, bytes);
  return manifest;
}

function readBegun(beside: string): Manifest | undefined {
  const path = join(beside, MANIFEST_FILE);
  if (!nodeDisk.exists(path)) return undefined;
  const file = nodeDisk.open(path, 'read');
  try {
    const bytes = new Uint8Array(file.size());
    file.read(bytes, 0, bytes.length, 0);
    return decodeManifest(bytes, path);
  } catch (error) {
    // It is of no use, and nothing depends on it: the newest copy is begun instead.
    if (!isStoreError(error, 'LDB_CORRUPT')) throw error;
    return undefined;
  } finally {
    file.close();
  }
}

async function isThere(options: BootstrapOptions, name: string): Promise<boolean> {
  try {
    await get(options, manifestName(name), MANIFEST_BYTES_MAX);
    return true;
  } catch (error) {
    if (isStoreError(error, 'NOT_FOUND')) return false;
    throw error;
  }
}

/** Gives how many chunks were fetched. */
async function fill(options: BootstrapOptions, manifest: Manifest, beside: string): Promise<number> {
  const { onChunk } = options;
  const path = ldbFile(beside);
  const isNew = !nodeDisk.exists(path);
  const file = nodeDisk.open(path, isNew ? 'create' : 'write');
  const count = manifest.chunks.length;
  let fetchedCount = 0;
  try {
    if (file.size() > manifest.bytes) file.truncate(manifest.bytes);
    await inParallel(count, async (number) => {
      const isRight = !isNew && isInPlace(file, manifest, number);
      if (!isRight) {
        file.write(await fetchChunk(options, manifest, number), placeOf(manifest, number).at);
        fetchedCount++;
      }
      onChunk?.({ number, count, fetched: !isRight });
    });
    file.fdatasync();
  } finally {
    file.close();
  }
  return fetchedCount;
}

function isInPlace(file: DiskFile, manifest: Manifest, number: number): boolean {
  const { at, length } = placeOf(manifest, number);
  if (file.size() < at + length) return false;
  const bytes = new Uint8Array(length);
  return file.read(bytes, 0, length, at) === length && sha256(bytes) === manifest.chunks[number]?.sha256;
}

async function fetchChunk(options: BootstrapOptions, manifest: Manifest, number: number): Promise<Uint8Array> {
  const name = chunkName(manifest.name, number);
  const { length } = placeOf(manifest, number);
  return withTries(
    async () => {
      const stored = await options.objects.get(name, manifest.chunkBytes + STORED_SLACK_BYTES);
      const bytes = await decompress(stored, { maxOutputLength: length }).catch(() => undefined);
      if (bytes?.length === length && sha256(bytes) === manifest.chunks[number]?.sha256) return bytes;
      // Perhaps only on its way: it is fetched again, a few times.
      throw new StoreError('UNAVAILABLE', `${options.objects.url}/${name} is not what its manifest says`);
    },
    options.signal,
    options.retryDelayMs,
  );
}

/** Is the file what its manifest says, to LMDB too? */
async function check({ cluster, revision, name }: Manifest, beside: string): Promise<void> {
  const { position } = await ldbFacts(beside, { besideWriter: false });
  if (position.cluster === cluster && position.revision === revision) return;
  const is = `revision ${position.revision} of ${position.cluster}`;
  throw new StoreError('LDB_CORRUPT', `${name} is ${is}, and its manifest says ${revision} of ${cluster}`);
}

/** In place, for who reads the empty LDB that is there. */
async function adopt({ dir, ring }: BootstrapOptions, beside: string, manifest: Manifest): Promise<void> {
  const writer = await LdbWriter.open(dir, { ring });
  try {
    const { cluster, revision, timeMs } = manifest;
    await writer.beginSnapshot({ cluster, revision: toIndex(revision), timeMs }, filterOf(manifest));
    for await (const rows of copiedRows(beside, ROWS_BYTES)) await writer.addSnapshot(rows);
    await writer.finishSnapshot();
  } finally {
    await writer.close();
  }
}

function clean(beside: string): void {
  if (!nodeDisk.exists(beside)) return;
  for (const name of nodeDisk.list(beside)) nodeDisk.remove(join(beside, name));
}

function get({ objects, signal, retryDelayMs }: BootstrapOptions, name: string, bytesMax: number): Promise<Uint8Array> {
  return withTries(() => objects.get(name, bytesMax), signal, retryDelayMs);
}

function writeWhole(dir: string, name: string, bytes: Uint8Array): void {
  const path = join(dir, name);
  if (nodeDisk.exists(`${path}.tmp`)) nodeDisk.remove(`${path}.tmp`);
  const file = nodeDisk.open(`${path}.tmp`, 'create');
  try {
    file.write(bytes, 0);
    file.fdatasync();
  } finally {
    file.close();
  }
  nodeDisk.rename(`${path}.tmp`, path);
  nodeDisk.syncDir(dir);
}
