/**
 * The SDK: write, read, transact, watch. Needs a cluster: `npm start`, then `node examples/sdk.ts`.
 *
 *   node examples/sdk.ts [ENDPOINT…]
 */
import { connect, isStoreError } from 'ctlmesh/client';

const given = process.argv.slice(2);
const endpoints = given.length > 0 ? given : ['ws://127.0.0.1:7411', 'ws://127.0.0.1:7412', 'ws://127.0.0.1:7413'];

const db = await connect(endpoints);
try {
  // A write is answered once a majority of the nodes has it on disk. The revision is its place in the log.
  const { revision } = await db.put('flags/new-ui', 'on');
  console.log(`put: revision ${revision}`);

  // A read sees every write that was answered before it, whichever node it goes to.
  const entry = await db.get('flags/new-ui');
  console.log(`get: ${entry?.text()}, written by revision ${entry?.revision}`);

  await db.put('flags/beta', JSON.stringify({ percent: 5 }));
  for await (const row of db.range({ prefix: 'flags/' })) console.log(`range: ${row.keyText()} = ${row.text()}`);

  // Only if nobody has written the key since we did; all of it or nothing.
  const swap = await db.txn((t) =>
    t.ifRevision('flags/new-ui', revision).put('flags/new-ui', 'off').delete('flags/beta').else().get('flags/new-ui'),
  );
  console.log(`txn: ${swap.succeeded ? 'the condition held' : 'somebody was faster'}, revision ${swap.revision}`);

  // Everything since our first write, in order. It goes on for as long as you like; here it ends by itself.
  for await (const change of db.watch({ prefix: 'flags/', fromRevision: revision })) {
    const value = change.kind === 'put' ? ` = ${change.text()}` : '';
    console.log(`watch: revision ${change.revision}: ${change.kind} ${change.keyText()}${value}`);
    if (change.revision >= swap.revision && change.lastOfRevision) break;
  }

  // Gone in half a second of log time.
  await db.put('locks/migration', 'host-7', { ttlMs: 500 });

  try {
    await db.put('', 'a key needs a byte');
  } catch (error) {
    if (!isStoreError(error, 'KEY_INVALID')) throw error;
    console.log(`refused: ${error.code}, retry: ${error.retry}`);
  }
} finally {
  await db.close();
}
