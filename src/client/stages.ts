/**
 * ClientStages: staged delivery, over the calls that the SDK has anyway: moves are commands of the log; stages lie in the
 * keyspace and are read from there.
 */
import type { Revision } from '../core/base/position.ts';
import type { ControlCommand } from '../core/model/control/commands.ts';
import { STAGES_PREFIX } from '../core/model/control/stage-keys.ts';
import {
  decodeStage,
  EVERYBODY,
  FOLLOWS,
  isDropped,
  type Stage,
  type StageMove,
} from '../core/model/control/stages.ts';
import { parseFilter } from '../core/model/ledger-filter.ts';
import { guardStage } from './stage-guard.ts';
import type * as api from './stage-types.ts';
import type { Timing } from './timing.ts';
import type { CallOptions, Client, GetOptions, WriteResult } from './types.ts';

export interface StagesWorld {
  readonly write: (command: ControlCommand, options: CallOptions | undefined) => Promise<WriteResult>;
  readonly range: Client['range'];
  readonly timing: Timing;
}

export class ClientStages implements api.Stages {
  readonly #world: StagesWorld;

  constructor(world: StagesWorld) {
    this.#world = world;
  }

  async create(stage: string, spec: api.StageSpec, options?: CallOptions): Promise<WriteResult> {
    const { rings = [], ...scope } = spec;
    return await this.#world.write({ kind: 'createStage', stage, scope: parseFilter(scope), rings }, options);
  }

  async list(options: GetOptions = {}): Promise<api.StageView[]> {
    const stages: api.StageView[] = [];
    for await (const { key, value } of this.#world.range({ ...options, prefix: STAGES_PREFIX })) {
      const stage = decodeStage(key, value);
      if (!isDropped(stage)) stages.push(viewOf(stage));
    }
    return stages;
  }

  release(stage: string, ring: string, options?: CallOptions): Promise<WriteResult> {
    return this.#move(stage, 'release', options, { ring });
  }

  follow(stage: string, ring: string, options?: CallOptions): Promise<WriteResult> {
    return this.#move(stage, 'follow', options, { ring });
  }

  hold(stage: string, options?: CallOptions): Promise<WriteResult> {
    return this.#move(stage, 'hold', options);
  }

  halt(stage: string, reason: string, options?: CallOptions): Promise<WriteResult> {
    return this.#move(stage, 'halt', options, { reason });
  }

  resume(stage: string, options?: CallOptions): Promise<WriteResult> {
    return this.#move(stage, 'resume', options);
  }

  rollback(
    stage: string,
    options: CallOptions & { readonly onlyUnreleased?: boolean | undefined } = {},
  ): Promise<WriteResult> {
    return this.#move(stage, 'rollback', options, options.onlyUnreleased === true ? { ring: EVERYBODY } : {});
  }

  bypass(stage: string, options?: CallOptions): Promise<WriteResult> {
    return this.#move(stage, 'bypass', options);
  }

  drop(stage: string, options?: CallOptions): Promise<WriteResult> {
    return this.#world.write({ kind: 'dropStage', stage }, options);
  }

  guard(stage: string, options: api.GuardOptions): Promise<string | undefined> {
    return guardStage(this, stage, options, this.#world.timing);
  }

  #move(
    stage: string,
    move: StageMove,
    options: CallOptions | undefined,
    { ring = '', reason = '' }: { readonly ring?: string; readonly reason?: string } = {},
  ): Promise<WriteResult> {
    return this.#world.write({ kind: 'moveStage', stage, move, ring, reason }, options);
  }
}

function viewOf({ name, id, scope, rings, good, halted }: Stage): api.StageView {
  return {
    name,
    created: id as Revision,
    families: scope.families,
    tables: scope.tables.map(({ family, table }) => `${family}/${table}`),
    prefixes: scope.prefixes.map((prefix) => new TextDecoder().decode(prefix)),
    rings: rings.map((ring) => ({ name: ring.name, shown: ring.shown === FOLLOWS ? null : (ring.shown as Revision) })),
    good: good as Revision,
    halted: halted ?? null,
  };
}
