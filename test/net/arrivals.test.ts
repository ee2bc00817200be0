/** A crowd at the door. */
import { expect, test } from 'vitest';
import { Arrivals, WAIT_MS_MAX } from '../../src/net/arrivals.ts';

class World {
  nowMs = 0;
  #planned: { atMs: number; work: () => void }[] = [];
  /** What a round of the event loop takes. */
  roundMs = 1;
  readonly let: { readonly who: number; readonly atMs: number }[] = [];
  waiting = 0;
  readonly arrivals = new Arrivals((count) => void (this.waiting = count), {
    monotonicMs: () => this.nowMs,
    nextRound: (work) => void this.#planned.push({ atMs: this.nowMs + this.roundMs, work }),
    later: (delayMs, work) => void this.#planned.push({ atMs: this.nowMs + delayMs, work }),
  });

  come(who: number): void {
    this.arrivals.add(() => this.let.push({ who, atMs: this.nowMs }));
  }

  pass(ms: number): void {
    const untilMs = this.nowMs + ms;
    for (;;) {
      const next = this.#planned.filter(({ atMs }) => atMs <= untilMs).toSorted((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#planned = this.#planned.filter((other) => other !== next);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.work();
    }
    this.nowMs = untilMs;
  }
}

test('who comes alone does not wait', () => {
  const world = new World();
  for (let who = 0; who < 5; who++) {
    world.come(who);
    expect(world.let.at(-1)).toEqual({ who, atMs: world.nowMs });
    world.pass(100);
  }
});

test('a crowd is let in in its order, one at a time, with three quarters of the time for others', () => {
  const world = new World();
  for (let who = 0; who < 101; who++) world.come(who);
  expect(world.let).toHaveLength(1);
  expect(world.waiting).toBe(100);
  world.pass(WAIT_MS_MAX);
  expect(world.let).toEqual(Array.from({ length: 101 }, (_, who) => ({ who, atMs: who * 4 })));
  expect(world.waiting).toBe(0);
});

test('a node that has much to do lets in fewer; who has waited too long comes in with others, without a pause between', () => {
  const world = new World();
  world.roundMs = 50;
  for (let who = 0; who < 100; who++) world.come(who);
  world.pass(WAIT_MS_MAX - 100);
  expect(world.let.length).toBeLessThan(25);
  world.pass(100 + 12 * world.roundMs);
  expect(world.let).toHaveLength(100);
  // The loop goes round between: a put waits for eight of them at most.
  const times = world.let.map(({ atMs }) => atMs);
  for (const atMs of new Set(times)) expect(times.filter((other) => other === atMs).length).toBeLessThanOrEqual(8);
  // And it takes its time again.
  world.roundMs = 1;
  world.pass(100);
  world.come(100);
  world.come(101);
  expect(world.waiting).toBe(1);
  world.pass(4);
  expect(world.waiting).toBe(0);
});

test('closed, nobody waits', () => {
  const world = new World();
  for (let who = 0; who < 10; who++) world.come(who);
  world.arrivals.close();
  expect(world.let).toHaveLength(10);
  world.pass(1_000);
  expect(world.let).toHaveLength(10);
});
