/** A tree of reflectors as processes: nodes, a relay, leaves below it; relay and leaves killed with SIGKILL while writes go on. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { type LdbReader, openLdb } from '../../src/engine/ldb/index.ts';
import { LdbWriter } from '../../src/engine/ldb/writer.ts';
import { freePorts, Run, TestCluster, until } from '../support/cluster-process.ts';
import { localState, sameState, Workload } from '../support/cluster-workload.ts';

let cluster: TestCluster | undefined;
let runs: Run[] = [];
let readers: LdbReader[] = [];
afterEach(async () => {
  for (const reader of readers) reader.close();
  for (const run of runs) if (!run.isOver) await run.kill();
  [readers, runs] = [[], []];
  await cluster?.close();
  cluster = undefined;
});

function reflect(dir: string, ...more: readonly string[]): Run {
  const run = new Run(['bin/kvctl.js', '--json', 'reflector', '--ldb', dir, ...more]);
  runs.push(run);
  return run;
}

/** Opens the replica as soon as there is one. */
function open(dir: string): Promise<LdbReader> {
  return until(`the replica in ${dir} can be opened`, () => {
    try {
      const reader = openLdb(dir);
      readers.push(reader);
      return reader;
    } catch {
      return undefined;
    }
  });
}

const contentOf = (reader: LdbReader): Map<string, string> =>
  new Map([...reader.range()].map((entry) => [entry.keyText(), `${entry.revision} ${entry.text()}`]));

async function reaches(reader: LdbReader, revision: number, run: () => Run): Promise<void> {
  await until(
    `the replica in ${reader.dir} is at ${revision}`,
    () => {
      reader.refresh();
      return reader.revision >= revision;
    },
    { explain: () => run().output },
  );
}

test('relay and leaves are killed while writes go on: all end with what the cluster has', async () => {
  cluster = await TestCluster.start();
  const at = cluster;
  const [port] = await freePorts(1);
  const relayUrl = `ws://127.0.0.1:${port}`;
  const nodes = at.urls.join(',');
  const copies = pathToFileURL(join(at.dir, 'copies')).href;
  const dirOf = (name: string): string => join(at.dir, name);
  const startRelay = (): Run =>
    reflect(dirOf('relay'), '--from', nodes, '--listen', relayUrl, '--snapshot-to', copies, '--snapshot-every', '1s');
  // One knows nobody but the relay, and waits for it; the other goes to the nodes meanwhile.
  const startLeaf = (): Run => reflect(dirOf('leaf'), '--from', relayUrl);
  const startPart = (): Run => reflect(dirOf('part'), '--from', relayUrl, '--from', nodes, '--prefix', 'c/');
  let [relay, leaf, part] = [startRelay(), startLeaf(), startPart()];
  const work = new Workload(at);
  await work.start(2);
  const [top, full, some] = [await open(dirOf('relay')), await open(dirOf('leaf')), await open(dirOf('part'))];
  const wanted = full.revision + 100;
  await reaches(full, wanted, () => leaf);
  await reaches(some, wanted, () => part);
  await Promise.all([relay.kill(), leaf.kill()]);
  await reaches(some, some.revision + 100, () => part);
  await part.kill();
  [relay, leaf, part] = [startRelay(), startLeaf(), startPart()];
  await work.stop();
  const client = await at.client();
  const { revision } = await client.put('end', 'end');
  await reaches(top, revision, () => relay);
  await reaches(full, revision, () => leaf);
  await reaches(some, revision, () => part);
  // A host that comes now is filled from a copy that the relay has put away, and goes on.
  await relay.sees('"kind":"copy","state":"sent"');
  const late = reflect(dirOf('late'), '--from', relayUrl, '--bootstrap', copies);
  await late.sees('"kind":"bootstrap","state":"end"');
  const fresh = await open(dirOf('late'));
  await reaches(fresh, revision, () => late);

  // What has a time to live goes, and the clock's entries go on: equal in the end, and not at once.
  const node = await at.pinned(await at.leader());
  await until('all have what the cluster has', async () => {
    const state = await localState(node);
    const ofPart = new Map([...state].filter(([key]) => key.startsWith('c/')));
    expect(ofPart.size).toBeGreaterThan(0);
    try {
      for (const reader of [top, full, fresh]) sameState(contentOf(reader), state, reader.dir);
      sameState(contentOf(some), ofPart, some.dir);
      return true;
    } catch {
      return false;
    }
  });
  // Nothing new comes any more: at the same revision, the same state hash.
  await at.kill(...at.ids);
  const last = await until('the tree is at rest', async () => {
    const before = top.revision;
    await sleep(200);
    top.refresh();
    return top.revision === before && before;
  });
  await reaches(full, last, () => leaf);
  await reaches(fresh, last, () => late);
  for (const run of [leaf, part, late, relay]) await run.kill('SIGTERM');
  for (const run of runs) expect(run.output).not.toContain('"kind":"diverged"');
  for (const reader of readers.splice(0)) reader.close();
  const hashes: unknown[] = [];
  for (const name of ['relay', 'leaf', 'late']) {
    const writer = await LdbWriter.open(dirOf(name));
    hashes.push([writer.revision, writer.hash]);
    await writer.close();
  }
  expect(hashes).toEqual(Array.from({ length: 3 }, () => [last, expect.any(Number)]));
  expect(new Set(hashes.map((one) => JSON.stringify(one))).size).toBe(1);
});
