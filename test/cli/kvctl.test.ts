import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { toIndex } from '../../src/core/base/position.ts';
import { StoreError } from '../../src/core/base/errors.ts';
import type { KvctlDeps, LdbView } from '../../src/cli/kvctl/deps.ts';
import type { StagedView } from '../../src/engine/ldb/index.ts';
import type { RunningReflector } from '../../src/reflector/index.ts';
import { ChangeFeed } from '../../src/reflector/change-feed.ts';
import { StatusKeeper } from '../../src/reflector/status.ts';
import { FakeStore, kvctl } from './fixtures/fake-kvctl.ts';

const filled = (): FakeStore => {
  const store = new FakeStore();
  store.set('flags/a', 'on');
  store.set('flags/b', 'two\nlines');
  store.set('raw', Uint8Array.of(0xff, 0x00, 0x41));
  return store;
};

describe('put, get, del, scan', () => {
  test('put prints the revision, and the client is closed', async () => {
    const store = new FakeStore();
    expect(await kvctl(['put', 'k', 'v', '--ttl', '1.5s'], { store })).toEqual({
      code: 0,
      out: 'revision 1\n',
      err: '',
    });
    expect(store.rows.get('k')?.expiryMs).toBe(1500);
    expect(store.closed).toBe(1);
  });

  test("put - reads stdin; -- lets a value begin with '-'", async () => {
    const store = new FakeStore();
    await kvctl(['put', 'k', '-'], { store, stdin: 'from stdin' });
    await kvctl(['put', '--', 'n', '-5'], { store });
    expect(store.rows.get('k')?.text()).toBe('from stdin');
    expect(store.rows.get('n')?.text()).toBe('-5');
  });

  test('get prints the value; --raw without the line end; --json with its revision', async () => {
    const store = filled();
    expect((await kvctl(['get', 'flags/a'], { store })).out).toBe('on\n');
    expect((await kvctl(['get', 'flags/a', '--raw'], { store })).out).toBe('on');
    expect((await kvctl(['get', 'flags/a', '--json'], { store })).out).toBe(
      '{"key":"flags/a","value":"on","revision":1}\n',
    );
    expect(JSON.parse((await kvctl(['--json', 'get', 'raw'], { store })).out)).toEqual({
      key: 'raw',
      valueBase64: '/wBB',
      revision: 3,
    });
  });

  test('what is not there is exit code 1, and nothing on stdout', async () => {
    expect(await kvctl(['get', 'nope'])).toEqual({ code: 1, out: '', err: 'kvctl: no such key: nope\n' });
    expect(await kvctl(['del', 'nope'])).toEqual({ code: 1, out: '', err: 'kvctl: no such key: nope\n' });
    expect(JSON.parse((await kvctl(['del', 'nope', '--json'])).out)).toEqual({
      key: 'nope',
      found: false,
      revision: 1,
    });
  });

  test('scan is a line a row, however wild the bytes', async () => {
    const store = filled();
    expect((await kvctl(['scan'], { store })).out).toBe('flags/a\ton\nflags/b\ttwo\\nlines\nraw\t\\xff\\x00A\n');
    expect((await kvctl(['scan', 'flags/', '--keys-only', '--limit', '1'], { store })).out).toBe('flags/a\n');
    expect((await kvctl(['scan', 'flags/', '--json', '--keys-only'], { store })).out.split('\n')[1]).toBe(
      '{"key":"flags/b","revision":2}',
    );
  });

  test('a reader that leaves ends a scan quietly', async () => {
    const stdout = new Writable({ write: (_, __, done) => done(Object.assign(new Error('EPIPE'), { code: 'EPIPE' })) });
    expect(await kvctl(['scan'], { store: filled(), stdout })).toEqual({ code: 0, out: '', err: '' });
  });
});

