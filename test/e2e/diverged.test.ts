/**
 * A node whose state is another one than the others': found by comparing state hashes, and ended. The state is made
 * wrong where no checksum sees it: a byte of a value in one node's log, with the chunk's checksum made to fit.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { mask } from '../../src/core/base/crc32c.ts';
import { utf8 } from '../../src/core/base/bytes.ts';
import { checksum } from '../../src/engine/disk/checksum.ts';
import { nodeDisk } from '../../src/engine/disk/node-disk.ts';
import { segmentNumber } from '../../src/engine/wal/format.ts';
import { SegmentScanner } from '../../src/engine/wal/scanner.ts';
import { TestCluster, until } from '../support/cluster-process.ts';

/** Long: the machine may be busy. */
const WITHIN_MS = 60_000;

let cluster: TestCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

/** Changes `value` to another one of its length, wherever the log in `dir` has it. */
function changeInLog(dir: string, value: string): number {
  const wanted = Buffer.from(utf8(value));
  let count = 0;
  for (const name of readdirSync(dir)) {
    const number = segmentNumber(name);
    if (number === undefined) continue;
    const file = nodeDisk.open(join(dir, name), 'write');
    const bytes = Buffer.from(readFileSync(join(dir, name)));
    const scanner = new SegmentScanner(file, number);
    for (let record = scanner.next(); record !== undefined; record = scanner.next()) {
      const at = Buffer.from(record.payload).indexOf(wanted);
      if (at === -1) continue;
      // A record of one chunk: its payload stands behind the header, at the chunk's end.
      const from = record.end - record.payload.length;
      bytes[from + at] = (bytes[from + at] as number) ^ 1;
      bytes.writeUInt32LE(mask(checksum(bytes, record.start + 4, record.end, scanner.salt)), record.start);
      file.write(bytes.subarray(record.start, record.end), record.start);
      count++;
    }
    file.close();
  }
  return count;
}

async function metric(at: TestCluster, id: string, name: string): Promise<number> {
  const body = await (await fetch(`${at.http(id)}/metrics`)).text();
  return Number(new RegExp(`^ctlmesh_${name}\\{.*\\} (\\S+)$`, 'm').exec(body)?.[1]);
}

test('a node whose state is wrong is found, ends, and does not start again; the others go on', {
  timeout: 4 * WITHIN_MS,
}, async () => {
  const at = await TestCluster.prepare({ config: { repair: 'never' } });
  cluster = at;
  for (const id of at.ids) at.spawn(id);
  await at.leader(WITHIN_MS);
  const client = await at.client();
  for (let i = 0; i < 100; i++) await client.put(`before/${i}`, String(i));
  await client.put('flipped', 'the value that one node gets wrong');
  await until(
    'all nodes compared their states',
    async () => {
      const compared = await Promise.all(at.ids.map((id) => metric(at, id, 'state_compared_revision')));
      return compared.every((revision) => revision >= 64);
    },
    { withinMs: WITHIN_MS },
  );
  for (const id of at.ids) expect(await metric(at, id, 'state_differences_total'), id).toBe(0);

  const [victim] = (await at.followers()) as [string];
  const others = at.ids.filter((id) => id !== victim);
  const { committed } = await at.status(await at.leader());
  await until('it has all of it', async () => (await at.status(victim)).applied >= committed);
  await at.kill(victim);
  expect(changeInLog(join(at.dataDir(victim), 'wal'), 'the value that one node gets wrong')).toBe(1);
  const run = at.spawn(victim);
  // The hash is wrong from the changed revision on; the next checkpoint shows it.
  for (let i = 0; i < 100; i++) await client.put(`after/${i}`, String(i));
  const { code } = await until('it has ended', async () => (run.isOver ? await run.ended : undefined), {
    withinMs: WITHIN_MS,
    explain: () => at.logs(),
  });
  expect(code).toBe(1);
  expect(run.output).toContain('state.diverged');
  expect(run.output).toContain('DIVERGED');
  const mark: unknown = JSON.parse(readFileSync(join(at.dataDir(victim), 'DIVERGED'), 'utf8'));
  expect(mark).toMatchObject({ by: expect.arrayContaining(others) as string[] });

  const again = at.spawn(victim);
  expect((await again.ended).code).toBe(1);
  expect(again.output).toContain('kvctl member remove');

  for (let i = 0; i < 20; i++) await client.put(`later/${i}`, String(i));
  expect((await client.get('flipped'))?.text()).toBe('the value that one node gets wrong');
  for (const id of others) {
    expect(existsSync(join(at.dataDir(id), 'DIVERGED'))).toBe(false);
    expect(await metric(at, id, 'state_diverged'), id).toBe(0);
  }
});
