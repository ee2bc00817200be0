/**
 * The storage engine itself, in one process and one directory: bytes in, bytes out, read without a promise.
 *
 *   node examples/engine.ts [DIRECTORY]
 *
 * `ctlmesh/level` is the same with level's interface (examples/level.ts).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { openEngine } from 'ctlmesh/engine';

const dir = process.argv[2] ?? mkdtempSync(join(tmpdir(), 'ctlmesh-engine-'));
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (value: Uint8Array | undefined): string | undefined => value && new TextDecoder().decode(value);

const store = await openEngine(dir);

// A batch is one revision: all of it or nothing, on the disk when it resolves.
const batch = store.batch();
batch
  .put(bytes('flags/beta'), bytes('off'))
  .put(bytes('flags/new-ui'), bytes('on'))
  .put(bytes('limits/eu'), bytes('500'));
batch.delete(bytes('limits/us'));
const revision = await store.write(batch);
const entry = store.entrySync(bytes('flags/new-ui')); // { value, revision, expiryMs }
console.log(`batch: flags/new-ui = ${text(entry?.value)}, of this batch: ${entry?.revision === revision}`);

// A time to live: gone at a time of the store's clock. `sync: false` survives the process, and not a power cut.
await store.put(bytes('locks/migration'), bytes('host-7'), { expiryMs: store.timeMs() + 60_000, sync: false });

// A snapshot keeps what is visible now, whatever is written after it.
const snapshot = store.snapshot();
await store.deleteRange(bytes('flags/'), bytes('flags0'));
console.log('then:', text(store.getSync(bytes('flags/new-ui'), { snapshot })));
console.log('now:', text(store.getSync(bytes('flags/new-ui'))));
snapshot.release();

// A range is a cursor: it reads as far as you do.
const cursor = store.cursor({ from: bytes('l'), to: bytes('m') });
for (let row = cursor.next(); row !== undefined; row = cursor.next()) console.log('range:', text(row.key));
cursor.close();

// A checkpoint is hard links: a moment, and no room. LevelDB opens it; before each value stand a byte of flags and,
// with flag 1, eight bytes of expiry.
const copyDir = `${dir}.copy`;
rmSync(copyDir, { recursive: true, force: true });
await store.checkpoint(copyDir);
await store.delete(bytes('limits/eu')); // The copy keeps it.
const copy = new ClassicLevel<string, Uint8Array>(copyDir, { valueEncoding: 'view' });
for await (const [key, stored] of copy.iterator()) {
  console.log(`checkpoint: ${key} = ${text(stored.subarray(stored[0] === 1 ? 9 : 1))}`);
}
await copy.close();

const { flushedRevision, tree } = store.stats();
console.log(`stats: flushed ${flushedRevision > 0}, tables by level ${JSON.stringify(tree['tables'])}`);
await store.close();