describe('exit codes and messages', () => {
  test.each<[string[], string]>([
    [['get'], "missing required argument 'key'"],
    [['frobnicate'], "unknown command 'frobnicate'"],
    [['put', 'k', 'v', '--ttl', '60'], 'a duration has a unit: 500ms, 60s, 5m, 2h or 7d'],
    [['scan', '--limit', '0'], 'a whole number, 1 or more'],
    [['scan', 'p', '--from', 'x'], 'a prefix and --from/--to exclude each other'],
    [['watch', 'p', '--key', 'x'], 'a prefix and --key exclude each other'],
    [['ldb', 'get', 'k'], "required option '--ldb <dir>'"],
    [['get', 'k', '--endpoints', 'http://x:1'], "'http://x:1' is not an endpoint"],
    [['import', '/not/there'], 'cannot read /not/there: ENOENT'],
  ])('%s is a usage error: 2', async (words, expected) => {
    const { code, out, err } = await kvctl(words);
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err).toContain(expected);
  });

  test('help is 0 on stdout; no command at all is 2', async () => {
    const help = await kvctl(['txn', '--help']);
    expect(help.code).toBe(0);
    expect(help.out).toContain('if revision flags/new-ui 12');
    expect(help.out).toContain('--endpoints');
    expect((await kvctl([])).code).toBe(2);
  });

  test('a refusal is 1, in one line with its code and what to do', async () => {
    const store = new FakeStore();
    store.beforePut = () => {
      throw new StoreError('VALUE_TOO_LARGE', 'a value may have 1048576 bytes; this one has 2000000');
    };
    const ran = await kvctl(['put', 'k', 'v'], { store });
    expect(ran.code).toBe(1);
    expect(ran.err).toBe(
      'kvctl: a value may have 1048576 bytes; this one has 2000000 (VALUE_TOO_LARGE; split the value)\n',
    );
  });

  test('endpoints come from the option, else the environment, else the default', async () => {
    const seen: (readonly string[])[] = [];
    const connect = async (urls: readonly string[]) => {
      seen.push(urls);
      return new FakeStore().client();
    };
    await kvctl(['get', 'k'], { connect });
    await kvctl(['get', 'k'], { connect, env: { CTLMESH_ENDPOINTS: 'h:1, ws://g:2,3' } });
    await kvctl(['get', 'k', '--endpoints', 'ws://x:9'], { connect, env: { CTLMESH_ENDPOINTS: 'h:1' } });
    expect(seen).toEqual([
      ['ws://127.0.0.1:7411', 'ws://127.0.0.1:7412', 'ws://127.0.0.1:7413'],
      ['ws://h:1', 'ws://g:2', 'ws://g:3'],
      ['ws://x:9'],
    ]);
    const bad = await kvctl(['get', 'k'], { env: { CTLMESH_ENDPOINTS: 'ftp://x' } });
    expect(bad).toMatchObject({ code: 2, err: expect.stringContaining('kvctl: CTLMESH_ENDPOINTS: ') as string });
  });
});

describe('watch, txn', () => {
  test('watch prints a line a change', async () => {
    const store = new FakeStore();
    const event = {
      key: Buffer.from('a'),
      revision: toIndex(4),
      timeMs: 5,
      lastOfRevision: true,
      keyText: () => 'a',
      text: () => '',
      json: () => null,
    };
    store.watched.push(
      { ...event, kind: 'put', value: Buffer.from('on') },
      { ...event, kind: 'delete', value: Buffer.from('') },
    );
    expect((await kvctl(['watch', 'a'], { store })).out).toBe('4 put a\ton\n4 delete a\n');
    const [first] = (await kvctl(['watch', '--json'], { store })).out.split('\n');
    expect(JSON.parse(first ?? '')).toEqual({
      kind: 'put',
      key: 'a',
      value: 'on',
      revision: 4,
      timeMs: 5,
      lastOfRevision: true,
    });
  });

  test('txn runs its main branch (0) or its else branch (1)', async () => {
    const store = filled();
    const script = 'if value flags/a on\nput flags/a off\ndel nope\nget flags/b\nelse\nget flags/a\n';
    expect(await kvctl(['txn'], { store, stdin: script })).toEqual({
      code: 0,
      out: 'succeeded (revision 5)\nput flags/a\ndelete nope: no such key\nget flags/b\ttwo\\nlines\n',
      err: '',
    });
    const again = await kvctl(['txn', '--json'], { store, stdin: script });
    expect(again.code).toBe(1);
    expect(JSON.parse(again.out)).toEqual({
      succeeded: false,
      revision: 6,
      results: [{ key: 'flags/a', kind: 'get', entry: { key: 'flags/a', value: 'off', revision: 4 } }],
    });
  });

  test('a bad script is 2 and names its line', async () => {
    const ran = await kvctl(['txn'], { stdin: 'get a\nfrob b\n' });
    expect(ran).toMatchObject({
      code: 2,
      err: "kvctl: transaction, line 2: 'frob' is not known here; known: if, put, del, get, else\n",
    });
  });
});

