import { expect, test } from 'vitest';
import type { ReflectorFrame } from '../../src/actors/reflector.ts';
import type { Timing } from '../../src/client/timing.ts';
import type { Client, ClientEvent, LedgerFrame, LedgerOptions, NodeStatus } from '../../src/client/types.ts';
import { StoreError } from '../../src/core/base/errors.ts';
import { toIndex } from '../../src/core/base/position.ts';
import { Upstreams, type UpstreamsOptions } from '../../src/reflector/upstreams.ts';

const HELLO: LedgerFrame = { kind: 'hello', cluster: 'c1', node: 'n1' };

/** Timers that fire when the test says so. */
class Clock implements Timing {
  #nowMs = 0;
  #timers: { atMs: number; everyMs: number | undefined; work: () => void }[] = [];
  readonly nowMs = (): number => this.#nowMs;
  readonly random = (): number => 0.5;
  readonly after = (delayMs: number, work: () => void): { cancel(): void } => this.#add(delayMs, undefined, work);
  readonly every = (everyMs: number, work: () => void): { cancel(): void } => this.#add(everyMs, everyMs, work);

  #add(delayMs: number, everyMs: number | undefined, work: () => void): { cancel(): void } {
    const timer = { atMs: this.#nowMs + delayMs, everyMs, work };
    this.#timers.push(timer);
    return { cancel: () => void (this.#timers = this.#timers.filter((one) => one !== timer)) };
  }

  async pass(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const next = this.#timers.toSorted((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined || next.atMs > untilMs) break;
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      if (next.everyMs === undefined) this.#timers = this.#timers.filter((one) => one !== next);
      else next.atMs += next.everyMs;
      next.work();
      await settled();
    }
    this.#nowMs = untilMs;
  }
}

/** All that has been resolved has had its turn. */
const settled = (): Promise<void> => new Promise((done) => setImmediate(done));

class World {
  readonly clock = new Clock();
  lagMs = 0;
  readonly status: Map<string, Partial<NodeStatus>> = new Map();
  readonly refusals: Map<string, Error> = new Map();
  readonly unreachable: Set<string> = new Set();
  /** What a stream of this upstream brings behind its hello. */
  readonly brings: Map<string, LedgerFrame[]> = new Map();
  readonly followed: string[] = [];
  readonly paths: (readonly string[])[] = [];
  onEvent: ((event: ClientEvent) => void) | undefined;
  readonly upstreams: Upstreams;

  constructor(options: Partial<UpstreamsOptions> = {}) {
    this.upstreams = new Upstreams({
      upstreams: [['relay'], ['node']],
      connect: async ([url], { onEvent }) => {
        if (this.unreachable.has(url as string)) throw new StoreError('UNAVAILABLE', `${url} does not answer`);
        if (onEvent !== undefined) this.onEvent = onEvent;
        return {
          ledger: (wishes: LedgerOptions) => this.#ledger(url as string, wishes),
          status: async () => ({ lagMs: 0, ...this.status.get(url as string) }),
          close: async () => {},
        } as unknown as Client;
      },
      deadlineMs: 10_000,
      staleAfterMs: 30_000,
      comeBackMs: 60_000,
      lagMs: () => this.lagMs,
      timing: this.clock,
      relay: { id: 'me', onPath: (path) => this.paths.push(path) },
      ...options,
    });
  }

  async *#ledger(url: string, { signal }: LedgerOptions): AsyncGenerator<LedgerFrame> {
    const refusal = this.refusals.get(url);
    if (refusal !== undefined) throw refusal;
    this.followed.push(url);
    yield HELLO;
    yield* this.brings.get(url) ?? [];
    await new Promise((_, reject) => {
      signal?.addEventListener('abort', () => reject(new StoreError('CANCELLED', 'stopped')), { once: true });
    });
  }

  readonly frames: ReflectorFrame[] = [];

  /** One stream, to its end. */
  async stream(): Promise<string> {
    try {
      for await (const frame of this.upstreams.source({ fromRevision: toIndex(1), cluster: '' }))
        this.frames.push(frame);
    } catch (error) {
      return error instanceof StoreError ? `${error.code}: ${error.message}` : String(error);
    }
    return 'ended';
  }
}

