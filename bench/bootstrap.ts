/**
 * bootstrap: how long until a new host has its replica, from a node and from a copy? And when it is killed half-way?
 *
 * Sketch. From a node every row is read from its tables, framed, sent, decoded and put into LMDB twice (beside, then in
 * place, in one transaction): some 50 000 rows a second, whatever their size. From a copy it is the file itself: read,
 * decompressed (~400 MB/s a core), hashed (~1 GB/s) and written (the disk, ~1 GB/s with a sync at the end), three chunks at
 * once: so some 300 MB/s, and 1 GB in about four seconds with two cores to itself. Killed half-way, the next start hashes
 * what is there, at the disk's speed, and fetches the other half.
 *
 * The file variant is measured on `--mb` of rows (1000), made through the LDB's writer; the node's on a tenth of that, written
 * through a cluster of one. Rows are 1 KiB, of which gzip takes half. Each reflector is a process, as an operator starts it;
 * its time is from the fork to the event that says that the replica is filled, so Node's start (~0.3 s) is in it.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { connect } from '../src/client/index.ts';
import { toIndex } from '../src/core/base/position.ts';
import { LdbWriter } from '../src/engine/ldb/writer.ts';
import { CopySender } from '../src/reflector/copies/sender.ts';
import { openObjects } from '../src/reflector/copies/open-objects.ts';
import { startCluster } from './support/cluster.ts';
import { type Bench, BenchError, type Scenario } from './support/scenario.ts';

export const bootstrap: Scenario = {
  name: 'bootstrap',
  summary: 'until a new host has its replica: from a node and from a copy, also when it is killed half-way',
  run,
};

const MB_DEFAULT = 1000;
const MB = 1e6;
const VALUE_BYTES = 1000;
const IN_FLIGHT = 256;
const KVCTL: string = resolve(import.meta.dirname, '../bin/kvctl.js');

async function run(bench: Bench): Promise<void> {
  const mb = bench.options.mb ?? MB_DEFAULT;
  const origin = join(bench.dir, 'origin');
  bench.progress(`writing a replica of ${mb} MB`);
  await fillLdb(origin, Math.ceil((mb * MB) / VALUE_BYTES));
  const objects = openObjects(pathToFileURL(join(bench.dir, 'copies')).href, { env: {} });
  bench.progress('putting a copy away');
  const sender = new CopySender({
    dir: origin,
    objects,
    everyMs: 3_600_000,
    keep: 1,
    revision: () => 0,
    nowMs: Date.now,
    onSent: () => {},
    onFailed: () => {},
    guard: (work) => work(),
    broke: () => {},
  });
  const beganMs = performance.now();
  const { bytes, storedBytes } = await sender.send();
  tell(bench, 'LDB → copy', bytes, performance.now() - beganMs, { storedMb: Math.round(storedBytes / MB) });
  await sender.stop();

  bench.progress('filling from it');
  const whole = await fromCopy(bench, join(bench.dir, 'whole'), objects.url);
  tell(bench, 'copy → LDB', bytes, whole.ms, { fetched: whole.fetched });
  bench.progress('filling from it, killed half-way');
  const killed = join(bench.dir, 'killed');
  await killHalfWay(bench, killed, objects.url);
  const rest = await fromCopy(bench, killed, objects.url);
  tell(bench, 'copy → LDB, the rest after kill -9', bytes, rest.ms, { fetched: rest.fetched });
  const perGbMs = (whole.ms / bytes) * 1e9;
  bench.target({ what: 'a GB from a copy', unit: 's', measured: perGbMs / 1000, wanted: 30, is: 'at most' });
  await fromNode(bench, mb / 10);
}

function tell(bench: Bench, variant: string, bytes: number, ms: number, more: Record<string, number>): void {
  const all = { mb: Math.round(bytes / MB), mbPerSecond: Math.round(bytes / MB / (ms / 1000)), ...more };
  const row = { variant, system: 'ctlmesh' as const, inFlight: null, opsPerSecond: 1000 / ms };
  bench.row({ ...row, p50Ms: ms, p99Ms: ms, p999Ms: ms, more: all });
}

/** Half of it noise, half of it the same: as compressible as configuration is, or less. */
function valueOf(n: number): Uint8Array {
  const value = Buffer.alloc(VALUE_BYTES, 'configuration ');
  let x = n + 1;
  for (let at = 0; at < VALUE_BYTES / 2; at++) {
    x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) + 0x9e3779b9;
    value[at] = x >>> 24;
  }
  return value;
}

const keyOf = (n: number): string => `config/${String(n).padStart(9, '0')}`;

