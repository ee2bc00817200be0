/** Writes that a client traces, as a node's tracer is told of them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import type { PutTrace } from '../../src/actors/gateway/put-traces.ts';
import { connect } from '../../src/client/index.ts';
import { StoreError } from '../../src/core/base/errors.ts';
import { sampledTrace } from '../../src/core/wire/trace.ts';
import { type RunningNode, startNode, type StartOptions } from '../../src/node.ts';
import {
  spansFor,
  type TraceContext,
  type Tracer,
  type TraceSpan,
  type TraceSpanOptions,
} from '../../src/node/tracing.ts';
import { freePorts } from '../support/cluster-process.ts';

interface Told {
  readonly name: string;
  readonly parent: unknown;
  readonly beganMs: number;
  readonly attributes: TraceSpanOptions['attributes'];
  endedMs: number;
  status: unknown;
}

const SPAN = Symbol.for('OpenTelemetry Context Key SPAN');
const msOf = ([seconds, nanos]: [number, number] = [0, 0]): number => seconds * 1e3 + nanos / 1e6;

class MemoryTracer implements Tracer {
  readonly spans: Told[] = [];

  startSpan(name: string, options: TraceSpanOptions = {}, context?: TraceContext): TraceSpan {
    const parent = context?.getValue(SPAN);
    const { attributes } = options;
    const told: Told = { name, parent, beganMs: msOf(options.startTime), attributes, endedMs: 0, status: undefined };
    this.spans.push(told);
    return Object.assign(told, {
      setStatus: (status: unknown) => {
        told.status = status;
      },
      end: (time?: [number, number]) => {
        told.endedMs = msOf(time);
      },
    });
  }

  named(name: string): Told {
    const found = this.spans.find((span) => span.name === name);
    expect(found, name).toBeDefined();
    return found as Told;
  }
}

async function cluster(ids: readonly string[], options: StartOptions): Promise<RunningNode[]> {
  const nodes: Record<string, { client: string; peer: string; http: string; dataDir: string }> = {};
  for (const id of ids) {
    const dataDir = mkdtempSync(join(tmpdir(), 'ctlmesh-tracing-'));
    onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }));
    const [client, peer, http] = await freePorts(3);
    nodes[id] = {
      client: `ws://127.0.0.1:${client}`,
      peer: `ws://127.0.0.1:${peer}`,
      http: `http://127.0.0.1:${http}`,
      dataDir,
    };
  }
  const logger = pino({ level: 'silent' });
  const running = await Promise.all(ids.map((id) => startNode({ cluster: 'test', nodes }, id, { logger, ...options })));
  onTestFinished(async () => {
    await Promise.all(running.map((node) => node.stop()));
  });
  return running;
}

const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const traceparent = (flags: string): string => `00-${TRACE_ID}-00f067aa0ba902b7-${flags}`;
/** In the order in which they are told. */
const STAGES = [
  'gateway.receive',
  'replication.propose',
  'wal.write',
  'wal.sync',
  'quorum',
  'memtable.apply',
  'reply',
] as const;

