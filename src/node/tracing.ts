/**
 * Tracing: what becomes of a write that was traced, as spans for a tracer of the shape of OpenTelemetry's API. None is
 * depended on: whoever has one gives it.
 *
 *   ctlmesh.put                    from its frame to its answer; a child of the client's span
 *     gateway.receive              checked, admitted, and handed to replication
 *     replication.propose          until it had its place in this node's log; elsewhere led, with the way there and back
 *     wal.write  wal.sync          until this node's disk had it
 *     quorum                       from its place in the log until a majority's disks had it; beside the two above
 *     memtable.apply               until it was applied
 *     reply                        until the answer was on its way
 *
 * A span is from the end of the stage before it to the end of its own, so that waiting is in it. Stages that the write did
 * not reach have none, and neither has one that was not over when the answer left (a leader's own sync, sometimes).
 */
import type { PutTrace } from '../actors/gateway/put-traces.ts';
import type { LogFunction } from '../actors/runtime/thread.ts';
import type { TraceParent } from '../core/wire/trace.ts';

/** OpenTelemetry's `Tracer`, as much of it as is used. */
export interface Tracer {
  startSpan(name: string, options?: TraceSpanOptions, context?: TraceContext): TraceSpan;
}

export interface TraceSpanOptions {
  /** 1: a server's. */
  readonly kind?: number;
  /** Seconds since 1970, and nanoseconds. */
  readonly startTime?: [number, number];
  readonly attributes?: Record<string, string | number | boolean>;
}

/** OpenTelemetry's `Span`, as much of it as is used. */
export interface TraceSpan {
  setStatus(status: { code: number; message?: string }): unknown;
  end(endTime?: [number, number]): void;
}

/** OpenTelemetry's `Context`. */
export interface TraceContext {
  getValue(key: symbol): unknown;
  setValue(key: symbol, value: unknown): TraceContext;
  deleteValue(key: symbol): TraceContext;
}

/** Where OpenTelemetry's API keeps the span of a context, in every version of it. */
const SPAN_KEY = Symbol.for('OpenTelemetry Context Key SPAN');
const KIND_SERVER = 1;
const STATUS_ERROR = 2;
const NANOS = 1_000_000_000n;

class Context implements TraceContext {
  readonly #values: ReadonlyMap<symbol, unknown>;

  constructor(values: Iterable<readonly [symbol, unknown]>) {
    this.#values = new Map(values);
  }

  getValue(key: symbol): unknown {
    return this.#values.get(key);
  }

  setValue(key: symbol, value: unknown): TraceContext {
    return new Context([...this.#values, [key, value]]);
  }

  deleteValue(key: symbol): TraceContext {
    return new Context([...this.#values].filter(([other]) => other !== key));
  }
}

/** Somebody else's span, of whom no more is known than its name. */
const spanOf = ({ traceId, spanId, flags }: TraceParent): object => ({
  spanContext: () => ({ traceId, spanId, traceFlags: flags, isRemote: true }),
  isRecording: () => false,
});

/** Tells `tracer` of each trace. What it throws is its own, and is logged. */
export function spansFor(tracer: Tracer, log: LogFunction): (trace: PutTrace) => void {
  // Of this process's clock that only goes on, to the calendar's.
  const offset = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();
  const timeOf = (at: bigint): [number, number] => [Number((at + offset) / NANOS), Number((at + offset) % NANOS)];
  return (trace) => {
    try {
      tell(tracer, trace, timeOf);
    } catch (error) {
      log('warn', 'tracer.failed', { message: String(error) });
    }
  };
}

function tell(tracer: Tracer, trace: PutTrace, timeOf: (at: bigint) => [number, number]): void {
  const { kind, parent, bytes, received, ended, error } = trace;
  const attributes = {
    'db.system.name': 'ctlmesh',
    'db.operation.name': kind,
    'ctlmesh.command.bytes': bytes,
    ...(error === undefined ? {} : { 'error.type': error.code }),
  };
  const root = tracer.startSpan(
    `ctlmesh.${kind}`,
    { kind: KIND_SERVER, startTime: timeOf(received), attributes },
    new Context([[SPAN_KEY, spanOf(parent)]]),
  );
  const within = new Context([[SPAN_KEY, root]]);
  for (const { name, from, to } of spansOf(trace)) {
    tracer.startSpan(name, { startTime: timeOf(from) }, within).end(timeOf(to));
  }
  if (error !== undefined) root.setStatus({ code: STATUS_ERROR, message: error.message });
  root.end(timeOf(ended));
}

interface StageSpan {
  readonly name: string;
  readonly from: bigint;
  readonly to: bigint;
}

function spansOf({ received, sent, stages, ended, error }: PutTrace): StageSpan[] {
  const { proposed, logged, synced, committed, applied } = stages;
  const spans: StageSpan[] = [];
  const add = (name: string, from: bigint | undefined, to: bigint | undefined): void => {
    if (from !== undefined && to !== undefined && to >= from) spans.push({ name, from, to });
  };
  add('gateway.receive', received, sent);
  add('replication.propose', sent, proposed);
  add('wal.write', proposed, logged);
  add('wal.sync', logged, synced);
  add('quorum', proposed, committed);
  add('memtable.apply', committed ?? proposed ?? sent, applied);
  if (error === undefined) add('reply', applied, ended);
  return spans;
}
