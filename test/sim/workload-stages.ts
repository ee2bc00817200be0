/**
 * Stage commands of the workload: two stages are made, moved and dropped by all clients at once, of keys that they write all the
 * while. Much of what is asked is refused, as nothing is there yet, or to go back to.
 */
import type { ByteWriter } from '../../src/core/base/bytes.ts';
import { type ControlCommand, encodeControl } from '../../src/core/model/control/commands.ts';
import { EVERYBODY } from '../../src/core/model/control/stages.ts';
import { parseFilter } from '../../src/core/model/ledger-filter.ts';
import type { Chance } from './chance.ts';

/** Of hosts; '': in none. */
export const HOST_RINGS: readonly string[] = ['', 'canary', 'early'];

const RINGS = HOST_RINGS.filter((ring) => ring !== '');
/** Of the second one keys expire, too (workload.ts). */
const SCOPES = {
  flags: parseFilter({ tables: ['fam/tab_a'], prefixes: ['key-1', 'key-2', 'list-'] }),
  more: parseFilter({ prefixes: ['key-3', 'key-5'] }),
} as const;
const STAGES = Object.keys(SCOPES) as readonly (keyof typeof SCOPES)[];

const KINDS = [
  [25, 'create'],
  [2, 'drop'],
  [30, 'release'],
  [4, 'follow'],
  [4, 'hold'],
  [6, 'halt'],
  [12, 'resume'],
  [10, 'rollback'],
  [3, 'bypass'],
] as const;

export function encodeStageCall(writer: ByteWriter, chance: Chance, tag: string): void {
  encodeControl(writer, commandOf(chance, tag));
}

function commandOf(chance: Chance, tag: string): ControlCommand {
  const stage = chance.of(STAGES);
  const move = chance.weighted(KINDS);
  if (move === 'create') return { kind: 'createStage', stage, scope: SCOPES[stage], rings: RINGS };
  if (move === 'drop') return { kind: 'dropStage', stage };
  const ring = move === 'release' || move === 'follow' ? chance.of([...RINGS, EVERYBODY]) : '';
  return { kind: 'moveStage', stage, move, ring, reason: move === 'halt' ? tag : '' };
}
