/**
 * Mutants of what is done about nodes that have forgotten what they promised: whose disk was lost, put back, or given up.
 */
import { type Mutant, one } from './mutant.ts';

const WITNESS = 'src/core/raft/witness.ts';

/** All but those that are found by the first seeds: an old disk, a leader that has seen more of it, and the bug must meet. */
export const RARE_LIVES: readonly string[] = [
  'lineage-not-looked-at',
  'promises-not-looked-at',
  'seen-lives-forgotten',
  'any-directory',
  'forgotten-promises',
];

export const LIVES: readonly Mutant[] = [
  one(
    'lineage-not-looked-at',
    1,
    'a directory that does not remember its last life is let in',
    WITNESS,
    'const isRemembered = lineage.includes(known.boot) || life - known.life > LINEAGE_MAX;',
    'const isRemembered = true;',
  ),
  one(
    'promises-not-looked-at',
    20,
    'a life that begins behind what the directory has promised is let in',
    WITNESS,
    'if (promised !== undefined && isBehind(began, promised)) {',
    'if (promised === undefined && isBehind(began, began)) {',
  ),
  one(
    'life-not-written',
    1,
    'a life is not written down before it is told of',
    'src/engine/disk/lives.ts',
    'writeLives(disk, dir, lives);\n  return lives;',
    'return lives;',
  ),
  one(
    'seen-lives-forgotten',
    1,
    'what was seen of other lives is not written down',
    'src/net/mesh/lives.ts',
    'if (loss === undefined && (before?.boot',
    'if (loss !== undefined && (before?.boot',
  ),
  one(
    'any-directory',
    29,
    'whoever comes under the name of a member is let in, with whatever directory',
    'src/net/mesh/admission.ts',
    'return dir === known || dir.startsWith(RESTORED_DIR);',
    'return true;',
  ),
  one(
    'forgotten-promises',
    1,
    'a directory that is not the one that the members name votes all the same',
    'src/core/raft/configuration.ts',
    'return named !== undefined || dir.startsWith(REPAIRED_DIR);',
    'return false;',
  ),
  one(
    'lost-acks-count',
    7,
    'what a directory acknowledged counts for the one that took its place',
    'src/core/raft/leadership.ts',
    'if (dir !== undefined && next !== dir) this.#progress.delete(id);',
    'if (dir === undefined && next !== dir) this.#progress.delete(id);',
  ),
  one(
    'told-without-looking',
    21,
    'a node takes a leader at its word for commits that it lacks',
    'src/core/raft/acceptor.ts',
    'if (commit > log.last) {',
    'if (commit < 0) {',
  ),
  one(
    'log-not-aside',
    4,
    'a repaired node begins its new directory with the log of the old one',
    'src/engine/repair/aside.ts',
    "const DIRS = ['wal', 'tree',",
    "const DIRS = ['tree',",
  ),
];
