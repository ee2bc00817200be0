/**
 * Put traces: writes that somebody outside follows: from the frame that brought them to the answer, with what the other
 * threads note on the way (put-stages.ts). Told once, when it is over; what is made of it is another's.
 *
 * Bound: as many at once as there are slots; a write that finds none goes its way untraced.
 */
import type { StoreError } from '../../core/base/errors.ts';
import type { CommandKind } from '../../core/model/commands.ts';
import { sampledTrace, type TraceParent } from '../../core/wire/trace.ts';
import type { PutStages, StageTimes } from '../put-stages.ts';

/** Times are nanoseconds of hrtime. */
export interface PutTrace {
  readonly kind: CommandKind;
  readonly parent: TraceParent;
  /** Of the command. */
  readonly bytes: number;
  readonly received: bigint;
  /** It was handed to replication; undefined: it never was. */
  readonly sent: bigint | undefined;
  readonly stages: StageTimes;
  readonly ended: bigint;
  /** Undefined: it was done. */
  readonly error: StoreError | undefined;
}

/** A write under way that is followed. */
export interface OpenTrace {
  readonly slot: number;
  readonly kind: CommandKind;
  readonly parent: TraceParent;
  readonly bytes: number;
  readonly received: bigint;
  sent: bigint | undefined;
}

export class PutTraces {
  readonly #stages: PutStages;
  readonly #tell: (trace: PutTrace) => void;
  /** Not yet handed to replication. */
  #unsent: OpenTrace[] = [];

  constructor(stages: PutStages, tell: (trace: PutTrace) => void) {
    this.#stages = stages;
    this.#tell = tell;
  }

  /** Follows a write if `traceparent` says that somebody wants that. */
  begin(
    traceparent: string,
    write: { readonly kind: CommandKind; readonly token: number; readonly origin: number; readonly bytes: number },
  ): OpenTrace | undefined {
    const received = process.hrtime.bigint();
    const parent = sampledTrace(traceparent);
    if (parent === undefined) return undefined;
    const { kind, token, origin, bytes } = write;
    const slot = this.#stages.open(token, origin);
    if (slot === undefined) return undefined;
    const trace: OpenTrace = { slot, kind, parent, bytes, received, sent: undefined };
    this.#unsent.push(trace);
    return trace;
  }

  /** All that was admitted was handed to replication. */
  sent(): void {
    if (this.#unsent.length === 0) return;
    const now = process.hrtime.bigint();
    for (const trace of this.#unsent) trace.sent = now;
    this.#unsent = [];
  }

  end({ slot, ...trace }: OpenTrace, error?: StoreError): void {
    const stages = this.#stages.close(slot);
    this.#tell({ ...trace, stages, ended: process.hrtime.bigint(), error });
  }
}
