/**
 * A lock with a fence, and an election. Needs a cluster: `npm start`, then `node examples/lock.ts`.
 *
 *   node examples/lock.ts [ENDPOINT…]
 */
import { connect, isStoreError } from 'ctlmesh/client';

const given = process.argv.slice(2);
const endpoints = given.length > 0 ? given : ['ws://127.0.0.1:7411', 'ws://127.0.0.1:7412', 'ws://127.0.0.1:7413'];

const db = await connect(endpoints);
try {
  const lock = await db.lock('nightly-report', { ttlMs: 15_000 });
  console.log(`lock: token ${lock.token}`);
  lock.lost.addEventListener('abort', () => console.log('lock: lost'));

  // Checked where it is applied: if the lock were lost by then, nothing would be written.
  const write = await db.txn((t) => t.if(lock.condition()).put('report/latest', 'done'));
  console.log(`fenced: ${write.succeeded ? 'written' : 'refused'}`);

  try {
    await db.lock('nightly-report', { waitMs: 0 });
  } catch (error) {
    if (!isStoreError(error, 'DEADLINE_EXCEEDED')) throw error;
    console.log('second: somebody has it');
  }
  await lock.release();

  const late = await db.txn((t) => t.if(lock.condition()).put('report/latest', 'too late'));
  console.log(`fenced: ${late.succeeded ? 'written' : 'refused'}`);

  const election = db.election('scheduler');
  const led = await election.campaign('host-7');
  for await (const leader of election.observe()) {
    console.log(`leader: ${leader?.text() ?? 'nobody'}`);
    if (leader === undefined) break;
    if (leader.text() === 'host-7') await led.proclaim('host-7, busy');
    else await led.resign();
  }
} finally {
  await db.close();
}
