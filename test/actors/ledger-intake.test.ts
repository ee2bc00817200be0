/** Rounds: one at a time, and a pause in proportion to what the last one took. */
import { expect, test } from 'vitest';
import { LedgerIntake } from '../../src/actors/ledger-intake.ts';
import { createRing, RingReader, RingWriter } from '../../src/actors/runtime/ring.ts';
import { Shared } from '../../src/actors/shared.ts';
import { ByteWriter } from '../../src/core/base/bytes.ts';
import { toIndex } from '../../src/core/base/position.ts';
import { encodeRecord } from '../../src/core/model/ledger.ts';
import { put, World } from './shipper-world.ts';

class Intake {
  readonly world = new World();
  readonly intake: LedgerIntake;
  readonly pauses: { delayMs: number; work: () => void; isCancelled: boolean }[] = [];
  readonly #ring: RingWriter;

  constructor() {
    const shared = new Shared();
    const buffer = createRing(64 * 1024);
    this.#ring = new RingWriter(buffer);
    this.intake = new LedgerIntake(shared, new RingReader(buffer), this.world.shipper, (delayMs, work) => {
      const pause = { delayMs, work, isCancelled: false };
      this.pauses.push(pause);
      return { cancel: () => (pause.isCancelled = true) };
    });
  }

  write(key: string): void {
    const revision = toIndex(++this.world.applied);
    const writer = new ByteWriter(64);
    encodeRecord(writer, { revision, timeMs: 1, changes: [put(key)] });
    this.#ring.write(writer.view());
    this.intake.turn();
  }

  sent(tookMs: number): void {
    this.intake.receive({ kind: 'sent', tookMs });
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

test('after a round that took long there is a pause, four times as long, and never past the bound', () => {
  const it = new Intake();
  it.world.subscribe(1, { mode: 'ledger' });
  it.write('a');
  it.sent(3);
  it.write('b');
  it.write('c');
  expect(it.frames).toEqual([[1]]);
  expect(it.pauses.map(({ delayMs }) => delayMs)).toEqual([12]);
  it.pauses[0]?.work();
  expect(it.frames).toEqual([[1], [2, 3]]);
  it.sent(1_000);
  expect(it.pauses[1]?.delayMs).toBe(25);
  it.pauses[1]?.work();
  it.write('d');
  expect(it.frames).toEqual([[1], [2, 3], [4]]);
  it.sent(6);
  it.intake.close();
  expect(it.pauses[2]?.isCancelled).toBe(true);
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

test('a round that nobody began is not told as sent', () => {
  const it = new Intake();
  expect(() => it.sent(1)).toThrow(/broken/);
});
