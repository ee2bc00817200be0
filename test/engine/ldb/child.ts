/**
 * Child processes of the LDB tests: `node child.ts <role> <dir>`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isStoreError } from '../../../src/core/base/errors.ts';
import { toIndex } from '../../../src/core/base/position.ts';
import { openLdb } from '../../../src/engine/ldb/index.ts';
import { LdbWriter } from '../../../src/engine/ldb/writer.ts';
import { arrivingRow, CLUSTER, fillRecords, StreamModel, streamRecords, timeOf } from './ledger.ts';

const [role, dir] = process.argv.slice(2) as [string, string];
const say = (word: string | number): void => void process.stdout.write(`${word}\n`);

switch (role) {
  case 'write':
    await writeForEver();
    break;
  case 'arrive':
    await arriveForEver();
    break;
  case 'hold':
    await LdbWriter.open(dir);
    say('held');
    setInterval(() => undefined, 1000);
    break;
  case 'fill':
    await writeUntilItFails();
    break;
  case 'read':
    await readConsistently();
    break;
  default:
    throw new Error(`no such role: ${role}`);
}

/** Plays the stream on from where the LDB is, now and then by a snapshot; says each revision once it is applied. */
async function writeForEver(): Promise<never> {
  const writer = await LdbWriter.open(dir);
  const model = new StreamModel().advanceTo(writer.revision);
  say(writer.revision);
  for (let round = 0; ; round++) {
    if (round % 8 === 7) {
      const revision = toIndex(writer.revision + 1 + Math.floor(Math.random() * 20));
      const rows = model.advanceTo(revision).snapshotRows();
      await writer.beginSnapshot({ cluster: CLUSTER, revision, timeMs: timeOf(revision) });
      const half = Math.floor(rows.length / 2);
      await writer.addSnapshot(rows.slice(0, half));
      await writer.addSnapshot(rows.slice(half));
      await writer.finishSnapshot();
    } else {
      await writer.apply(streamRecords(writer.revision + 1, 1 + Math.floor(Math.random() * 30)), CLUSTER);
      model.advanceTo(writer.revision);
    }
    say(writer.revision);
  }
}

/** Takes a snapshot whose rows are `arrivingRow`s, from where an earlier life was; says how many are there. */
async function arriveForEver(): Promise<never> {
  const writer = await LdbWriter.open(dir);
  const mark = writer.interrupted;
  const position = { cluster: CLUSTER, revision: toIndex(7), timeMs: timeOf(7) };
  if (mark === undefined) await writer.beginSnapshot(position);
  else await writer.goOnSnapshot(position, { filter: undefined, from: mark });
  for (let n = mark?.rows ?? 0; ; n += 3) {
    say(n);
    await writer.addSnapshot([n, n + 1, n + 2].map(arrivingRow));
  }
}

/** Adds rows of 1 KiB until a commit fails; then says how that showed, and in later calls. */
async function writeUntilItFails(): Promise<void> {
  process.on('unhandledRejection', (reason) => say(`unhandled: ${String(reason)}`));
  const writer = await LdbWriter.open(dir);
  for (;;) {
    try {
      await writer.apply(fillRecords(writer.revision + 1, 20), CLUSTER);
    } catch (error) {
      const again = await writer.apply(fillRecords(writer.revision + 1, 1), CLUSTER).catch((next: unknown) => next);
      for (const failure of [error, again]) say(isStoreError(failure) ? failure.code : String(failure));
      say(writer.revision);
      await writer.close();
      return;
    }
  }
}

/** Every key 'same/…' holds the revision as its text; says how many different ones it saw, or what was wrong. */
async function readConsistently(): Promise<void> {
  const ldb = openLdb(dir);
  const seen = new Set<number>();
  say('ready');
  while (ldb.get('stop') === undefined) {
    const revision = ldb.revision;
    const rows = [...ldb.range({ prefix: 'same/' })];
    for (const entry of rows) {
      const got = [entry.revision, Number(entry.text().trimEnd()), ldb.get(entry.keyText())?.revision, ldb.revision];
      if (got.some((other) => other !== revision)) return say(`torn: ${revision} ${got.join()}`);
    }
    seen.add(revision);
    await sleep(1);
  }
  say(`saw ${seen.size}`);
  ldb.close();
}
