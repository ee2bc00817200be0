import { expect, test } from 'vitest';
import { latin } from './sources.ts';
import { quiet, Tree } from './forest.ts';

const code = (name: string): unknown => expect.objectContaining({ code: name });

test('a read finds the newest version wherever it is: memtables, level 0, levels', async () => {
  const tree = new Tree();
  await tree.table({ a: '1', b: '1', c: '1' });
  await tree.keeper.compactAll();
  await tree.table({ b: '2' });
  tree.isAuto = false;
  tree.write({ c: '3' });
  tree.writer.freeze();
  tree.write({ d: '4' });
  expect(['a', 'b', 'c', 'd', 'e'].map((key) => tree.get(key))).toEqual(['1', '2', '3', '4', undefined]);
  tree.write({ a: undefined, c: undefined });
  expect(['a', 'b', 'c', 'd'].map((key) => tree.get(key))).toEqual([undefined, '2', undefined, '4']);
  const found = tree.reader.getAt(latin('c'), 3);
  expect(found).toMatchObject({ value: latin('3'), revision: 3, expiryMs: 0 });
  await tree.close();
});

test('the past is read as far as the floor allows, or a snapshot keeps it; else it is COMPACTED, never wrong', async () => {
  const tree = new Tree();
  await tree.table({ k: '1' });
  const snapshot = tree.reader.snapshot();
  const second = tree.reader.snapshotAt(1);
  await tree.table({ k: '2' });
  await tree.table({ k: '3' });
  await tree.keeper.compactAll();
  expect(tree.reader.floor).toBe(3);
  expect(tree.reader.getAt(latin('k'), 1)?.value).toEqual(latin('1'));
  expect(() => tree.reader.getAt(latin('k'), 2)).toThrow(code('COMPACTED'));
  expect(() => tree.reader.cursorAt({}, 2)).toThrow(code('COMPACTED'));
  expect(() => tree.reader.snapshotAt(2)).toThrow(code('COMPACTED'));
  expect(() => tree.reader.getAt(latin('k'), 4)).toThrow(code('BAD_REQUEST'));
  expect(() => tree.reader.cursorAt({}, 4)).toThrow(code('BAD_REQUEST'));
  snapshot.release();
  snapshot.release();
  expect(tree.reader.getAt(latin('k'), 1)?.value, 'the other one keeps it').toEqual(latin('1'));
  second.release();
  expect(() => tree.reader.getAt(latin('k'), 1)).toThrow(code('COMPACTED'));
  await tree.close();
});

test('a cursor keeps its revision, and nothing once it is closed', async () => {
  const tree = new Tree();
  await tree.table({ k: '1', l: '1' });
  const cursor = tree.reader.cursor();
  expect(cursor.next()).toMatchObject({ key: latin('k'), value: latin('1'), revision: 1 });
  tree.reader.suspendCursors();
  await tree.table({ k: '2', l: '2', m: '2' });
  await tree.keeper.compactAll();
  expect(cursor.next()).toMatchObject({ key: latin('l'), value: latin('1') });
  expect(cursor.next()).toBeUndefined();
  expect(cursor.next(), 'an end is an end').toBeUndefined();
  expect(tree.reader.inspect()).toMatchObject({ snapshots: 1 });
  cursor.close();
  cursor.close();
  expect(() => cursor.next()).toThrow(code('CLOSED'));
  expect(() => cursor.seek(latin('k'))).toThrow(code('CLOSED'));
  expect(tree.reader.inspect()).toMatchObject({ snapshots: 0 });
  await tree.close();
});

test('what is written and not published is seen by the writer alone', async () => {
  const tree = new Tree();
  await tree.table({ a: '1', b: '1' });
  tree.writer.put(latin('a'), latin('2'), 2, 0);
  tree.writer.remove(latin('b'), 2);
  tree.writer.put(latin('c'), latin('2'), 2, 0);
  expect(['a', 'b', 'c'].map((key) => tree.get(key))).toEqual(['1', '1', undefined]);
  expect(tree.reader.newest(latin('a'))?.value).toEqual(latin('2'));
  expect(['a', 'b', 'c', 'd'].map((key) => tree.reader.newestRevision(latin(key)))).toEqual([2, 0, 2, 0]);
  const newest = tree.reader.cursorNewest({});
  expect([newest.next()?.key, newest.next()?.key, newest.next()]).toEqual([latin('a'), latin('c'), undefined]);
  newest.close();
  const cursor = tree.reader.cursor();
  expect([cursor.next()?.key, cursor.next()?.key, cursor.next()]).toEqual([latin('a'), latin('b'), undefined]);
  cursor.close();
  tree.writer.publish(2);
  expect(['a', 'b', 'c'].map((key) => tree.get(key))).toEqual(['2', undefined, '2']);
  await tree.close();
});

