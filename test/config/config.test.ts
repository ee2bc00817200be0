import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { configFaults, defineCluster, parseConfig, readerGrants, openAddresses } from '../../src/config/index.ts';
import { RAFT_OPTIONS, TOP_KEYS, TUNING_OPTIONS } from '../../src/config/options.ts';
import { nearest } from '../../src/config/suggest.ts';
import { isStoreError } from '../../src/core/base/errors.ts';

const node = (i: number): Record<string, unknown> => ({
  client: `ws://127.0.0.1:741${i}`,
  peer: `ws://127.0.0.1:742${i}`,
  http: `http://127.0.0.1:743${i}`,
  dataDir: `data/n${i}`,
});

function faultsOf(value: unknown): string[] {
  try {
    parseConfig(value, { baseDir: '/srv' });
  } catch (error) {
    if (!isStoreError(error, 'CONFIG_INVALID')) throw error;
    return configFaults(error).map(({ path, message }) => `${path}: ${message}`);
  }
  return [];
}

describe('a good config', () => {
  test('is filled in from the option table, and its directories are absolute', () => {
    const config = parseConfig({ nodes: { n1: node(1) } }, { baseDir: '/srv' });
    expect(config).toEqual({
      cluster: 'ctlmesh',
      nodes: { n1: { ...node(1), dataDir: resolve('/srv/data/n1') } },
      raft: Object.fromEntries(RAFT_OPTIONS.map((option) => [option.name, option.default])),
      ...Object.fromEntries(TUNING_OPTIONS.map((option) => [option.name, option.default])),
      callers: {},
      readers: {},
      destructiveSchemaChanges: false,
      originsAllowed: [],
      hostsAllowed: [],
      repair: 'peers',
      logLevel: 'info',
    });
    expect(Object.keys(config).sort()).toEqual([...TOP_KEYS].sort());
  });

  test('may have an even number of nodes, up to seven, and nodes of other machines with one path', () => {
    expect(faultsOf({ nodes: { n1: node(1), n2: node(2) } })).toEqual([]);
    const far = { client: 'ws://10.0.0.2:7411', peer: 'ws://10.0.0.2:7421', http: 'http://10.0.0.2:7431' };
    expect(faultsOf({ nodes: { n1: node(1), n2: { ...far, dataDir: 'data/n1' } } })).toEqual([]);
  });

  test('defineCluster changes nothing', () => {
    const written = { nodes: {} };
    expect(defineCluster(written)).toBe(written);
  });
});