async function fillLdb(dir: string, rows: number): Promise<void> {
  const revision = toIndex(rows);
  const writer = await LdbWriter.open(dir);
  await writer.beginSnapshot({ cluster: 'bench', revision, timeMs: Date.now() });
  for (let from = 0; from < rows; from += 4_000) {
    await writer.addSnapshot(
      Array.from({ length: Math.min(4_000, rows - from) }, (_, i) => ({
        ...{ key: Buffer.from(keyOf(from + i)), value: valueOf(from + i), revision, expiryMs: 0 },
      })),
    );
  }
  await writer.finishSnapshot();
  await writer.close();
}

type Event = Readonly<Record<string, unknown>> & { readonly kind: string; readonly state?: string };

/** A reflector as a process; resolves when `isIt` says so of one of its events. */
function reflect(bench: Bench, args: readonly string[], isIt: (event: Event) => boolean): Promise<Heard> {
  const beganMs = performance.now();
  const child = fork(KVCTL, ['--json', 'reflector', ...args], { stdio: ['ignore', 'pipe', 2, 'ipc'] });
  bench.cleanup.child(child);
  return new Promise((heard, reject) => {
    child.once('exit', (code) => reject(new BenchError(`the reflector ended with exit code ${code}`)));
    if (child.stdout === null) throw new BenchError('the reflector has no stdout');
    createInterface(child.stdout).on('line', (line) => {
      const event = JSON.parse(line) as Event;
      if (isIt(event)) heard({ ms: performance.now() - beganMs, event, child });
    });
  });
}

interface Heard {
  readonly ms: number;
  readonly event: Event;
  readonly child: ChildProcess;
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  child.removeAllListeners('exit');
  const gone = new Promise((done) => child.once('exit', done));
  child.kill(signal);
  await gone;
}

/** Nobody is there to follow: only the copy is measured. */
const NOBODY = 'ws://127.0.0.1:9';

async function fromCopy(bench: Bench, dir: string, url: string): Promise<{ ms: number; fetched: number }> {
  const isEnd = ({ kind, state }: Event): boolean => kind === 'bootstrap' && state !== 'chunk';
  const { ms, event, child } = await reflect(bench, ['--ldb', dir, '--from', NOBODY, '--bootstrap', url], isEnd);
  await ended(child, 'SIGTERM');
  if (event.state !== 'end') throw new BenchError(`not filled: ${String(event['reason'])}`);
  return { ms, fetched: Number(event['fetched']) };
}

async function killHalfWay(bench: Bench, dir: string, url: string): Promise<void> {
  let chunks = 0;
  const isHalf = ({ state, count }: Event): boolean => state === 'chunk' && ++chunks >= Number(count) / 2;
  const { child } = await reflect(bench, ['--ldb', dir, '--from', NOBODY, '--bootstrap', url], isHalf);
  await ended(child, 'SIGKILL');
}

async function fromNode(bench: Bench, mb: number): Promise<void> {
  bench.progress(`writing ${mb} MB through a cluster of one`);
  // So little of the ledger is kept that a new replica gets a snapshot.
  const servers = await startCluster(bench, 1, { ledgerBytes: 1024 * 1024 });
  const client = await connect([...servers.endpoints], { deadlineMs: 60_000, inFlightMax: IN_FLIGHT });
  const rows = Math.ceil((mb * MB) / VALUE_BYTES);
  let next = 0;
  let revision = 0;
  const worker = async (): Promise<void> => {
    while (next < rows) {
      const n = next++;
      const written = await client.put(keyOf(n), valueOf(n));
      revision = Math.max(revision, written.revision);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  await client.close();
  const isThere = ({ kind, state, revision: at }: Event): boolean =>
    (kind === 'applied' || (kind === 'snapshot' && state === 'end')) && Number(at) >= revision;
  const fill = async (name: string, variant: string): Promise<void> => {
    const dir = join(bench.dir, name);
    let kept = 0;
    const { ms, child } = await reflect(bench, ['--ldb', dir, '--from', servers.endpoints.join(',')], (event) => {
      if (event.kind === 'snapshot' && event.state === 'begin') kept = Number(event['entries']);
      return isThere(event);
    });
    await ended(child, 'SIGTERM');
    tell(bench, variant, statSync(join(dir, 'data.mdb')).size, ms, { rows, kept });
  };
  bench.progress('filling from it');
  await fill('from-node', 'node → LDB');
  bench.progress('filling from it, killed half-way');
  const isHalf = ({ kind, entries }: Event): boolean => kind === 'arrived' && Number(entries) >= rows / 2;
  const args = ['--ldb', join(bench.dir, 'from-node-killed'), '--from', servers.endpoints.join(',')];
  const { child } = await reflect(bench, args, isHalf);
  await ended(child, 'SIGKILL');
  await fill('from-node-killed', 'node → LDB, the rest after kill -9');
  await servers.stop();
}
