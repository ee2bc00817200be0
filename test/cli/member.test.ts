import { describe, expect, test } from 'vitest';
import type { MembersView } from '../../src/client/types.ts';
import { StoreError } from '../../src/core/base/errors.ts';
import { FakeStore, kvctl } from './fixtures/fake-kvctl.ts';

const member = (i: number): MembersView['members'][number] => ({
  id: `n${i}`,
  mesh: `10.0.0.${i}:7421`,
  client: `ws://10.0.0.${i}:7411`,
  http: `10.0.0.${i}:7431`,
});
const view: MembersView = {
  index: 12,
  voters: ['n1', 'n2', 'n3'],
  outgoing: [],
  learners: ['n4'],
  members: [member(1), member(2), member(3), member(4)],
  leader: 'n2',
  term: 3,
  progress: {
    n1: { match: 120, isActive: true, state: 'replicate' },
    n2: { match: 120, isActive: true, state: 'leader' },
    n3: { match: 90, isActive: false, state: 'probe' },
    n4: { match: 20, isActive: true, state: 'snapshot' },
  },
};

function given(change: Partial<MembersView> = {}): FakeStore {
  const store = new FakeStore();
  store.memberView = { ...view, ...change };
  return store;
}

const cells = (line: string | undefined): string[] =>
  (line ?? '')
    .split('│')
    .map((cell) => cell.trim())
    .slice(1, -1);

describe('list', () => {
  test('is a table with a row for each member', async () => {
    const { code, out } = await kvctl(['member', 'list'], { store: given() });
    expect(code).toBe(0);
    const rows = out.split('\n').filter((line) => line.includes('10.0.0.'));
    expect(rows.map(cells)).toEqual([
      ['n1', 'voter', 'replicate', '0', '120', '10.0.0.1:7421', 'ws://10.0.0.1:7411', '10.0.0.1:7431'],
      ['n2', 'leader', 'leader', '0', '120', '10.0.0.2:7421', 'ws://10.0.0.2:7411', '10.0.0.2:7431'],
      ['n3', 'voter', 'silent', '30', '90', '10.0.0.3:7421', 'ws://10.0.0.3:7411', '10.0.0.3:7431'],
      ['n4', 'learner', 'snapshot', '100', '20', '10.0.0.4:7421', 'ws://10.0.0.4:7411', '10.0.0.4:7431'],
    ]);
  });

  test('shows who comes and who leaves while a change is under way, and whom nobody has heard of', async () => {
    const store = given({ voters: ['n2', 'n3', 'n4'], outgoing: ['n1', 'n2', 'n3'], learners: [], progress: {} });
    const { out } = await kvctl(['member', 'list'], { store });
    const rows = out.split('\n').filter((line) => line.includes('10.0.0.'));
    expect(rows.map((row) => cells(row).slice(1, 5))).toEqual([
      ['voter, leaving', '-', '-', '-'],
      ['leader', '-', '-', '-'],
      ['voter', '-', '-', '-'],
      ['voter, coming', '-', '-', '-'],
    ]);
  });

  test('--json is the view as it is', async () => {
    expect(JSON.parse((await kvctl(['member', 'list', '--json'], { store: given() })).out)).toEqual(view);
  });
});

describe('changes', () => {
  test.each<[string[], unknown[]]>([
    [
      ['promote', 'n4'],
      ['promote', 'n4'],
    ],
    [
      ['remove', 'n1'],
      ['remove', 'n1'],
    ],
    [
      ['replace', 'n1', 'n4'],
      ['replace', 'n1', 'n4'],
    ],
    [
      ['transfer', 'n3'],
      ['transferLeader', 'n3'],
    ],
    [['transfer'], ['transferLeader', undefined]],
  ])('member %j', async (words, called) => {
    const store = given();
    expect(await kvctl(['member', ...words], { store })).toEqual({
      code: 0,
      out: 'leader n2; voters n1,n2,n3; learners n4 (entry 12)\n',
      err: '',
    });
    expect(store.memberCalls).toEqual([called]);
    expect(store.closed).toBe(1);
  });

  test('add takes addresses as they stand in a config, too, and says what comes next', async () => {
    const store = given();
    const words = ['member', 'add', 'n4', '--mesh', 'ws://10.0.0.4:7421', '--client', 'ws://10.0.0.4:7411'];
    const ran = await kvctl([...words, '--http', 'http://10.0.0.4:7431/'], { store });
    expect(store.memberCalls).toEqual([['add', member(4)]]);
    expect(ran.code).toBe(0);
    expect(ran.err).toContain('n4 has no vote yet: kvctl member promote n4');
    await kvctl(words, { store });
    expect(store.memberCalls[1]).toEqual(['add', { ...member(4), http: '' }]);
    expect((await kvctl([...words, '--json'], { store })).err).toBe('');
  });

  test('a joint change that is seen on its way shows both sets of voters', async () => {
    const store = given({ voters: ['n2', 'n3'], outgoing: ['n1', 'n2', 'n3'], learners: [], leader: '' });
    expect((await kvctl(['member', 'remove', 'n1'], { store })).out).toBe(
      'leader none; voters n2,n3; before n1,n2,n3 (entry 12)\n',
    );
  });
});

describe('exit codes and messages', () => {
  test('a refusal is 1, with the reason and where to look', async () => {
    const store = given();
    store.memberError = new StoreError(
      'MEMBER_REFUSED',
      'n4 is 12000 entries behind; promote it when it has caught up',
    );
    expect(await kvctl(['member', 'promote', 'n4'], { store })).toEqual({
      code: 1,
      out: '',
      err: 'kvctl: n4 is 12000 entries behind; promote it when it has caught up (MEMBER_REFUSED; kvctl member list shows where the members stand)\n',
    });
  });

  test.each<[string[], string]>([
    [['add', 'n4', '--mesh', 'h', '--client', 'ws://h:1'], 'the mesh address is host:port; this is "h"'],
    [['add', 'n4', '--mesh', 'h:1', '--client', 'h:1'], 'the client address is a ws:// URL'],
    [['add', 'n4', '--client', 'ws://h:1'], "required option '--mesh <host:port>'"],
    [['promote', 'N4'], '1 to 32 characters'],
    [['replace', 'n1'], "missing required argument 'new'"],
    [['demote', 'n1'], "unknown command 'demote'"],
    [['list', 'n1'], 'too many arguments'],
  ])('%j is a usage error: 2, and nobody is asked', async (words, expected) => {
    const store = given();
    const { code, err, out } = await kvctl(['member', ...words], { store });
    expect([code, out, store.memberCalls]).toEqual([2, '', []]);
    expect(err).toContain(expected);
  });

  test('help says how a node is replaced', async () => {
    const { code, out } = await kvctl(['member', '--help']);
    expect(code).toBe(0);
    expect(out).toContain('kvctl member replace n1 n4');
  });
});
