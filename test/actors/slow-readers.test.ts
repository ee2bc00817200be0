/** Slow readers at the shipper: what they cost, what they are told, and that they lose nothing. */
import { describe, expect, test } from 'vitest';
import { below, forSeeds } from '../core/base/seeded.ts';
import { put, World, upTo } from './shipper-world.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

describe('bytes on their way', () => {
  test('are bounded for all readers together; what is taken makes room, and nothing is lost', () => {
    const world = new World({ windowBytes: 4 * MIB, heldBytesMax: 400 * KIB });
    for (let sub = 1; sub <= 8; sub++) world.subscribe(sub);
    for (let i = 0; i < 100; i++) world.write([put('a', 'x'.repeat(10 * KIB))]);
    // Eight readers with a megabyte of credit each, and none has taken anything: the bound, and one part.
    expect(world.shipper.heldBytes).toBeLessThan((400 + 128) * KIB);
    let highest = 0;
    for (let round = 0; round < 1_000 && world.held(1) + world.held(8) > 0; round++) {
      for (let sub = 1; sub <= 8; sub++) world.take(sub, 64 * KIB);
      highest = Math.max(highest, world.shipper.heldBytes);
    }
    expect(highest).toBeLessThan((400 + 128) * KIB);
    for (let sub = 1; sub <= 8; sub++) {
      world.credit(sub, MIB);
      while (world.held(sub) > 0) world.take(sub, MIB);
    }
    for (let sub = 1; sub <= 8; sub++) expect(world.revisions(sub)).toEqual(upTo(1, 100));
    expect(world.shipper.heldBytes).toBe(0);
  });

  test('readers that take what they get go on while others take nothing', () => {
    const world = new World({ windowBytes: 4 * MIB, heldBytesMax: 400 * KIB });
    for (let sub = 1; sub <= 5; sub++) world.subscribe(sub);
    for (let i = 0; i < 200; i++) {
      world.write([put('a', 'x'.repeat(10 * KIB))]);
      world.take(5, MIB);
      world.credit(5, 11 * KIB);
    }
    expect(world.revisions(5)).toEqual(upTo(1, 200));
    expect(world.revisions(1).length).toBeLessThan(30);
  });

  test('a reader that goes gives back what it held', () => {
    const world = new World({ windowBytes: 4 * MIB, heldBytesMax: 100 * KIB });
    world.subscribe(1);
    world.subscribe(2, { reader: 1 });
    for (let i = 0; i < 50; i++) world.write([put('a', 'x'.repeat(10 * KIB))]);
    expect(world.shipper.heldBytes).toBeGreaterThan(50 * KIB);
    for (const sub of [1, 2]) world.shipper.receive({ kind: 'cancel', sub });
    world.take(1, 10 * MIB);
    expect(world.shipper.heldBytes).toBe(0);
  });
});

