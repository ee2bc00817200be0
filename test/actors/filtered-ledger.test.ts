import { describe, expect, test } from 'vitest';
import type { Change } from '../../src/core/model/ledger.ts';
import { parseFilter } from '../../src/core/model/ledger-filter.ts';
import { encodeSchema, familyKey, FAMILY_VALUE, rowsPrefix, tableKey } from '../../src/core/model/control/schema.ts';
import { handed, put, upTo, World } from './shipper-world.ts';

const change = (key: Uint8Array, value: Uint8Array): Change => ({ kind: 'put', key, value, expiryMs: 0 });
const remove = (key: Uint8Array): Change => ({ kind: 'delete', key, value: new Uint8Array(0), expiryMs: 0 });
const family = (name: string): Change => change(familyKey(name), FAMILY_VALUE);
const table = (id: number, of: string, name: string, epoch = 1): Change => {
  const fields = [{ name: 'id', type: 'string' as const, added: 0 }];
  const schema = { family: of, table: name, id, epoch, version: 1, created: 1, fields, key: [0] };
  return change(tableKey(of, name), encodeSchema(schema));
};
const rowKey = (id: number, key: number, epoch = 1): Uint8Array => Uint8Array.of(...rowsPrefix({ id, epoch }), 2, key);
const row = (id: number, key: number, epoch = 1): Change => change(rowKey(id, key, epoch), new Uint8Array(2));

const text = (key: Uint8Array): string => Buffer.from(key).toString();
/** As the parts of a world give keys. */
const keyOf = ({ key }: Change): string => text(key);

const keysSent = (world: World, sub: number): string[] =>
  world.parts(sub).flatMap((part) => (part.part === 'records' || part.part === 'entries' ? part.keys : []));

const billing = parseFilter({ families: ['billing'], prefixes: ['flags/'] });
const ledger = { mode: 'ledger', filter: billing } as const;

/** Two families with a table each, some rows, some keys. */
function filled(world = new World()): World {
  world.write([family('billing'), table(1, 'billing', 'plans')]);
  world.write([family('secret'), table(2, 'secret', 'keys')]);
  world.write([row(1, 1), row(2, 1), put('flags/a'), put('other')]);
  world.write([put('other')]);
  return world;
}

const WANTED = [family('billing'), table(1, 'billing', 'plans'), row(1, 1), put('flags/a')].map(keyOf);

test('every revision comes, and of each only what is wanted; the rest never leaves', () => {
  const world = filled();
  world.subscribe(1, ledger);
  expect(world.revisions(1)).toEqual(upTo(1, 4));
  expect(keysSent(world, 1).sort()).toEqual(WANTED.toSorted());
  const sent = world.posted.flatMap(handed).map(({ frame }) => frame);
  expect(Buffer.concat(sent).includes('secret')).toBe(false);
  expect(Buffer.concat(sent).includes('other')).toBe(false);
});

test('hello says what is given', () => {
  const world = new World();
  world.subscribe(1, ledger);
  const [hello] = world.posted.flatMap(handed);
  expect(Buffer.from(hello?.frame ?? []).includes('billing')).toBe(true);
});

test('one that goes on from the middle knows the tables of before', () => {
  const world = filled();
  world.write([row(1, 2), row(2, 2)]);
  world.subscribe(1, { ...ledger, fromRevision: 5 });
  expect(keysSent(world, 1)).toEqual([row(1, 2)].map(keyOf));
  world.write([table(3, 'billing', 'prices'), row(3, 1)]);
  expect(keysSent(world, 1)).toEqual([row(1, 2), table(3, 'billing', 'prices'), row(3, 1)].map(keyOf));
});

test('a snapshot holds what is wanted of one state, and records follow it', () => {
  const world = filled(new World({ windowBytes: 120 }));
  world.write([remove(rowKey(1, 1)), row(1, 9)]);
  world.write([put('other')]);
  world.subscribe(1, ledger);
  expect(world.parts(1).map(({ part }) => part)).toEqual(['hello', 'begin', 'entries', 'end']);
  const expected = [family('billing'), table(1, 'billing', 'plans'), row(1, 9), put('flags/a')];
  expect(keysSent(world, 1).sort()).toEqual(expected.map(keyOf).toSorted());
  world.write([row(1, 3), row(2, 3)]);
  expect(world.revisions(1)).toEqual([7]);
  expect(keysSent(world, 1)).toContain(keyOf(row(1, 3)));
});

test('a snapshot that was asked for comes first, though the records are there', () => {
  const world = filled();
  world.subscribe(1, { ...ledger, fromRevision: 3, wantsSnapshot: true });
  expect(world.parts(1).map(({ part }) => part)).toEqual(['hello', 'begin', 'entries', 'end']);
  expect(keysSent(world, 1).sort()).toEqual(WANTED.toSorted());
  world.subscribe(2, { mode: 'ledger', wantsSnapshot: true });
  expect(world.parts(2).map(({ part }) => part)).toEqual(['hello', 'begin', 'entries', 'end']);
});

describe('a table that was dropped before the node started', () => {
  /** A node that knows nothing of table 1 but what its ledger says from revision `fromRevision` on. */
  function restarted(): World {
    const world = filled();
    world.write([remove(tableKey('billing', 'plans'))]);
    world.write([remove(rowKey(1, 1))]);
    return world;
  }

  test('one that may have rows of it gets a snapshot, once', () => {
    const world = restarted();
    world.subscribe(1, { ...ledger, fromRevision: 6 });
    expect(world.parts(1).map(({ part }) => part)).toEqual(['hello', 'begin', 'entries', 'end']);
    world.write([remove(rowKey(1, 7))]);
    expect(world.parts(1).at(-1)).toMatchObject({ part: 'records', revisions: [7], keys: [] });
  });

  test('one that goes on with a snapshot, and may have rows of it, gets a whole one', () => {
    const world = restarted();
    world.subscribe(1, { ...ledger, goOn: { revision: 5, after: rowKey(1, 1) } });
    expect(world.parts(1).map(({ part }) => part)).toEqual(['hello', 'begin', 'begin', 'entries', 'end']);
    world.subscribe(2, { ...ledger, goOn: { revision: 6, after: rowKey(1, 1) } });
    expect(world.parts(2).map(({ part }) => part)).toEqual(['hello', 'begin', 'end']);
    world.write([remove(rowKey(1, 7))]);
    expect(
      world
        .parts(2)
        .slice(3)
        .map(({ part }) => part),
    ).toEqual(['begin', 'entries', 'end']);
  });

  test('one that begins at the beginning knows all there ever was', () => {
    const world = restarted();
    world.subscribe(1, ledger);
    expect(world.revisions(1)).toEqual(upTo(1, 6));
    expect(keysSent(world, 1).filter((key) => key === text(rowKey(1, 1)))).toHaveLength(2);
  });
});

test('a cursor of a snapshot that is left half way is closed', () => {
  const world = filled(new World({ windowBytes: 120 }));
  world.write([put('flags/b', 'x'.repeat(200_000)), put('flags/c', 'x'.repeat(200_000))]);
  world.write([put('other', 'x'.repeat(200))]);
  world.subscribe(1, { ...ledger, creditBytes: 1_000 });
  expect(world.parts(1).at(-1)?.part).toBe('entries');
  world.shipper.receive({ kind: 'cancel', sub: 1 });
  expect(world.shipper.subscriptions).toBe(0);
});
