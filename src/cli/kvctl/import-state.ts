/**
 * The state of an import, in a file beside its source: how many leading rows are known to be stored. Another run
 * over the same bytes into the same cluster goes on from there; any difference and it begins anew.
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { z } from 'zod';

export interface ImportIdentity {
  readonly bytes: number;
  readonly sha256: string;
  readonly cluster: string;
  readonly prefix: string;
}

const schema = z.object({
  version: z.literal(1),
  bytes: z.number(),
  sha256: z.string(),
  cluster: z.string(),
  prefix: z.string(),
  rowsDone: z.number().int().min(0),
});

export const stateFileOf = (file: string): string => `${file}.kvctl-import`;

/** Rows done by an earlier run over the same input; 0 when there was none. */
export async function readState(file: string, identity: ImportIdentity): Promise<number> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(stateFileOf(file), 'utf8'));
  } catch {
    return 0; // None, or not readable: importing a row twice does no harm.
  }
  const state = schema.safeParse(value);
  if (!state.success) return 0;
  const { bytes, sha256, cluster, prefix, rowsDone } = state.data;
  const same =
    bytes === identity.bytes &&
    sha256 === identity.sha256 &&
    cluster === identity.cluster &&
    prefix === identity.prefix;
  return same ? rowsDone : 0;
}

/** Renamed into place, so that a kill leaves the old state or the new one. */
export async function writeState(file: string, identity: ImportIdentity, rowsDone: number): Promise<void> {
  const path = stateFileOf(file);
  await writeFile(`${path}.tmp`, `${JSON.stringify({ version: 1, ...identity, rowsDone })}\n`);
  await rename(`${path}.tmp`, path);
}

export async function removeState(file: string): Promise<void> {
  await rm(stateFileOf(file), { force: true });
}
