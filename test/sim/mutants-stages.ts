/**
 * Mutants of staged delivery: of what stages are, and of what hosts make of them.
 */
import { type Mutant, one } from './mutant.ts';

const SHOWING = 'src/engine/ldb/showing.ts';
const WRITER = 'src/engine/ldb/writer.ts';
const STAGES = 'src/core/model/control/stages.ts';

/** Another one of the same kind is looked for often. */
export const RARE_STAGES: readonly string[] = [
  ...['halt-ignored', 'release-misses-key', 'ring-change-unnoticed', 'snapshot-shows-all', 'relay-gives-shown'],
];

export const STAGED: readonly Mutant[] = [
  one(
    'halt-ignored',
    1,
    'a stage that is halted lets a ring through',
    STAGES,
    'if (halted !== undefined) {\n    throw',
    "if (halted !== undefined && name === '') {\n    throw",
  ),
  one(
    'ring-gets-more',
    1,
    'a host is shown what the ring before its own is let through',
    STAGES,
    'const own = rings.find(({ name }) => name === ring) ?? rings.at(-1);',
    'const own = rings[Math.max(0, rings.findIndex(({ name }) => name === ring) - 1)] ?? rings.at(-1);',
  ),
  one(
    'rollback-misses-key',
    1,
    'a rollback or a release leaves out the first key of the stage',
    SHOWING,
    'of draft.range(prefix, end(prefix))) {',
    'of [...draft.range(prefix, end(prefix))].slice(1)) {',
  ),
  one('release-misses-key', 1, 'a release leaves out the last key', SHOWING, '    }\n    settle();\n', '    }\n'),
  one(
    'ring-change-unnoticed',
    2,
    'a host that has changed its ring is shown what its old one is',
    WRITER,
    "if ((stored === undefined ? '' : text(stored)) === this.#ring) return;",
    'if (this.cluster !== stored) return;',
  ),
  one(
    'snapshot-shows-all',
    1,
    'behind a snapshot a host is shown what is held back',
    WRITER,
    "const writes = this.#showing.shapeAll(this.#store.view('incoming'));",
    'const writes = [];',
  ),
  {
    ...one(
      'relay-gives-shown',
      4,
      'a snapshot from a relay is of what the readers of its host are shown',
      'src/engine/ldb/ldb-state.ts',
      'newestRows(viewOf(this.#env.kv, transaction), start, to);',
      'viewOf(this.#env.kv, transaction).range(start, to)[Symbol.iterator]();',
    ),
    with: ['relays', 'stages'],
  },
];
