import { expect, test } from 'vitest';
import { answerFleet, FleetTable, GONE_MS } from '../../src/actors/fleet-table.ts';
import type { LdbIdentity, LdbRow } from '../../src/core/wire/fleet.ts';

const ldb = (id: string, instance = 'i1'): LdbIdentity => ({
  ...{ id, instance, host: 'h', labels: {}, pid: 1, version: '0' },
});
const stream = (id: string, instance = 'i1', streamMs = 1) => ({ identity: ldb(id, instance), streamMs });
const at = (revision: number) => ({ revision, timeMs: revision, isInSnapshot: false });

function tableAt(): { table: FleetTable; clock: { nowMs: number } } {
  const clock = { nowMs: 1_000 };
  return { clock, table: new FleetTable({ via: 'n1', nowMs: () => clock.nowMs }) };
}

const shown = (rows: readonly LdbRow[]): string[] =>
  rows.map(({ id, revision, state }) => `${id} ${revision} ${state}`);

test('an LDB shows nothing before it has said so, and what it said never goes back', () => {
  const { table } = tableAt();
  table.join(1, stream('a'), undefined);
  expect(shown(table.rows())).toEqual(['a 0 following']);
  table.report(1, at(7));
  table.report(1, { ...at(5), isInSnapshot: true });
  expect(shown(table.rows())).toEqual(['a 7 snapshot']);
});

test('who leaves is gone for a while, and then nobody; who comes back is not gone', () => {
  const { table, clock } = tableAt();
  table.join(1, stream('a'), undefined);
  table.join(2, stream('b'), undefined);
  table.report(1, at(7));
  table.leave(1);
  table.leave(2);
  clock.nowMs += GONE_MS;
  table.join(3, stream('b', 'i2'), undefined);
  expect(shown(table.rows())).toEqual(['b 0 following', 'a 7 gone']);
  clock.nowMs += 1;
  expect(shown(table.rows())).toEqual(['b 0 following']);
});

test('a stream that ends after its successor has begun leaves nobody gone', () => {
  const { table } = tableAt();
  table.join(1, stream('a', 'i1', 1), undefined);
  table.join(2, stream('a', 'i1', 2), undefined);
  table.report(2, at(9));
  expect(shown(table.rows())).toEqual(['a 9 following']);
  table.leave(1);
  expect(shown(table.rows())).toEqual(['a 9 following']);
});

test("two processes under one name are two LDBs: the one that is behind is not hidden by the other's success", () => {
  const { table } = tableAt();
  table.join(1, stream('a', 'i1'), undefined);
  table.join(2, stream('a', 'i2'), undefined);
  table.report(2, at(9));
  expect(answerFleet(table, { revisions: [9], isList: false, sought: [] })).toMatchObject({
    connected: 2,
    behind: [1],
  });
});

test("a relay's LDBs are counted; those that it had no room to name show nothing", () => {
  const { table } = tableAt();
  table.join(1, stream('relay'), undefined);
  const below: LdbRow[] = ['x', 'y'].map((id, i) => ({
    ...ldb(id),
    ...{ via: 'relay', filter: null, revision: 8 + i, timeMs: 0, state: 'following', silentMs: 0, streamMs: 1 },
  }));
  table.report(1, { ...at(9), below, belowLeft: 3 });
  const answer = answerFleet(table, { revisions: [9, 5], isList: false, sought: ['y', 'z'] });
  expect(answer).toMatchObject({ connected: 6, behind: [4, 3], found: [{ id: 'y' }] });
  expect(answer.rows.map(({ id }) => id)).toEqual(['x']);
});

test('each is asked for a revision once, unless it shows it already', () => {
  const { table } = tableAt();
  table.join(1, stream('a'), undefined);
  table.join(2, stream('b'), undefined);
  table.report(2, at(9));
  expect([...table.unasked(9)]).toEqual([1]);
  table.wasAsked(1, 9);
  expect([...table.unasked(9)]).toEqual([]);
  expect([...table.unasked(10)]).toEqual([1, 2]);
});

test('an answer has a bound, however long names are; those left out are still counted', () => {
  const { table } = tableAt();
  for (let i = 0; i < 2_000; i++) table.join(i, stream(`${i}`.padEnd(250, 'ü')), undefined);
  const answer = answerFleet(table, { revisions: [1], isList: true, sought: [] });
  expect(answer).toMatchObject({ connected: 2_000, behind: [2_000] });
  expect(Buffer.byteLength(JSON.stringify(answer))).toBeLessThan(300 * 1024);
  expect(answer.rows.length).toBeGreaterThan(100);
});
