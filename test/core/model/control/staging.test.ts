/**
 * Stages in the machine: what moves mean, what is kept and for how long, and what is refused. What hosts are shown of it is in
 * test/engine/ldb/staged.test.ts.
 */
import { describe, expect, test } from 'vitest';
import { prefixEnd, utf8 } from '../../../../src/core/base/bytes.ts';
import type { Random } from '../../../../src/core/base/env.ts';
import { stageKey, UNDO_PREFIX } from '../../../../src/core/model/control/stage-keys.ts';
import { decodeStage, type Stage, STAGE_MOVES, type StageMove } from '../../../../src/core/model/control/stages.ts';
import { parseFilter } from '../../../../src/core/model/ledger-filter.ts';
import { errorOfResult } from '../../../../src/core/model/machine.ts';
import { below, pick, seeded } from '../../base/seeded.ts';
import { clock, del, op, put, txn } from '../model.ts';
import { ControlBench, PLANS, SECRET, upsert } from './bench.ts';

const SCOPE = parseFilter({ prefixes: ['a/'], families: ['billing'] });

class StageBench extends ControlBench {
  create(rings: readonly string[], scope = SCOPE): void {
    expect(this.run({ kind: 'createStage', stage: 's', scope, rings })).toMatchObject({ code: 'OK' });
  }

  move(move: StageMove, ring = '', reason = move === 'halt' ? 'why' : ''): string {
    return this.run({ kind: 'moveStage', stage: 's', move, ring, reason }).code;
  }

  put(key: string, value: string): string {
    return errorOfResult(this.apply(put(key, value)).answer?.code ?? 0) ?? 'OK';
  }

  get stage(): Stage | undefined {
    const stored = this.table.newest(stageKey('s'));
    return stored && decodeStage(stageKey('s'), stored.value);
  }

  /** As `canary=3 *=f`, and what there is to go back to. */
  get marks(): string {
    const { rings, good } = this.stage as Stage;
    return `${rings.map(({ name, shown }) => `${name}=${shown === 0 ? 'f' : shown}`).join(' ')} good=${good}`;
  }

  get undone(): number {
    return this.table.keys(UNDO_PREFIX, prefixEnd(UNDO_PREFIX) as Uint8Array, 100_000).length;
  }

  get index(): number {
    return this.machine.applied;
  }
}

describe('moves', () => {
  test('a ring is given the state of the one before it; the first one that of the moment', () => {
    const bench = new StageBench();
    bench.create(['canary', 'early']);
    expect(bench.marks).toBe('canary=f early=1 *=1 good=1');
    bench.put('a/x', '1');
    expect(bench.move('release', 'canary')).toBe('OK');
    bench.put('a/x', '2');
    expect(bench.move('release', 'early')).toBe('OK');
    expect(bench.marks).toBe('canary=3 early=3 *=1 good=1');
    expect(bench.move('release', '*')).toBe('OK');
    expect(bench.marks).toBe('canary=3 early=3 *=3 good=1');
    // Released again, nothing is left behind: what there is to go back to stays.
    expect(bench.move('release', '*')).toBe('OK');
    expect(bench.marks).toBe('canary=3 early=3 *=3 good=1');
    expect(bench.move('follow', 'early')).toBe('OK');
    expect(bench.move('release', 'early')).toBe('BAD_REQUEST');
  });

  test('a rollback goes to what everybody has, then to what they had; then there is nothing', () => {
    const bench = new StageBench();
    bench.create(['canary']);
    bench.put('a/x', '1');
    bench.move('release', '*');
    expect(bench.marks).toBe('canary=f *=3 good=1');
    bench.put('a/x', '2');
    expect(bench.move('rollback')).toBe('OK');
    expect(bench.marks).toBe('canary=3 *=3 good=1');
    expect([bench.stage?.halted, bench.move('release', '*')]).toEqual(['rolled back', 'DISABLED']);
    expect(bench.move('rollback')).toBe('OK');
    expect(bench.marks).toBe('canary=1 *=1 good=1');
    expect(bench.move('rollback')).toBe('BAD_REQUEST');
  });

  test('a canary that follows and has seen nothing new is not ahead: the release itself is taken back', () => {
    const bench = new StageBench();
    bench.create(['canary']);
    bench.put('a/x', '1');
    bench.move('release', '*');
    bench.move('rollback');
    expect(bench.marks).toBe('canary=1 *=1 good=1');
  });

  test('a bypass is for all, also when halted, and can be taken back; hold ends it', () => {
    const bench = new StageBench();
    bench.create(['canary']);
    bench.move('halt');
    bench.put('a/x', '1');
    expect(bench.move('bypass')).toBe('OK');
    expect([bench.marks, bench.stage?.halted]).toEqual(['canary=f *=f good=1', undefined]);
    bench.put('a/x', '2');
    expect(bench.move('hold')).toBe('OK');
    expect(bench.marks).toBe('canary=f *=6 good=1');
    bench.move('bypass');
    expect(bench.marks).toBe('canary=f *=f good=6');
    expect(bench.move('rollback')).toBe('OK');
    expect(bench.marks).toBe('canary=6 *=6 good=6');
  });
});

