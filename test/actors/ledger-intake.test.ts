/** Rounds in slices: one at a time, as fast as the pace allows. */
import { expect, test } from 'vitest';
import { LedgerIntake } from '../../src/actors/ledger-intake.ts';
import { createRing, RingReader, RingWriter } from '../../src/actors/runtime/ring.ts';
import { Shared } from '../../src/actors/shared.ts';
import { ByteWriter } from '../../src/core/base/bytes.ts';
import { toIndex } from '../../src/core/base/position.ts';
import { encodeRecord } from '../../src/core/model/ledger.ts';
import { put, World } from './shipper-world.ts';

class Intake {
  readonly world = new World({ subscriptionsMax: 2_000 });
  nowMs = 0;
  readonly intake: LedgerIntake;
  readonly pauses: { delayMs: number; work: () => void; isCancelled: boolean }[] = [];
  readonly #ring: RingWriter;

  constructor() {
    const shared = new Shared();
    const buffer = createRing(64 * 1024);
    this.#ring = new RingWriter(buffer);
    this.intake = new LedgerIntake(shared, new RingReader(buffer), this.world.shipper, {
      monotonicMs: () => this.nowMs,
      later: (delayMs, work) => {
        const pause = { delayMs, work, isCancelled: false };
        this.pauses.push(pause);
        return { cancel: () => void (pause.isCancelled = true) };
      },
    });
  }

  write(key: string): void {
    const revision = toIndex(++this.world.applied);
    const writer = new ByteWriter(64);
    encodeRecord(writer, { revision, timeMs: 1, changes: [put(key)] });
    this.#ring.write(writer.view());
    this.intake.turn();
  }

  sent(tookMs: number, passedMs = tookMs): void {
    this.nowMs += passedMs;
    this.intake.receive({ kind: 'sent', tookMs });
  }

  /** The pause that was begun last is over. */
  goOn(): void {
    const { delayMs, work } = this.pauses.at(-1) as (typeof this.pauses)[number];
    this.nowMs += delayMs;
    work();
  }

  /** How many readers the last slice fed; undefined: it was told already. */
  takeSlice(): number | undefined {
    const messages = this.world.posted.splice(0).flatMap((message) => (message.kind === 'parts' ? [message] : []));
    if (messages.length === 0) return undefined;
    expect(messages.map(({ endsSlice }) => endsSlice)).toEqual([...messages.slice(1).map(() => false), true]);
    return messages.reduce((readers, { to }) => readers + to.length / 3, 0);
  }

  /** Revisions of each frame that reader 1 got. */
  get frames(): number[][] {
    return this.world.parts(1).flatMap(({ part, revisions }) => (part === 'records' ? [revisions] : []));
  }
}

test('what comes while a round is being sent goes with the next, in one frame', () => {
  const it = new Intake();
  it.world.subscribe(1, { mode: 'ledger' });
  for (const key of ['a', 'b', 'c']) it.write(key);
  expect(it.frames).toEqual([[1]]);
  it.sent(0.1);
  expect(it.frames).toEqual([[1], [2, 3]]);
  it.sent(0.1);
  it.write('d');
  expect(it.frames).toEqual([[1], [2, 3], [4]]);
  expect(it.pauses).toEqual([]);
});

test('many are fed in slices; the next leaves when the last has, and new records wait for the next round', () => {
  const it = new Intake();
  for (let sub = 1; sub <= 1_100; sub++) it.world.subscribe(sub, { mode: 'ledger', request: 7 });
  it.world.posted.length = 0;
  it.write('a');
  expect(it.takeSlice()).toBe(512);
  it.write('b');
  expect(it.takeSlice()).toBeUndefined();
  it.sent(0.5);
  expect(it.takeSlice()).toBe(512);
  it.sent(0.5);
  expect(it.takeSlice()).toBe(76);
  it.sent(0.2);
  // Those of the first slice have not seen the second write; the others have.
  expect(it.takeSlice()).toBe(512);
  it.sent(0.5);
  expect(it.takeSlice()).toBeUndefined();
});

test.each([
  ['as many as a slice holds', 512],
  ['the rest without credit', 600],
])('a round whose end has nothing to send is over, and what came meanwhile goes at once: %s', (_what, readers) => {
  const it = new Intake();
  for (let sub = 1; sub <= readers; sub++) {
    it.world.subscribe(sub, { mode: 'ledger', request: 7, ...(sub > 512 ? { creditBytes: 0 } : {}) });
  }
  it.world.posted.length = 0;
  it.write('a');
  expect(it.takeSlice()).toBe(512);
  it.write('b');
  it.sent(0.5);
  expect(it.takeSlice()).toBe(512);
});

test('what takes its share of the time waits until it has it again', () => {
  const it = new Intake();
  it.world.subscribe(1, { mode: 'ledger' });
  it.write('a');
  // More than was saved up.
  it.sent(60, 10);
  it.write('b');
  it.write('c');
  expect(it.frames).toEqual([[1]]);
  expect(it.pauses).toHaveLength(1);
  it.goOn();
  expect(it.frames).toEqual([[1], [2, 3]]);
  it.sent(60, 10);
  it.write('d');
  it.intake.close();
  expect(it.pauses.at(-1)?.isCancelled).toBe(true);
});

test('without readers nothing is owed: the first to come is fed at once', () => {
  const it = new Intake();
  for (const key of ['a', 'b']) it.write(key);
  it.intake.receive({
    ...{ kind: 'subscribe', sub: 1, request: 1, mode: 'ledger', fromRevision: 1, reader: 1, creditBytes: 1024 },
    ...{ from: new Uint8Array(0), to: new Uint8Array(0), bookmarks: false, tellSlow: false },
  });
  expect(it.frames).toEqual([[1, 2]]);
  it.write('c');
  expect(it.frames).toEqual([[1, 2], [3]]);
});

test('a slice that nobody began is not told as sent', () => {
  const it = new Intake();
  expect(() => it.sent(1)).toThrow(/broken/);
});