describe('each fault has its path and says what to write instead', () => {
  const two = (n2: Record<string, unknown>): unknown => ({ nodes: { n1: node(1), n2: { ...node(2), ...n2 } } });
  test.each<[string, unknown, string]>([
    ['an unknown key', { nodes: { n1: node(1) }, clustr: 'x' }, "clustr: unknown key; did you mean 'cluster'?"],
    ['an unknown key in a node', two({ datadir: 'x' }), "nodes.n2.datadir: unknown key; did you mean 'dataDir'?"],
    [
      'an unknown key like none',
      { nodes: { n1: node(1) }, raft: { zzz: 1 } },
      'raft.zzz: unknown key; known here: electionTimeoutMs, heartbeatMs',
    ],
    [
      'a port used twice',
      two({ peer: 'ws://localhost:7411' }),
      'nodes.n2.peer: port 7411 on localhost is already used by nodes.n1.client',
    ],
    [
      'a missing dataDir',
      two({ dataDir: undefined }),
      "nodes.n2.dataDir: is missing: the directory for this node's files, like 'data/n1'",
    ],
    ['an empty dataDir', two({ dataDir: '' }), 'nodes.n2.dataDir: is empty'],
    [
      'one dataDir for two',
      two({ dataDir: './data/../data/n1' }),
      'nodes.n2.dataDir: is the same directory as nodes.n1.dataDir (/srv/data/n1)',
    ],
    [
      'a dataDir in another',
      two({ dataDir: 'data/n1/x' }),
      'nodes.n2.dataDir: lies inside nodes.n1.dataDir (/srv/data/n1/x)',
    ],
    ['no URL', two({ client: '7411' }), "nodes.n2.client: must be ws://host:port; '7411' is not a URL"],
    ['a wrong protocol', two({ peer: 'http://127.0.0.1:1' }), 'nodes.n2.peer: must be ws://host:port; this is http://'],
    [
      'TLS',
      two({ client: 'wss://h:1' }),
      'nodes.n2.client: must be ws://host:port; TLS is not served, put a proxy in front',
    ],
    [
      'no port',
      two({ http: 'http://localhost' }),
      "nodes.n2.http: must be http://host:port; 'http://localhost' has no port",
    ],
    [
      'port 0',
      two({ http: 'http://localhost:0' }),
      'nodes.n2.http: must be http://host:port; port 0 (any port) cannot be found by the others',
    ],
    [
      'a path',
      two({ http: 'http://h:1/x' }),
      "nodes.n2.http: must be http://host:port and nothing more; this is 'http://h:1/x'",
    ],
    ['a bad id', { nodes: { N1: node(1) } }, "nodes.N1: a node's id has 1 to 32 characters from a-z, 0-9 and '-'"],
    ['no nodes', { nodes: {} }, 'nodes: a cluster has at least 1 node'],
    ['nodes missing', {}, 'nodes: is missing: one entry per node, like { n1: { client, peer, http, dataDir } }'],
    ['a node that is none', { nodes: { n1: 5 } }, 'nodes.n1: must be an object; this is 5'],
    [
      'too few heartbeats',
      { nodes: { n1: node(1) }, raft: { heartbeatMs: 400 } },
      'raft.electionTimeoutMs: must be at least 3 heartbeats (3 x 400 ms); this is 500 ms',
    ],
    [
      'a text for a number',
      { nodes: { n1: node(1) }, ledgerBytes: '64' },
      'ledgerBytes: must be a number (bytes); this is "64"',
    ],
    [
      'too small',
      { nodes: { n1: node(1) }, inFlightMax: 0 },
      'inFlightMax: must be at least 1 (operations); this is 0',
    ],
    [
      'an origin with a path',
      { nodes: { n1: node(1) }, originsAllowed: ['https://ops.example/path'] },
      "originsAllowed.0: must be an origin as a browser sends it, like 'https://ops.example'",
    ],
    [
      'a level that is none',
      { nodes: { n1: node(1) }, logLevel: 'loud' },
      'logLevel: must be one of trace, debug, info, warn, error, fatal, silent; this is "loud"',
    ],
    ['nothing', undefined, ': the config is empty: it must be an object with nodes'],
    ['a function', () => ({}), ': must be an object; this is a function'],
  ])('%s', (_, value, expected) => {
    expect(faultsOf(value)).toEqual([expected]);
  });

  test('a node joins, or founds; somebody must found', () => {
    expect(
      faultsOf({ nodes: { n1: node(1), n2: { ...node(2), join: true }, n3: { ...node(3), join: false } } }),
    ).toEqual([]);
    const config = parseConfig({ nodes: { n1: node(1), n2: { ...node(2), join: true } } }, { baseDir: '/srv' });
    expect([config.nodes['n1']?.join, config.nodes['n2']?.join]).toEqual([undefined, true]);
    expect(faultsOf({ nodes: { n1: { ...node(1), join: true } } })).toEqual([
      expect.stringMatching(/^nodes: all nodes have join: true, so there is no cluster to join/),
    ]);
    expect(faultsOf({ nodes: { n1: node(1), n2: { ...node(2), join: 'yes' } } })).toEqual([
      'nodes.n2.join: must be a boolean; this is "yes"',
    ]);
    expect(faultsOf({ nodes: { n1: node(1), n2: { ...node(2), jon: true } } })).toEqual([
      "nodes.n2.jon: unknown key; did you mean 'join'?",
    ]);
  });

  test('seven may found and seven more join', () => {
    const far = (i: number, join: boolean): object => ({
      client: `ws://10.0.0.${i}:1`,
      peer: `ws://10.0.0.${i}:2`,
      http: `http://10.0.0.${i}:3`,
      dataDir: 'data',
      ...(join ? { join } : {}),
    });
    const nodes = (founding: number, joining: number): object =>
      Object.fromEntries(
        Array.from({ length: founding + joining }, (_, i) => [`n${i + 1}`, far(i + 1, i >= founding)]),
      );
    expect(faultsOf({ nodes: nodes(7, 7) })).toEqual([]);
    expect(faultsOf({ nodes: nodes(8, 1) })).toEqual(['nodes: a cluster has at most 7 nodes; these are 8']);
    expect(faultsOf({ nodes: nodes(3, 8) })).toEqual(['nodes: at most 7 nodes may have join: true; these are 8']);
  });

  test('eight nodes are too many', () => {
    const nodes = Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8].map((i) => [`n${i}`, node(i)]));
    expect(faultsOf({ nodes })).toEqual(['nodes: a cluster has at most 7 nodes; these are 8']);
  });

  test('all faults come at once, in the order of the file', () => {
    const value = {
      clustr: 1,
      nodes: { n1: { ...node(1), peer: 'x' }, n2: { ...node(2), http: 'http://127.0.0.1:7431' } },
      logLevel: 1,
    };
    expect(faultsOf(value).map((fault) => fault.split(':')[0])).toEqual([
      'clustr',
      'nodes.n1.peer',
      'nodes.n2.http',
      'logLevel',
    ]);
  });
});