describe('what is kept', () => {
  test('is one row a key and mark, however often the key is written, and goes when no ring needs it', () => {
    const bench = new StageBench();
    bench.create(['canary']);
    for (let i = 0; i < 50; i++) bench.put(`a/${i % 5}`, String(i));
    for (let i = 0; i < 50; i++) bench.put(`b/${i % 5}`, String(i));
    expect(bench.undone).toBe(5);
    bench.move('release', '*');
    bench.put('a/0', 'new');
    expect(bench.undone).toBe(6);
    bench.move('release', '*');
    bench.apply(clock(0));
    // Of the first five nothing can be shown any more.
    expect(bench.undone).toBe(1);
    bench.run({ kind: 'dropStage', stage: 's' });
    expect(bench.run({ kind: 'createStage', stage: 's', scope: SCOPE, rings: [] }).code).toBe('OK');
    expect(bench.undone).toBe(0);
  });

  test('rows of many marks are swept a few with each entry, and a name is free when all are gone', () => {
    const bench = new StageBench();
    bench.create([]);
    for (let i = 0; i < 300; i++) bench.put(`a/${i}`, 'x');
    bench.run({ kind: 'dropStage', stage: 's' });
    const counts = [bench.undone];
    for (let i = 0; i < 6; i++) {
      bench.put('b', 'x');
      counts.push(bench.undone);
    }
    expect(counts[0]).toBe(300);
    expect(counts).toEqual(counts.toSorted((a, b) => b - a));
    expect([counts.at(-1), bench.stage]).toEqual([0, undefined]);
  });

  test('a machine that is restarted anywhere goes on alike', () => {
    const run = (seed: number, restarts: Random): number => {
      const random = seeded(seed);
      const bench = new StageBench();
      bench.run({ kind: 'createFamily', family: 'billing' });
      bench.createTable('plans', PLANS, ['id']);
      bench.run({ kind: 'registerWriter', writer: 'loader' }, { secret: SECRET });
      for (let i = 0; i < 150; i++) {
        if (restarts() < 0.1) bench.restart();
        const dice = random();
        const key = `${pick(random, ['a', 'b'])}/${below(random, 5)}`;
        if (dice < 0.4) bench.put(key, String(i));
        else if (dice < 0.5) bench.apply(del(key));
        else if (dice < 0.6) bench.apply(txn({ then: [op.put('a/1', String(i)), op.delete('a/2')] }));
        else if (dice < 0.7) bench.mutate([upsert('plans', { id: `p${below(random, 4)}`, seats: i, price: 1 })]);
        else if (dice < 0.75) bench.apply(clock(i));
        else if (dice < 0.8) bench.run({ kind: 'createStage', stage: 's', scope: SCOPE, rings: ['canary'] });
        else if (dice < 0.82) bench.run({ kind: 'dropStage', stage: 's' });
        else {
          const move = pick(random, STAGE_MOVES);
          const ring = move === 'release' || move === 'follow' ? pick(random, ['canary', '*']) : '';
          bench.move(move, ring);
        }
      }
      return bench.machine.stateHash();
    };
    for (let seed = 1; seed <= 10; seed++) expect(run(seed, seeded(seed + 1000))).toBe(run(seed, () => 1));
  });
});

describe('bounds', () => {
  test('one change may replace so much of what is staged; what was replaced before counts no more', () => {
    const bench = new StageBench({ arenaBytes: 64 * 1024 * 1024 });
    const large = 'x'.repeat(200 * 1024);
    for (const key of ['a/1', 'a/2', 'b/1', 'b/2']) bench.put(key, large);
    bench.create([]);
    const both = (prefix: string): unknown => {
      const { answer } = bench.apply(txn({ then: [op.put(`${prefix}/1`, 'new'), op.delete(`${prefix}/2`)] }));
      return errorOfResult(answer?.code ?? 0) ?? 'OK';
    };
    expect([both('a'), both('b')]).toEqual(['TXN_TOO_LARGE', 'OK']);
    expect(bench.get('a/1')).toBe(large);
    expect([bench.put('a/1', 'new'), bench.put('a/2', 'new'), both('a')]).toEqual(['OK', 'OK', 'OK']);
  });

  test('a stage that keeps too much takes no more puts, and deletes; once it is open it gives up what there is to go back to', () => {
    const bench = new StageBench({ arenaBytes: 192 * 1024 * 1024 });
    const large = 'x'.repeat(200 * 1024);
    const keys = Array.from({ length: 340 }, (_, i) => `a/${i}`);
    for (const key of keys) bench.put(key, large);
    bench.create([]);
    const codes = keys.map((key) => bench.put(key, 'small'));
    const firstRefused = codes.indexOf('TABLE_FULL');
    expect(firstRefused * large.length).toBeGreaterThan(60 * 1024 * 1024);
    expect(new Set(codes.slice(firstRefused))).toEqual(new Set(['TABLE_FULL']));
    expect(bench.apply(del(keys.at(-1) as string)).answer?.code).toBe(0);
    expect([bench.put('b/1', 'x'), bench.put('a/0', 'again')]).toEqual(['OK', 'OK']);
    const { good } = bench.stage as Stage;
    expect(bench.move('bypass')).toBe('OK');
    expect(bench.put(keys.at(-2) as string, 'small')).toBe('OK');
    expect(bench.stage?.good).toBeGreaterThan(good);
    for (let i = 0; i < 20; i++) bench.apply(clock(i));
    expect(bench.undone).toBe(1);
    expect(utf8(bench.get('a/0') ?? '')).toEqual(utf8('again'));
  });
});