test('a value expires in the time of who reads: now, or when the snapshot was taken', async () => {
  const tree = new Tree();
  tree.nowMs = 50;
  tree.write({ k: 'v' }, 100);
  for (const settle of [async () => {}, () => tree.flush()]) {
    tree.nowMs = 99;
    await settle();
    expect(tree.get('k')).toBe('v');
    const snapshot = tree.reader.snapshot();
    const cursor = tree.reader.cursor();
    tree.nowMs = 100;
    expect(tree.get('k')).toBeUndefined();
    expect(tree.reader.getAt(latin('k'), snapshot.revision, snapshot.nowMs)?.expiryMs).toBe(100);
    expect(cursor.next()?.expiryMs).toBe(100);
    const late = tree.reader.cursor({ reverse: true });
    expect(late.next()).toBeUndefined();
    late.close();
    cursor.close();
    snapshot.release();
  }
  await tree.close();
});

test('an arena is used again when its memtable is in tables and nobody can read it', async () => {
  const tree = new Tree({ memtables: 2 });
  tree.isAuto = false;
  tree.write({ a: '1' });
  expect(tree.writer.canFreeze).toBe(true);
  tree.writer.freeze();
  tree.keeper.poke();
  tree.write({ b: '2' });
  expect(tree.writer.canFreeze, 'the first is not in tables').toBe(false);
  expect(() => tree.writer.freeze()).toThrow(/there is an arena/);
  const cursor = tree.reader.cursor();
  cursor.next();
  await quiet();
  tree.waiting.shift()?.run();
  await tree.keeper.flushed();
  expect(tree.writer.canFreeze, 'a cursor reads it').toBe(false);
  cursor.suspend();
  expect(tree.writer.canFreeze).toBe(true);
  tree.writer.freeze();
  expect(tree.writer.usedBytes).toBe(0);
  tree.write({ c: '3' });
  expect(cursor.next()?.key, 'it goes on behind its last key').toEqual(latin('b'));
  expect(cursor.next()).toBeUndefined();
  expect(['a', 'b', 'c'].map((key) => tree.get(key))).toEqual(['1', '2', '3']);
  cursor.close();
  await tree.close();
});

test('revisions never go back, and what is published is written', () => {
  const tree = new Tree();
  tree.writer.put(latin('a'), latin('1'), 5, 0);
  expect(() => tree.writer.remove(latin('a'), 4)).toThrow(/never go back/);
  expect(() => tree.writer.publish(4)).toThrow(/is written/);
  tree.writer.publish(5);
  expect(tree.reader.visible).toBe(5);
});

test('a reader gives its slot back: any number may come after each other', async () => {
  const tree = new Tree();
  tree.write({ a: '1' });
  for (let i = 0; i < 200; i++) {
    const reader = tree.newReader();
    expect(tree.get('a', reader)).toBe('1');
    reader.close();
    reader.close();
  }
  const readers = Array.from({ length: 63 }, () => tree.newReader());
  expect(() => tree.newReader()).toThrow(code('OVERLOADED'));
  for (const reader of readers) reader.close();
  await tree.close();
});

test('bounds are what they say: from is in, to is not, in both directions and over seeks', async () => {
  const tree = new Tree();
  await tree.table({ '': '0', a: '1', 'a\0': '2', b: '3' });
  tree.write({ ab: '4', c: '5' });
  const keys = (from: string | undefined, to: string | undefined, reverse: boolean, seekTo?: string): string => {
    const cursor = tree.reader.cursor({
      from: from === undefined ? undefined : latin(from),
      to: to === undefined ? undefined : latin(to),
      reverse,
    });
    if (seekTo !== undefined) cursor.seek(latin(seekTo));
    const all: string[] = [];
    for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
      all.push(Buffer.from(entry.key).toString('latin1').replace('\0', '0'));
    }
    cursor.close();
    return all.join(' ');
  };
  expect(keys(undefined, undefined, false)).toBe(' a a0 ab b c');
  expect(keys('a', 'b', false)).toBe('a a0 ab');
  expect(keys('a', 'b', true)).toBe('ab a0 a');
  expect(keys('a\0', undefined, true)).toBe('c b ab a0');
  expect(keys(undefined, '', false)).toBe('');
  expect(keys('b', 'a', false)).toBe('');
  expect(keys('a', 'b', false, '')).toBe('a a0 ab');
  expect(keys('a', 'b', false, 'aa')).toBe('ab');
  expect(keys('a', 'b', false, 'b')).toBe('');
  expect(keys('a', 'b', true, 'z')).toBe('ab a0 a');
  expect(keys('a', 'b', true, 'a0')).toBe('a0 a');
  expect(keys('a', 'b', true, '')).toBe('');
  await tree.close();
});