describe('status', () => {
  const connect = async (urls: readonly string[]) => {
    if (urls[0] === 'ws://down:1') throw new StoreError('UNAVAILABLE', 'no connection');
    return new FakeStore().client();
  };

  test('is a table with a row for each endpoint, up or not', async () => {
    const { code, out } = await kvctl(['status', '--endpoints', 'ws://up:1,ws://down:1'], { connect });
    expect(code).toBe(0);
    expect(out).toMatch(/n1\s+│ leader\s+│\s+3 │.*7 ms.*ws:\/\/up:1/);
    expect(out).toMatch(/unreachable \(UNAVAILABLE\).*ws:\/\/down:1/);
    expect(out).not.toContain('\u001b');
  });

  test('--json is one object; nobody there is exit code 1', async () => {
    const up = await kvctl(['status', '--json', '--endpoints', 'ws://up:1,ws://down:1'], { connect });
    expect(JSON.parse(up.out)).toMatchObject({
      leader: 'n1',
      term: 3,
      nodes: [
        { endpoint: 'ws://up:1', reachable: true, role: 'leader' },
        { endpoint: 'ws://down:1', reachable: false, code: 'UNAVAILABLE' },
      ],
    });
    const down = await kvctl(['status', '--endpoints', 'ws://down:1'], { connect });
    expect(down).toMatchObject({ code: 1, err: 'kvctl: no node answers; is the cluster up? see --endpoints\n' });
  });
});

const running = (over: Partial<RunningReflector> = {}): RunningReflector => ({
  status: { ...new StatusKeeper(1, Date.now).status, upstream: '', connections: 0, followers: 0, path: [] },
  stop: async () => {},
  failed: new Promise(() => {}),
  changes: () => new ChangeFeed().open(),
  listActors: async () => ({ node: 'l', rows: [], leftOff: 0, deadLetters: {} }),
  [Symbol.asyncDispose]: async () => {},
  ...over,
});

describe('ldb', () => {
  const view = (): LdbView => {
    const store = filled();
    return {
      get: (key) => store.rows.get(key),
      range: ({ limit }) => [...store.rows.values()].slice(0, limit),
      revision: 3,
      cluster: 'c',
      timeMs: 1000,
      lagMs: () => 1500,
      count: () => 3,
      close: () => {},
    };
  };
  const openLdb = async (): Promise<LdbView> => view();

  test('get, scan and status read the replica', async () => {
    expect(await kvctl(['ldb', 'get', 'flags/a', '--ldb', 'd'], { openLdb })).toEqual({
      code: 0,
      out: 'on\n',
      err: '',
    });
    expect((await kvctl(['ldb', 'get', 'nope', '--ldb', 'd'], { openLdb })).code).toBe(1);
    expect((await kvctl(['ldb', 'scan', '--limit', '1', '--ldb', 'd'], { openLdb })).out).toBe('flags/a\ton\n');
    expect((await kvctl(['ldb', 'status', '--ldb', 'd'], { openLdb })).out).toBe(
      'cluster   c\nrevision  3\nlag       1.5 s\nrows      3\n',
    );
    const stages = [
      { name: 'flags', shown: 2, halted: 'too many errors' },
      { name: 'plans', shown: null, halted: null },
    ];
    const stagedIn = async (): Promise<StagedView> => ({ ring: 'canary', stages });
    expect((await kvctl(['ldb', 'status', '--ldb', 'd'], { openLdb, stagedIn })).out).toContain(
      'rows      3\nring      canary\nstage     flags: shown as of revision 2 (halted: too many errors)\n' +
        'stage     plans: shown as it is now\n',
    );
    const arriving = { revision: toIndex(9), rows: 40_000, bytes: 8 * 1024 * 1024 };
    const arrivingIn = async (): Promise<typeof arriving> => arriving;
    expect((await kvctl(['ldb', 'status', '--ldb', 'd'], { openLdb, arrivingIn })).out).toContain(
      'rows      3\narriving  40000 rows, 8.0 MiB of a snapshot, at revision 9\n',
    );
    const json = await kvctl(['ldb', 'status', '--json', '--ldb', 'd'], { openLdb, stagedIn });
    const position = { cluster: 'c', revision: 3, timeMs: 1000, lagMs: 1500, rows: 3 };
    expect(JSON.parse(json.out)).toEqual({ ...position, ring: 'canary', stages, arriving: null });
  });

  test('a replica that is not there says how to get one', async () => {
    const missing = async (): Promise<LdbView> => {
      throw new StoreError('LDB_MISSING', 'there is no LDB in d');
    };
    expect(await kvctl(['ldb', 'status', '--ldb', 'd'], { openLdb: missing })).toEqual({
      code: 1,
      out: '',
      err: 'kvctl: there is no LDB in d (LDB_MISSING; start one with kvctl ldb follow)\n',
    });
  });

  test('follow is a reflector without its doors: it prints what it does, and the cluster knows it', async () => {
    const stop = new AbortController();
    const startReflector: KvctlDeps['startReflector'] = async (options) => {
      expect(options).toMatchObject({ endpoints: ['ws://h:1'], dir: 'd', id: 'web-1', labels: { ring: 'canary' } });
      expect([options.token, options.http, options.listen]).toEqual(['a-token', undefined, undefined]);
      options.onEvent?.({ kind: 'following', revision: toIndex(4), timeMs: 40 });
      options.onEvent?.({ kind: 'retry', reason: 'gone', delayMs: 200 });
      setTimeout(() => stop.abort());
      return running();
    };
    const words = ['ldb', 'follow', '--from', 'h:1', '--ldb', 'd', '--id', 'web-1', '--label', 'ring=canary'];
    const given = { startReflector, signal: stop.signal, env: { CTLMESH_TOKEN: 'a-token' } };
    const lines = (await kvctl(words, given)).out.split('\n');
    expect(lines[0]).toMatch(/^\S+Z following after revision 4$/);
    expect(lines[1]).toMatch(/gone; trying again in 200 ms$/);
    const json = await kvctl([...words, '--json'], given);
    expect(json.out.split('\n')[0]).toBe('{"kind":"following","revision":4,"timeMs":40}');
  });
});

