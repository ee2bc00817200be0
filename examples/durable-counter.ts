/**
 * A durable counter: three nodes, each a process; an actor that any of them can be asked for; and `kill -9` of the one that
 * hosts it, in the middle of counting. At the end it has counted exactly.
 *
 *   node examples/durable-counter.ts [DIRECTORY [PORT]]
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineCluster, startNode } from 'ctlmesh';
import { ask, commit, durable } from 'ctlmesh/actors';
import { z } from 'zod';

const [dir = mkdtempSync(join(tmpdir(), 'ctlmesh-')), portText = '7471', ownId] = process.argv.slice(2);
const port = Number(portText);
const ids = ['n1', 'n2', 'n3'];

// The state changes only through `commit`: it is on the disks of two nodes before the answer leaves.
const counter = durable({
  name: 'counter',
  protocol: { add: ask({ by: z.int() }, z.int()), total: ask({}, z.int()) },
  state: z.object({ total: z.int() }),
  initial: () => ({ total: 0 }),
  on: {
    add: ({ total }, { by }) => commit({ total: total + by }, total + by),
    total: ({ total }) => total,
  },
});

/** What the processes say to each other. */
type Asked = { readonly call: number; readonly kind: 'add' | 'total' };
type Said = { readonly kind: 'up' } | { readonly kind: 'answer'; readonly call: number; readonly value: number };

if (ownId === undefined) await count();
else await host(ownId);

/** One node, and what it is asked by the process that counts. */
async function host(id: string): Promise<void> {
  const own = (i: number) => ({
    client: `ws://127.0.0.1:${port + 3 * i}`,
    peer: `ws://127.0.0.1:${port + 3 * i + 1}`,
    http: `http://127.0.0.1:${port + 3 * i + 2}`,
    dataDir: join(dir, ids[i] ?? ''),
  });
  const nodes = Object.fromEntries(ids.map((name, i) => [name, own(i)]));
  const node = await startNode(defineCluster({ nodes, logLevel: 'warn' }), id);
  node.actors.host(counter);
  const visits = node.actors.lookup(counter, 'visits');
  const say = (said: Said): void => void process.send?.(said);
  process.on('message', ({ call, kind }: Asked) => {
    // Longer than it takes for the actor to be somewhere else.
    const options = { deadlineMs: 60_000 };
    const value = kind === 'add' ? visits.ask({ kind, by: 1 }, options) : visits.ask({ kind }, options);
    void value.then((total) => say({ kind: 'answer', call, value: total }));
  });
  process.on('disconnect', () => void node.stop());
  say({ kind: 'up' });
}

/** Starts the nodes, counts through two of them, and kills the third, where the counter lives. */
async function count(): Promise<void> {
  const nodes = ids.map((id) => fork(import.meta.filename, [dir, portText, id]));
  try {
    await Promise.all(nodes.map((child) => once(child, 'message')));
    const [n1, n2, n3] = nodes.map((child) => asker(child)) as [Ask, Ask, Ask];
    console.log(`first, through n1: ${await n1('add')}`);

    const adding = Array.from({ length: 30 }, (_, i) => (i % 2 === 0 ? n2 : n3)('add'));
    await adding[9];
    nodes[0]?.kill('SIGKILL');
    console.log('n1, where it lived, is killed');
    const totals = await Promise.all(adding);

    console.log(`each counted once: ${new Set(totals).size === 30}`);
    console.log(`through n2: ${await n2('total')}, through n3: ${await n3('total')}`);
  } finally {
    // Those that are left stop in order.
    for (const child of nodes) if (child.connected) child.disconnect();
  }
}

type Ask = (kind: Asked['kind']) => Promise<number>;

function asker(child: ChildProcess): Ask {
  const open = new Map<number, (value: number) => void>();
  child.on('message', (said: Said) => {
    if (said.kind === 'answer') open.get(said.call)?.(said.value);
  });
  let calls = 0;
  return (kind) =>
    new Promise((resolve) => {
      const call = ++calls;
      open.set(call, resolve);
      child.send({ call, kind } satisfies Asked);
    });
}