test('a put that is sampled is told as a tree of its stages; others are not', { timeout: 60_000 }, async () => {
  const tracer = new MemoryTracer();
  const [node] = (await cluster(['n1'], { tracer })) as [RunningNode];
  await node.put('plain', '1');
  await node.put('unsampled', '1', { trace: traceparent('00') });
  await node.put('nonsense', '1', { trace: 'nonsense' });
  expect(tracer.spans).toEqual([]);
  const beganMs = Date.now();
  const { revision } = await node.put('k', 'value', { trace: traceparent('01') });
  expect(node.getSync('k')?.revision).toBe(revision);
  const root = tracer.named('ctlmesh.put');
  expect((root.parent as { spanContext(): object }).spanContext()).toEqual({
    ...{ traceId: TRACE_ID, spanId: '00f067aa0ba902b7', traceFlags: 1, isRemote: true },
  });
  expect(root).toMatchObject({ status: undefined, attributes: { 'db.operation.name': 'put' } });
  expect(Math.abs(root.beganMs - beganMs)).toBeLessThan(60_000);
  const stages = tracer.spans.filter((span) => span !== root);
  expect(stages.map(({ name }) => name)).toEqual(STAGES);
  for (const span of stages) {
    expect(span.parent, span.name).toBe(root);
    expect(span.beganMs, span.name).toBeGreaterThanOrEqual(root.beganMs);
    expect(span.endedMs, span.name).toBeGreaterThanOrEqual(span.beganMs);
    expect(span.endedMs, span.name).toBeLessThanOrEqual(root.endedMs);
  }
  // Its own disk is the majority: nothing is committed before it.
  expect(tracer.named('quorum').endedMs).toBeGreaterThanOrEqual(tracer.named('wal.sync').endedMs);

  // The same over a socket, and for other writes.
  const client = await connect([node.status().leaderUrl ?? ''], { deadlineMs: 30_000 });
  onTestFinished(() => client.close());
  await client.txn((t) => t.put('a', '1').get('a'), { trace: traceparent('01') });
  expect((await client.delete('a', { trace: traceparent('01') })).found).toBe(true);
  expect(tracer.named('ctlmesh.txn').status).toBeUndefined();
  expect(tracer.named('ctlmesh.delete').status).toBeUndefined();

  // As many as there can be are followed at once, and then as many again.
  tracer.spans.length = 0;
  for (let round = 0; round < 3; round++) {
    await Promise.all(Array.from({ length: 40 }, (_, i) => node.put(`k${i}`, '1', { trace: traceparent('01') })));
  }
  const roots = tracer.spans.filter(({ name }) => name === 'ctlmesh.put');
  expect(roots.length).toBeGreaterThanOrEqual(3);
  for (const other of roots) {
    const names = tracer.spans.filter(({ parent }) => parent === other).map(({ name }) => name);
    expect(names).toEqual(STAGES);
  }
});

test('of three nodes the one that was asked tells it, whoever leads', { timeout: 60_000 }, async () => {
  const tracer = new MemoryTracer();
  const nodes = await cluster(['n1', 'n2', 'n3'], { tracer });
  for (const node of nodes) {
    tracer.spans.length = 0;
    await node.put('k', node.id, { trace: traceparent('01'), deadlineMs: 30_000 });
    const names = tracer.spans.map(({ name }) => name);
    // The answer may leave before this node's own disk has it, and before a follower has applied what it heard of.
    const always = ['ctlmesh.put', 'gateway.receive', 'memtable.apply', 'reply'];
    expect(names.filter((name) => always.includes(name))).toEqual(always);
    expect(names.filter((name) => !always.includes(name)).every((name) => STAGES.includes(name as never))).toBe(true);
  }
});

const trace: PutTrace = {
  kind: 'put',
  parent: { traceId: TRACE_ID, spanId: '00f067aa0ba902b7', flags: 1 },
  bytes: 30,
  received: 1_000n,
  sent: 2_000n,
  stages: { proposed: 3_000n },
  ended: 9_000_000n,
  error: new StoreError('OUTCOME_UNKNOWN', 'nobody knows'),
};

test('a write that fails is told as far as it came, with the reason', () => {
  const tracer = new MemoryTracer();
  spansFor(tracer, () => {})(trace);
  expect(tracer.spans.map(({ name }) => name)).toEqual(['ctlmesh.put', 'gateway.receive', 'replication.propose']);
  expect(tracer.named('ctlmesh.put')).toMatchObject({
    status: { code: 2, message: 'nobody knows' },
    attributes: { 'error.type': 'OUTCOME_UNKNOWN' },
  });
});

test('what a tracer throws is logged, and harms nobody', () => {
  const lines: unknown[] = [];
  const startSpan = (): never => {
    throw new Error('no room');
  };
  spansFor({ startSpan }, (level, event) => lines.push([level, event]))(trace);
  expect(lines).toEqual([['warn', 'tracer.failed']]);
});

test.each([
  ['sampled', traceparent('01'), true],
  ['not sampled', traceparent('00'), false],
  ['of a newer version', `01-${TRACE_ID}-00f067aa0ba902b7-01-more`, true],
  ['of no version', `ff-${TRACE_ID}-00f067aa0ba902b7-01`, false],
  ['of nobody', `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`, false],
  ['too long', `${traceparent('01')}-${'x'.repeat(100)}`, false],
  ['in capitals', traceparent('01').toUpperCase(), false],
])('a traceparent that is %s', (_what, text, isSampled) => {
  expect(sampledTrace(text) !== undefined).toBe(isSampled);
});