describe('reflector', () => {
  test.each([
    ['reflector', '--http', '127.0.0.1:7440', 'is not a URL'],
    ['reflector', '--listen', 'http://127.0.0.1:7450', 'must be ws://host:port'],
    ['reflector', '--sidecar', 'http://127.0.0.1', 'has no port'],
    ['sidecar', '--http', 'here', 'is not a URL'],
  ])('%s %s %s: the command line is wrong', async (command, option, address, why) => {
    const ran = await kvctl([command, '--ldb', 'ldb', option, address], {});
    expect(ran.code).toBe(2);
    expect(ran.err).toContain(why);
  });

  test('runs until it is asked to stop, and then stops it', async () => {
    const stop = new AbortController();
    let stops = 0;
    const startReflector: KvctlDeps['startReflector'] = async (options) => {
      expect(options).toMatchObject({
        upstreams: [['ws://h:1', 'ws://h:2'], ['ws://n:3']],
        dir: 'd',
        maxLagMs: 5_000,
        staleAfterMs: 30_000,
        listen: 'ws://h:8',
        http: 'http://h:9',
      });
      options.onEvent?.({ kind: 'freshness', isFresh: false, lagMs: 7_000 });
      setTimeout(() => stop.abort());
      return running({
        stop: async () => {
          stops++;
        },
      });
    };
    const from = ['--from', 'h:1,2', '--from', 'n:3'];
    const doors = ['--http', 'http://h:9', '--listen', 'ws://h:8'];
    const words = ['reflector', ...from, '--ldb', 'd', '--max-lag', '5s', ...doors];
    const { code, out } = await kvctl(words, { startReflector, signal: stop.signal });
    expect(out).toMatch(/Z older than it may be: lag 7\.0 s\n$/);
    expect([code, stops]).toEqual([0, 1]);
  });

  test('one that has to give up is exit code 1, with the reason', async () => {
    const failed = Promise.resolve(new StoreError('LDB_FOREIGN', 'it belongs to cluster b'));
    const startReflector = async (): Promise<RunningReflector> => running({ failed });
    expect(await kvctl(['reflector', '--ldb', 'd'], { startReflector })).toMatchObject({
      code: 1,
      err: expect.stringContaining('it belongs to cluster b (LDB_FOREIGN;') as string,
    });
  });

  test('one whose parts break again and again is exit code 70: it may be started again', async () => {
    const failed = Promise.resolve(new StoreError('ACTOR_STOPPED', '/reflector/relay failed'));
    const startReflector = async (): Promise<RunningReflector> => running({ failed });
    expect(await kvctl(['reflector', '--ldb', 'd'], { startReflector })).toMatchObject({
      code: 70,
      err: expect.stringContaining('/reflector/relay failed (ACTOR_STOPPED;') as string,
    });
  });

  test('no directory, and a lag that is none, are usage errors', async () => {
    expect(await kvctl(['reflector'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('CTLMESH_LDB') as string,
    });
    expect((await kvctl(['reflector', '--ldb', 'd', '--max-lag', '5'])).code).toBe(2);
  });
});
