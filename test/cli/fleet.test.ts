import { expect, test } from 'vitest';
import type { FleetView, LdbRow, Visible } from '../../src/client/fleet-types.ts';
import type { Client } from '../../src/client/types.ts';
import { FakeStore, kvctl } from './fixtures/fake-kvctl.ts';

const row = (id: string, revision: number, more: Partial<LdbRow> = {}): LdbRow => ({
  ...{ id, instance: 'i', host: id, labels: { ring: '1' }, pid: 1, version: '0', via: 'n1', filter: null },
  ...{ revision, timeMs: revision * 100, state: 'following', silentMs: 0, streamMs: 1, ...more },
});

function fleetOf(view: Partial<FleetView>): FakeStore {
  const store = new FakeStore();
  const list = (): Promise<FleetView> =>
    Promise.resolve({ ldbs: [], left: 0, revision: 10, timeMs: 1_000, unheard: [], ...view });
  store.fleet = { list, visible: () => Promise.reject(new Error('nobody asked')) };
  return store;
}

test('ldb list names replicas, those that are furthest behind first', async () => {
  const ldbs = [
    row('a', 10),
    row('b', 7, { filter: 'family billing' }),
    row('c', 9, { state: 'gone', silentMs: 4_000 }),
  ];
  const { code, out } = await kvctl(['ldb', 'list'], { store: fleetOf({ ldbs }) });
  expect(code).toBe(0);
  const lines = out.split('\n').filter((line) => /│ [abc] /.test(line));
  expect(
    lines.map((line) =>
      line
        .split('│')
        .map((cell) => cell.trim())
        .slice(1, 9),
    ),
  ).toEqual([
    ['b', 'b', 'n1', '7', '3', '300 ms', 'following', 'family billing'],
    ['c', 'c', 'n1', '9', '1', '100 ms', 'gone for 4.0 s', 'everything'],
    ['a', 'a', 'n1', '10', '0', '0 ms', 'following', 'everything'],
  ]);
  const json = await kvctl(['ldb', 'list', '--json'], { store: fleetOf({ ldbs }) });
  expect(JSON.parse(json.out.split('\n')[0] ?? '')).toMatchObject({ id: 'b', lagRevisions: 3, lagMs: 300 });
});

test('ldb list says who is missing, and exits 1 when a node was not heard', async () => {
  const { code, err } = await kvctl(['ldb', 'list'], { store: fleetOf({ left: 3, unheard: ['n2'] }) });
  expect([code, err]).toEqual([1, expect.stringMatching(/3 more[^]*not heard[^]*n2/) as string]);
});

test('put --visible waits for a share; a share that is none, or --within alone, is a wrong command line', async () => {
  const store = new FakeStore();
  const wanted: (Visible | undefined)[] = [];
  const client = store.client();
  const put: Client['put'] = async (key, value, options = {}) => {
    wanted.push(options.visible);
    const { revision } = await client.put(key, value, options);
    return { revision, visibility: { replicas: 3, showing: 3, missing: [], unheard: [] } };
  };
  const connect = (): Promise<Client> => Promise.resolve(Object.create(client, { put: { value: put } }) as Client);
  const ran = await kvctl(['put', 'k', 'v', '--visible', '0.99', '--within', '500ms'], { connect });
  expect(ran).toMatchObject({ code: 0, out: 'revision 1, shown by 3 of 3\n' });
  expect(wanted).toEqual([{ replicas: 0.99, withinMs: 500 }]);
  for (const flags of [
    ['--visible', '2'],
    ['--visible', 'all'],
    ['--within', '1s'],
  ]) {
    expect((await kvctl(['put', 'k', 'v', ...flags], { connect })).code).toBe(2);
  }
});