test('a slip is told from another word', () => {
  expect(nearest('heartbeat', ['electionTimeoutMs', 'heartbeatMs'])).toBe('heartbeatMs');
  expect(nearest('nods', TOP_KEYS)).toBe('nodes');
  expect(nearest('replicas', TOP_KEYS)).toBeUndefined();
});

describe('callers', () => {
  const hash = 'a'.repeat(64);
  const faultsIn = (callers: unknown): string[] => faultsOf({ nodes: { n1: node(1) }, callers });

  test('have a token and a role, and one of them is an admin', () => {
    expect(faultsIn({ ops: { role: 'admin', tokenEnv: 'OPS' }, view: { role: 'read', tokenSha256: hash } })).toEqual(
      [],
    );
    expect(faultsIn({ view: { role: 'read', tokenSha256: hash } })).toEqual([
      expect.stringContaining('callers: one of them has the role admin'),
    ]);
  });

  test('are asked for: without them a node says which of its ports are open to other machines', () => {
    const open = (host: string, callers: object): string[] => {
      const n1 = { client: `ws://${host}:7411`, peer: 'ws://10.0.0.1:7421', http: 'http://[::1]:7431', dataDir: 'd' };
      const { nodes } = parseConfig({ nodes: { n1 } }, { baseDir: '/' });
      return openAddresses({ nodes, callers: callers as never }, 'n1');
    };
    expect(open('10.0.0.1', {})).toEqual(['ws://10.0.0.1:7411']);
    expect(open('0.0.0.0', {})).toHaveLength(1);
    expect([open('localhost', {}), open('10.0.0.1', { ops: { role: 'admin', tokenEnv: 'OPS' } })]).toEqual([[], []]);
  });

  test.each([
    [{ role: 'admin' }, 'callers.a: a caller has a token: tokenSha256 or tokenEnv, one of them'],
    [{ tokenEnv: 'A' }, 'callers.a.role'],
    [{ role: 'root', tokenEnv: 'A' }, 'callers.a.role: must be one of read, write, admin'],
    [{ role: 'admin', tokenEnv: 'A', roles: 1 }, "callers.a.roles: unknown key; did you mean 'role'?"],
  ])('%j is told what is wrong', (a, message) => {
    expect(faultsIn({ a }).join()).toContain(message);
  });
});

describe('readers of the ledger', () => {
  const hash = 'a'.repeat(64);
  const faultsIn = (readers: unknown): string[] => faultsOf({ nodes: { n1: node(1) }, readers });

  test('say who they are and what they may have', () => {
    expect(
      faultsIn({
        a: { tokenSha256: hash, families: ['billing'] },
        b: { tokenEnv: 'B', all: true },
        c: { tokenEnv: 'C', tables: ['billing/plans'], prefixes: [''] },
      }),
    ).toEqual([]);
  });

  test.each([
    [{ all: true }, 'readers.a: a reader has a token: tokenSha256 or tokenEnv, one of them'],
    [{ tokenSha256: hash }, 'readers.a: say what it may have: families, tables, prefixes, or all: true'],
    [{ tokenSha256: hash, all: true, families: ['aaa'] }, 'readers.a: all: true is everything; leave out families'],
    [{ tokenSha256: hash, tables: ['billing'] }, 'readers.a: a table is named family/table, not "billing"'],
    [{ tokenSha256: 'x', all: true }, 'readers.a.tokenSha256: must be the SHA-256 of a token'],
    [{ tokenSha256: hash, all: true, family: 'x' }, "readers.a.family: unknown key; did you mean 'families'?"],
  ])('%j is told what is wrong', (a, message) => {
    expect(faultsIn({ a })).toEqual([expect.stringContaining(message)]);
  });

  test('two with one token are one too many', () => {
    const reader = { tokenSha256: hash, all: true };
    expect(faultsIn({ a: reader, b: { ...reader, tokenSha256: hash.toUpperCase() } })).toEqual([
      'readers.b: has the same token as readers.a',
    ]);
  });

  test('a token of the environment is hashed, and must be there and long', () => {
    const readers = { a: { tokenEnv: 'A', families: ['billing'] }, b: { tokenSha256: hash, all: true } };
    const [a, b] = readerGrants({ readers }, { A: 'a-long-random-token' });
    expect(a?.tokenSha256).toBe(createHash('sha256').update('a-long-random-token').digest('hex'));
    expect(a?.filter?.families).toEqual(['billing']);
    expect(b).toEqual({ name: 'b', tokenSha256: hash, filter: undefined });
    expect(() => readerGrants({ readers }, {})).toThrow('A is not set');
    expect(() => readerGrants({ readers }, { A: 'short' })).toThrow('at least 16 characters');
  });
});
