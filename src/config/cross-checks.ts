/**
 * Cross-checks: faults that lie between two fields, looked for in the value as written, so that they are
 * reported together with the faults inside fields and not one run later.
 */
import { resolve, sep } from 'node:path';
import { isStoreError } from '../core/base/errors.ts';
import { parseFilter } from '../core/model/ledger-filter.ts';
import { HEARTBEATS_PER_TIMEOUT_MIN, JOINING_MAX, NODES_MAX, RAFT_OPTIONS } from './options.ts';
import type { ConfigFault, ReaderConfig, TokenConfig } from './types.ts';
import { isLoopback, parseAddress } from './url.ts';

type Fields = Readonly<Record<string, unknown>>;

export function crossFaults(value: unknown, baseDir: string): ConfigFault[] {
  const config = fields(value);
  const nodes = Object.entries(fields(config['nodes'])).map(([id, node]) => ({ id, node: fields(node) }));
  return [
    ...countFaults(config['nodes'], nodes),
    ...portFaults(nodes),
    ...directoryFaults(nodes, baseDir),
    ...raftFaults(fields(config['raft'])),
    ...callerFaults(fields(config['callers'])),
    ...readerFaults(fields(config['readers'])),
  ];
}

interface Node {
  readonly id: string;
  readonly node: Fields;
}

function countFaults(written: unknown, nodes: readonly Node[]): ConfigFault[] {
  if (typeof written !== 'object' || written === null || Array.isArray(written)) return [];
  if (nodes.length === 0) return [{ path: 'nodes', message: 'a cluster has at least 1 node' }];
  const joining = nodes.filter(({ node }) => node['join'] === true).length;
  const founding = nodes.length - joining;
  const fault = (message: string): ConfigFault[] => [{ path: 'nodes', message }];
  if (founding === 0) {
    return fault(
      'all nodes have join: true, so there is no cluster to join; leave it out at the nodes that the cluster began with, and list them here: a node that joins must know them',
    );
  }
  if (founding > NODES_MAX) return fault(`a cluster has at most ${NODES_MAX} nodes; these are ${founding}`);
  if (joining > JOINING_MAX) return fault(`at most ${JOINING_MAX} nodes may have join: true; these are ${joining}`);
  return [];
}

/** Two listeners cannot have one address. */
function portFaults(nodes: readonly Node[]): ConfigFault[] {
  const faults: ConfigFault[] = [];
  const takenBy = new Map<string, string>();
  for (const { id, node } of nodes) {
    for (const field of ['client', 'peer', 'http']) {
      const address = parseAddress(node[field]);
      if (address === undefined) continue;
      const path = `nodes.${id}.${field}`;
      const key = `${isLoopback(address.host) && address.host !== '::1' ? sameLoopback(address.host) : address.host}:${address.port}`;
      const other = takenBy.get(key);
      if (other === undefined) takenBy.set(key, path);
      else faults.push({ path, message: `port ${address.port} on ${address.host} is already used by ${other}` });
    }
  }
  return faults;
}

/** 'localhost' is 127.0.0.1; 127.0.0.2 is an address of its own. */
const sameLoopback = (host: string): string => (host === 'localhost' ? '127.0.0.1' : host);

/** A directory has one owner. Nodes on different machines may well use the same path. */
function directoryFaults(nodes: readonly Node[], baseDir: string): ConfigFault[] {
  const faults: ConfigFault[] = [];
  const seen: { readonly id: string; readonly machine: string; readonly dir: string }[] = [];
  for (const { id, node } of nodes) {
    const written = node['dataDir'];
    if (typeof written !== 'string' || written === '') continue;
    const host = parseAddress(node['peer'])?.host ?? parseAddress(node['client'])?.host ?? 'localhost';
    const one = { id, machine: isLoopback(host) ? 'localhost' : host, dir: resolve(baseDir, written) };
    for (const other of seen) {
      if (other.machine !== one.machine) continue;
      const relation = overlap(one.dir, other.dir);
      if (relation === undefined) continue;
      faults.push({ path: `nodes.${id}.dataDir`, message: `${relation} nodes.${other.id}.dataDir (${one.dir})` });
      break;
    }
    seen.push(one);
  }
  return faults;
}

