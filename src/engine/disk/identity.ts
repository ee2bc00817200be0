/**
 * Identity: the file that says whose a data directory is, written once, before anything else is in it.
 *
 * A volume mounted on the wrong node would otherwise start as that node with another one's votes and log,
 * and a vote given twice can elect two leaders. So the directory speaks for itself, and a node that finds
 * another's name in it stops. A file that cannot be read is somebody's too: it is never replaced.
 *
 *   IDENTITY   { "format": 2, "cluster": "prod", "node": "n1", "dirId": "…uuid…", "createdAt": "…ISO 8601…" }
 *
 * `dirId` tells a directory from its replacement under the same node name: a wiped disk has lost its votes, and the other
 * nodes do not let it in. One that a backup was restored into begins with "restored-": that was done on purpose. One that a
 * node began because its own was damaged begins with "repaired-" (src/node/repair.ts).
 *
 * It appears whole or not at all (small-file.ts). Call it with the directory locked; two first starts would
 * otherwise both write it.
 */
import { randomUUID } from 'node:crypto';
import { join, resolve } from 'node:path';
import type { Disk } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import { RESTORED_DIR } from '../../core/raft/membership.ts';
import { nodeDisk } from './node-disk.ts';
import { readSmallFile, replaceFile } from './small-file.ts';

/** 1: before the state in the tables had a version of its own and a hash. */
const FORMAT = 2;

/** Who a directory belongs to. */
export interface Owner {
  readonly cluster: string;
  readonly node: string;
}

export interface Identity extends Owner {
  readonly format: typeof FORMAT;
  readonly dirId: string;
  /** ISO 8601. */
  readonly createdAt: string;
}

export interface Claim {
  readonly isRestored?: boolean;
  /** Identity of a directory that has none yet; left out, a new one. */
  readonly dirId?: string;
  readonly disk?: Disk;
}

/** Reads the directory's identity, or writes it if there is none; throws DIR_FOREIGN unless it is `owner`'s. */
export function claimDir(dir: string, owner: Owner, claim: Claim = {}): Identity {
  const { isRestored = false, dirId, disk = nodeDisk } = claim;
  const path = resolve(dir);
  const found = readIdentity(path, disk);
  if (found === undefined) {
    return createIdentity(disk, path, owner, dirId ?? `${isRestored ? RESTORED_DIR : ''}${randomUUID()}`);
  }
  if (found.cluster === owner.cluster && found.node === owner.node) {
    // The maker may have died between its rename and its sync.
    disk.syncDir(path);
    return found;
  }
  throw new StoreError(
    'DIR_FOREIGN',
    `data directory ${path} belongs to node "${found.node}" of cluster "${found.cluster}"; ` +
      `this is node "${owner.node}" of cluster "${owner.cluster}"`,
    { data: { dir: path, cluster: found.cluster, node: found.node } },
  );
}

function createIdentity(disk: Disk, dir: string, owner: Owner, dirId: string): Identity {
  const identity: Identity = {
    format: FORMAT,
    cluster: owner.cluster,
    node: owner.node,
    dirId,
    createdAt: new Date().toISOString(),
  };
  disk.mkdir(dir);
  replaceFile(disk, dir, 'IDENTITY', `${JSON.stringify(identity, undefined, 2)}\n`);
  return identity;
}

/** Whose directory it is; undefined when it says nothing. Throws DIR_FOREIGN when it cannot be read. */
export function readIdentity(dir: string, disk: Disk = nodeDisk): Identity | undefined {
  let text: string | undefined;
  try {
    text = readSmallFile(disk, join(dir, 'IDENTITY'));
  } catch (cause) {
    throw unreadable(dir, cause instanceof Error ? cause.message : String(cause), cause);
  }
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw unreadable(dir, 'it is not JSON', cause);
  }
  if (typeof value !== 'object' || value === null) throw unreadable(dir, 'it is not an object');
  const { format, cluster, node, dirId, createdAt } = value as Partial<Record<keyof Identity, unknown>>;
  if (format === 1) {
    throw unreadable(
      dir,
      `its format is 1, and this version knows ${FORMAT}. Start it with the version that wrote it, save what it has with ` +
        'kvctl scan --json, and kvctl import that into a new directory; nothing was changed here',
    );
  }
  if (format !== FORMAT) {
    throw unreadable(dir, `its format is ${JSON.stringify(format)}, and this version knows ${FORMAT}`);
  }
  return {
    format,
    cluster: needText(dir, 'cluster', cluster),
    node: needText(dir, 'node', node),
    dirId: needText(dir, 'dirId', dirId),
    createdAt: needText(dir, 'createdAt', createdAt),
  };
}

function needText(dir: string, field: keyof Identity, value: unknown): string {
  if (typeof value !== 'string' || value === '') throw unreadable(dir, `its "${field}" is not a text`);
  return value;
}

function unreadable(dir: string, reason: string, cause?: unknown): StoreError {
  return new StoreError('DIR_FOREIGN', `data directory ${dir} has an IDENTITY that cannot be trusted: ${reason}`, {
    cause,
    data: { dir },
  });
}
