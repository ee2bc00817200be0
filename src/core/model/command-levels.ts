/**
 * Command levels: which commands a version of the code can apply.
 *
 * Nodes of different versions share one log, and every node must make the same of every entry. A command that one of them
 * does not know would be refused there and done elsewhere: two states, in silence. So each command has the level at which
 * it came, a version knows all up to its own, and
 *
 *   nodes tell each other theirs when they meet (wire/mesh.ts), and the leader lets into the log only what all members know
 *     (actors/command-gate.ts);
 *   a node that all the same meets one beyond its own stops before it applies it, and never passes over it (machine.ts).
 *
 * A new command, and a new meaning of an old one, which is a new command, gets the next level and raises COMMAND_LEVEL:
 * docs/decisions/commands-of-later-versions.md.
 */
import { StoreError } from '../base/errors.ts';
import type { Index } from '../base/position.ts';
import { VERSION } from '../base/version.ts';
import { COMMAND_HEADER_BYTES, type CommandKind, commandKind } from './commands.ts';
import { type ControlKind, controlKind } from './control/commands.ts';

/** What whoever speaks our mesh protocol knows at least. */
export const FIRST_LEVEL = 1;
/** What this version knows. */
export const COMMAND_LEVEL = 1;

const LEVELS: Readonly<Record<Exclude<CommandKind, 'control'>, number>> = {
  put: 1,
  delete: 1,
  txn: 1,
  openSession: 1,
  keepAlive: 1,
  closeSession: 1,
  clock: 1,
};

const CONTROL_LEVELS: Readonly<Record<ControlKind, number>> = {
  createFamily: 1,
  createTables: 1,
  addFields: 1,
  dropTable: 1,
  clearTable: 1,
  clearFamily: 1,
  mutate: 1,
  registerWriter: 1,
  rotateWriter: 1,
  deleteWriter: 1,
  setCookie: 1,
  limitWriter: 1,
  limitTable: 1,
  createStage: 1,
  moveStage: 1,
  dropStage: 1,
};

/** Entries that begin with this or more are not the model's; 0 begins none. */
export const FOREIGN_MIN = 0x80;

/**
 * The level of a command as it stands in the log; Infinity for one of a later version than this. Bytes that are no command
 * are of the first: all versions refuse them alike.
 */
export function levelOf(command: Uint8Array): number {
  const code = command[0] ?? 0;
  if (code === 0 || code >= FOREIGN_MIN) return FIRST_LEVEL;
  const kind = commandKind(code);
  if (kind === undefined) return Number.POSITIVE_INFINITY;
  return kind === 'control' ? levelOfControl(command) : LEVELS[kind];
}

/** Behind the header stand session, seq and acked, and then what kind it is. */
function levelOfControl(command: Uint8Array): number {
  let at = COMMAND_HEADER_BYTES;
  for (let varints = 0; varints < 3; varints++) {
    while ((command[at] ?? 0) >= 0x80) at++;
    at++;
  }
  const code = command[at] ?? 0;
  if (code === 0) return FIRST_LEVEL;
  const kind = controlKind(code);
  return kind === undefined ? Number.POSITIVE_INFINITY : CONTROL_LEVELS[kind];
}

/** Throws DIR_FOREIGN for an entry that another version wrote and this one cannot apply. */
export function checkLevel(index: Index, command: Uint8Array): void {
  if (levelOf(command) <= COMMAND_LEVEL) return;
  throw new StoreError(
    'DIR_FOREIGN',
    `entry ${index} of the log is a command that this version (${VERSION}) does not know: ` +
      'start this node with the version that the others run; nothing was changed',
    { data: { index, version: VERSION, level: COMMAND_LEVEL } },
  );
}
