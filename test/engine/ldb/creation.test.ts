/**
 * An LDB appears whole: a reader that polls while a writer makes it sees nothing, and then an LDB.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const at = (path: string): string => JSON.stringify(new URL(`../../../src/engine/ldb/${path}`, import.meta.url).href);

/** Polls until it can open the LDB; prints every code it was told until then. */
const READER = `
  const { openLdb } = await import(${at('index.ts')});
  const seen = new Set();
  for (;;) {
    try { openLdb(process.argv[1]).close(); break; } catch (error) {
      seen.add(error.code);
      if (error.code !== 'LDB_MISSING') { seen.add(error.message); break; }
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  console.log([...seen].join());
`;

/** Makes the LDB once the reader polls, and holds it until it is told to end. */
const WRITER = `
  const { LdbWriter } = await import(${at('writer.ts')});
  const writer = await LdbWriter.open(process.argv[1]);
  await new Promise((resolve) => process.stdin.once('end', resolve).resume());
  await writer.close();
`;

test('a reader that polls while the LDB is made is told that it is missing, and nothing else', async () => {
  for (let i = 0; i < 4; i++) {
    const dir = mkdtempSync(join(tmpdir(), 'ctlmesh-ldb-'));
    const run = (script: string): ReturnType<typeof spawn> =>
      spawn(process.execPath, ['--input-type=module', '-e', script, join(dir, 'ldb')], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
    const [reader, writer] = [run(READER), run(WRITER)];
    let told = '';
    reader.stdout?.on('data', (data: Buffer) => {
      told += data.toString();
    });
    await once(reader, 'exit');
    writer.stdin?.end();
    await once(writer, 'exit');
    rmSync(dir, { recursive: true, force: true });
    // Empty when the writer was faster than the first look.
    expect(['LDB_MISSING', '']).toContain(told.trim());
  }
});