test('old data: the next one is followed, and the first again when it is fresh itself', async () => {
  const world = new World();
  const first = world.stream();
  await settled();
  expect(world.upstreams.current).toEqual(['relay']);
  world.lagMs = 31_000;
  await world.clock.pass(29_000);
  expect(world.upstreams.current).toEqual(['relay']);
  await world.clock.pass(2_000);
  expect(await first).toBe('UNAVAILABLE: the data is 31 s old, and does not get younger');
  world.lagMs = 0;
  world.status.set('relay', { lagMs: 90_000 });
  const second = world.stream();
  await settled();
  await world.clock.pass(70_000);
  expect(world.upstreams.current, 'the relay is still behind').toEqual(['node']);
  world.status.set('relay', { lagMs: 100, path: ['relay', 'me'] });
  await world.clock.pass(60_000);
  expect(world.upstreams.current, 'the relay follows us').toEqual(['node']);
  world.status.set('relay', { lagMs: 100, path: ['relay'] });
  await world.clock.pass(60_000);
  expect(await second).toBe('UNAVAILABLE: relay is back');
  void world.stream();
  await settled();
  expect(world.followed).toEqual(['relay', 'node', 'relay']);
});

test('who is gone back to in vain is gone back to more seldom, and the one that was left for it is followed again', async () => {
  const world = new World({ upstreams: [['relay'], ['far'], ['node']] });
  world.refusals.set('relay', new StoreError('FORBIDDEN', 'not this'));
  world.unreachable.add('far');
  expect(await world.stream()).toContain('FORBIDDEN');
  expect(await world.stream()).toContain('does not answer');
  const pauses: number[] = [];
  for (let i = 0; i < 3; i++) {
    const beganMs = world.clock.nowMs();
    const stream = world.stream();
    await settled();
    expect(world.upstreams.current).toEqual(['node']);
    await world.clock.pass(60_000 * 2 ** i);
    expect(await stream).toBe('UNAVAILABLE: relay is back');
    pauses.push(world.clock.nowMs() - beganMs);
    expect(await world.stream()).toContain('FORBIDDEN');
  }
  expect(pauses).toEqual([60_000, 120_000, 240_000]);
});

test('who cannot be reached, or loses its connection for long, is passed over; a short loss is not noticed', async () => {
  const world = new World();
  world.unreachable.add('relay');
  expect(await world.stream()).toContain('does not answer');
  const stream = world.stream();
  await settled();
  expect(world.upstreams.current).toEqual(['node']);
  world.onEvent?.({ kind: 'disconnected', url: 'node', reason: 'reset' });
  await world.clock.pass(2_000);
  world.onEvent?.({ kind: 'connected', url: 'node', node: 'n1' });
  await world.clock.pass(10_000);
  expect(world.upstreams.current).toEqual(['node']);
  world.onEvent?.({ kind: 'disconnected', url: 'node', reason: 'reset' });
  await world.clock.pass(3_000);
  expect(await stream).toBe('UNAVAILABLE: no connection for 3000 ms: reset');
});

test('a refusal is final only when all refuse', async () => {
  const world = new World();
  world.refusals.set('relay', new StoreError('FORBIDDEN', 'not this'));
  expect(await world.stream()).toBe('UNAVAILABLE: relay: FORBIDDEN: not this');
  world.refusals.set('node', new StoreError('FORBIDDEN', 'nor that'));
  expect(await world.stream()).toBe('FORBIDDEN: nor that');
});

test('a relay passes paths on, leaves when it finds itself on one, and remembers what the cluster said of its state', async () => {
  const world = new World();
  world.brings.set('relay', [
    { kind: 'path', path: ['relay', 'above'] },
    { kind: 'hash', revision: toIndex(64), hash: 7 },
    { kind: 'path', path: ['relay', 'me'] },
  ]);
  expect(await world.stream()).toBe('RELAY_LOOP: relay follows this relay: relay ← me');
  expect(world.paths).toEqual([[], ['relay', 'above'], []]);
  expect(world.upstreams.hashAt(64)).toBe(7);
  expect(world.frames.map(({ kind }) => kind)).toEqual(['hello', 'hash']);
});
