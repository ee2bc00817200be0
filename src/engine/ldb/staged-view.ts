/**
 * What an LDB's readers are shown of staged data, and as hosts of which ring: for people who ask why a host has not what the
 * cluster has.
 */
import { must } from '../../core/base/assert.ts';
import { prefixEnd, text } from '../../core/base/bytes.ts';
import { STAGES_PREFIX } from '../../core/model/control/stage-keys.ts';
import { decodeStage, isDropped, shownTo } from '../../core/model/control/stages.ts';
import { openToRead } from './environment.ts';
import { RING_KEY, ROW_HEADER_BYTES } from './format.ts';
import { viewOf } from './row-view.ts';

export interface StagedView {
  /** The ring of hosts that this one is in; null: in none, it is shown what everybody is. */
  readonly ring: string | null;
  readonly stages: readonly {
    readonly name: string;
    /** The revision whose state is shown; null: the newest. */
    readonly shown: number | null;
    /** Why nothing is released, or null. */
    readonly halted: string | null;
  }[];
}

/** Of the LDB in `dir`. LDB_MISSING, LDB_CORRUPT. `besideWriter`: this process writes it. */
export async function stagedIn(
  dir: string,
  { besideWriter = false }: { readonly besideWriter?: boolean } = {},
): Promise<StagedView> {
  const env = openToRead(dir, besideWriter);
  try {
    const stored = env.meta.get(RING_KEY);
    const ring = stored === undefined ? '' : text(stored);
    const end = must(prefixEnd(STAGES_PREFIX), 'the prefix of stages has an end');
    const stages = Array.from(viewOf(env.kv).range(STAGES_PREFIX, end), ({ key, row }) =>
      decodeStage(key, row.subarray(ROW_HEADER_BYTES)),
    );
    return {
      ring: ring === '' ? null : ring,
      stages: stages
        .filter((stage) => !isDropped(stage))
        .map((stage) => {
          const shown = shownTo(stage, ring);
          const { name, halted = null } = stage;
          return { name, shown: Number.isFinite(shown) ? shown : null, halted };
        }),
    };
  } finally {
    await env.close();
  }
}
