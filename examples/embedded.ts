/**
 * An embedded node: the store inside your process, read without an await.
 *
 *   node examples/embedded.ts [DIRECTORY [PORT]]
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineCluster, startNode } from 'ctlmesh';
import { ask, defineActor } from 'ctlmesh/actors';
import { z } from 'zod';

const port = Number(process.argv[3] ?? 7461);
const dataDir = process.argv[2] ?? mkdtempSync(join(tmpdir(), 'ctlmesh-'));

// One node is a cluster too: each write is on this disk before it is answered.
const config = defineCluster({
  nodes: {
    solo: {
      client: `ws://127.0.0.1:${port}`,
      peer: `ws://127.0.0.1:${port + 1}`,
      http: `http://127.0.0.1:${port + 2}`,
      dataDir,
    },
  },
  logLevel: 'warn',
});

// An actor of the application: it ends with the node.
const hits = defineActor({
  name: 'hits',
  protocol: { increment: ask({ by: z.int() }, z.int()) },
  start: () => ({ total: 0 }),
  on: {
    increment: (state, { by }) => {
      state.total += by;
      return state.total;
    },
  },
});

const node = await startNode(config, 'solo');
try {
  const { revision } = await node.put('limits/eu', JSON.stringify({ rps: 500 }));
  console.log(`put: revision ${revision}, in ${dataDir}`);
  // This thread, this turn: the write that was answered is there.
  console.log('getSync:', node.getSync('limits/eu')?.json());
  console.log(
    'rangeSync:',
    node.rangeSync({ prefix: 'limits/' }).map((entry) => entry.keyText()),
  );
  const ref = await node.actors.spawn(hits, { name: 'hits' });
  console.log('actor:', ref.path, await ref.ask({ kind: 'increment', by: 2 }));
  const { role, term, applied } = node.status();
  console.log(`status: ${role}, term ${term}, applied ${applied}`);
} finally {
  await node.stop();
}