describe('a watch that is held back', () => {
  test('is told once where it is and how far the node is; then goes on where it was', () => {
    const world = new World({ windowBytes: 4 * MIB });
    world.subscribe(1, { creditBytes: 20_000, tellSlow: true });
    world.subscribe(2, { creditBytes: 20_000 });
    for (let i = 0; i < 100; i++) world.write([put('a', 'x'.repeat(1_000))]);
    const sent = world.revisions(1).at(-1) ?? 0;
    expect(sent).toBeLessThan(100);
    world.shipper.look();
    expect(world.told(1)).toEqual([]);
    for (let look = 0; look < 5; look++) world.shipper.look();
    expect(world.told(1)).toEqual([[sent, 100]]);
    // Nobody is told who did not ask.
    expect(world.told(2)).toEqual([]);
    expect(world.shipper.slow).toBe(2);
    world.credit(1, MIB);
    expect(world.revisions(1)).toEqual(upTo(1, 100));
    world.shipper.look();
    expect(world.shipper.slow).toBe(1);
    // Slow again: told again.
    world.write([put('a', 'x'.repeat(MIB))]);
    world.write([put('a')]);
    for (let look = 0; look < 5; look++) world.shipper.look();
    expect(world.told(1)).toEqual([
      [sent, 100],
      [101, 102],
    ]);
  });

  test('is not slow for a moment without credit', () => {
    const world = new World({ windowBytes: 4 * MIB });
    world.subscribe(1, { creditBytes: 5_000, tellSlow: true });
    for (let i = 0; i < 50; i++) {
      world.write([put('a', 'x'.repeat(4_000))]);
      world.shipper.look();
      world.credit(1, 4_200);
    }
    expect(world.told(1)).toEqual([]);
  });

  test('whose position goes is told so at once: COMPACTED, without waiting for its credit', () => {
    const world = new World({ windowBytes: 20_000 });
    world.subscribe(1, { creditBytes: 1 });
    for (let i = 0; i < 100; i++) world.write([put('a', 'x'.repeat(1_000))]);
    expect(world.end(1)).toBeUndefined();
    world.shipper.look();
    expect(world.end(1)).toMatchObject({
      code: 'COMPACTED',
      data: { oldestRevision: world.shipper.window.first },
    });
    expect([world.shipper.subscriptions, world.shipper.compacted]).toEqual([0, 1]);
  });

  test('whatever its credit, its socket and the looks: each revision once, in order, or COMPACTED', () => {
    forSeeds(60, (random) => {
      const world = new World({ windowBytes: 40 * KIB, heldBytesMax: 20 * KIB });
      const readers = [1, 2, 3, 4];
      for (const sub of readers) world.subscribe(sub, { creditBytes: 1 + below(random, 5_000), tellSlow: true });
      for (let step = 0; step < 300; step++) {
        const sub = 1 + below(random, readers.length);
        const act = below(random, 4);
        if (act === 0) world.write([put('a', 'x'.repeat(below(random, 2_000)))]);
        else if (act === 1) world.credit(sub, below(random, 4_000));
        else if (act === 2) world.take(sub, below(random, 8_000));
        else world.shipper.look();
        // The bound, one part (all of the window at most), and a few progress and behind parts.
        expect(world.shipper.heldBytes).toBeLessThan(20 * KIB + 40 * KIB + 8_000);
      }
      for (let round = 0; round < 400; round++) {
        for (const sub of readers) {
          world.credit(sub, 10_000);
          world.take(sub, MIB);
        }
      }
      for (const sub of readers) {
        const seen = world.revisions(sub);
        expect(seen).toEqual(upTo(1, seen.length));
        if (world.end(sub) === undefined) expect(seen.length).toBe(world.applied);
        else expect(world.end(sub)?.data['oldestRevision']).toBeGreaterThan(seen.length);
      }
    });
  });
});

describe('bookmarks', () => {
  test('come at every look, though nothing that is watched changes; never before what they cover', () => {
    const world = new World();
    world.subscribe(1, { from: Buffer.from('x'), bookmarks: true });
    world.subscribe(2, { from: Buffer.from('x') });
    for (let i = 0; i < 10; i++) world.write([put('a')]);
    world.shipper.look();
    world.shipper.look();
    world.write([put('y')]);
    world.shipper.look();
    expect(world.parts(1).map(({ part, revisions }) => [part, ...revisions])).toEqual([
      ['progress', 0],
      ['progress', 10],
      ['progress', 10],
      ['records', 11],
      ['progress', 11],
    ]);
    expect(world.parts(2).filter(({ part }) => part === 'progress')).toHaveLength(1);
  });

  test('say nothing of what is held back', () => {
    const world = new World({ windowBytes: MIB });
    world.subscribe(1, { creditBytes: 3_000, bookmarks: true });
    for (let i = 0; i < 10; i++) world.write([put('a', 'x'.repeat(1_000))]);
    for (let look = 0; look < 4; look++) world.shipper.look();
    const sent = world.revisions(1).length;
    expect(sent).toBeLessThan(10);
    for (const { part, revisions } of world.parts(1)) {
      if (part === 'progress') expect(revisions[0]).toBeLessThanOrEqual(sent);
    }
  });
});