function overlap(a: string, b: string): string | undefined {
  if (a === b) return 'is the same directory as';
  if (a.startsWith(b + sep)) return 'lies inside';
  if (b.startsWith(a + sep)) return 'contains';
  return undefined;
}

function raftFaults(raft: Fields): ConfigFault[] {
  const [electionTimeoutMs, heartbeatMs] = RAFT_OPTIONS.map((option) => raft[option.name] ?? option.default);
  if (typeof electionTimeoutMs !== 'number' || typeof heartbeatMs !== 'number') return [];
  if (electionTimeoutMs >= heartbeatMs * HEARTBEATS_PER_TIMEOUT_MIN) return [];
  const message = `must be at least ${HEARTBEATS_PER_TIMEOUT_MIN} heartbeats (${HEARTBEATS_PER_TIMEOUT_MIN} x ${heartbeatMs} ms); this is ${electionTimeoutMs} ms`;
  return [{ path: 'raft.electionTimeoutMs', message }];
}

/** Each has one token, and nobody may be taken for another. */
function tokenFaults(list: 'callers' | 'readers', all: Fields): ConfigFault[] {
  const faults: ConfigFault[] = [];
  const seen = new Map<unknown, string>();
  for (const [name, written] of Object.entries(all)) {
    const path = `${list}.${name}`;
    const { tokenSha256, tokenEnv } = fields(written) as Readonly<Record<keyof TokenConfig, unknown>>;
    const say = (message: string): void => void faults.push({ path, message });
    if ((tokenSha256 === undefined) === (tokenEnv === undefined)) {
      say(`a ${list.slice(0, -1)} has a token: tokenSha256 or tokenEnv, one of them`);
    }
    const token = tokenEnv ?? (typeof tokenSha256 === 'string' ? tokenSha256.toLowerCase() : undefined);
    const other = seen.get(token);
    if (token !== undefined && other !== undefined) say(`has the same token as ${list}.${other}`);
    seen.set(token, name);
  }
  return faults;
}

function callerFaults(callers: Fields): ConfigFault[] {
  const faults = tokenFaults('callers', callers);
  const roles = Object.values(callers).map((caller) => fields(caller)['role']);
  if (roles.length === 0 || roles.includes('admin')) return faults;
  return [
    ...faults,
    { path: 'callers', message: 'one of them has the role admin: nobody else can manage the cluster' },
  ];
}

/** Each says what it may have. */
function readerFaults(readers: Fields): ConfigFault[] {
  const faults = tokenFaults('readers', readers);
  for (const [name, written] of Object.entries(readers)) {
    const path = `readers.${name}`;
    const reader = fields(written);
    const { all } = reader as Readonly<Record<keyof ReaderConfig, unknown>>;
    const say = (message: string): void => void faults.push({ path, message });
    const named = ['families', 'tables', 'prefixes'].some((field) => reader[field] !== undefined);
    if (all === true && named) say('all: true is everything; leave out families, tables and prefixes');
    if (all !== true && !named) say('say what it may have: families, tables, prefixes, or all: true');
    const fault = named ? filterFault(reader) : undefined;
    if (fault !== undefined) say(fault);
  }
  return faults;
}

/** Of a filter that has the right shape; what has not is told already. */
function filterFault(reader: Fields): string | undefined {
  const [families, tables, prefixes] = ['families', 'tables', 'prefixes'].map((field) => reader[field] ?? []);
  if (!isTexts(families) || !isTexts(tables) || !isTexts(prefixes)) return undefined;
  try {
    parseFilter({ families, tables, prefixes });
    return undefined;
  } catch (error) {
    if (!isStoreError(error)) throw error;
    return error.message;
  }
}

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((one) => typeof one === 'string');

function fields(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}
