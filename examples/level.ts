/**
 * The storage engine alone, as a database of the level family: no cluster, one process, one directory.
 *
 *   node examples/level.ts [DIRECTORY]
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CtlmeshLevel } from 'ctlmesh/level';

const dir = process.argv[2] ?? mkdtempSync(join(tmpdir(), 'ctlmesh-level-'));
const db = new CtlmeshLevel<string, unknown>(dir, { valueEncoding: 'json' });

await db.put('flags/new-ui', { on: true }, { sync: true }); // On the disk when this resolves.
await db.batch([
  { type: 'put', key: 'flags/beta', value: { on: false } },
  { type: 'put', key: 'limits/eu', value: { rps: 500 }, ttlMs: 60_000 }, // Gone in a minute.
]);
console.log('get:', await db.get('flags/new-ui'));
console.log('getSync:', db.getSync('limits/eu')); // The same, without a promise.

// What was there stays there, for whoever holds a snapshot; iterators take one of their own.
const snapshot = db.snapshot();
await db.clear({ gte: 'flags/', lt: 'flags0' }); // A whole range, in one act.
for await (const [key, value] of db.iterator({ snapshot })) console.log('then:', key, value);
for await (const key of db.keys()) console.log('now:', key);
await snapshot.close();

// A sublevel is a keyspace of its own. A batch may span several, and is still all or nothing.
const sessions = db.sublevel('sessions', { valueEncoding: 'json' });
await db.batch([
  { type: 'put', key: 'ann', value: 'open', sublevel: sessions },
  { type: 'del', key: 'limits/eu' },
]);
console.log('sublevel:', await sessions.iterator().all());

await db.close();
