/**
 * An embedded engine killed with SIGKILL in a loop, while it writes, flushes and compacts on a real disk. `KILLS=200` for
 * a long run:
 *
 *   KILLS=200 npm run test:e2e -- engine-kill-loop
 *
 * A kill takes no page from the kernel: so whatever was acknowledged must be there, synced or not.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { type Engine, openEngine } from '../../src/engine/store/index.ts';
import { below, seeded } from '../core/base/seeded.ts';
import { FAR_MS, KEYS, keyText, Oracle, valueText } from '../support/engine-oracle.ts';

const KILLS = Number(process.env['KILLS'] ?? 10);
const SEED = Number(process.env['SEED'] ?? 1);
const CHILD = fileURLToPath(new URL('../support/engine-kill-child.ts', import.meta.url));

let child: ChildProcess | undefined;
let root: string | undefined;
afterEach(() => {
  child?.kill('SIGKILL');
  if (root !== undefined) rmSync(root, { recursive: true, force: true });
  root = undefined;
});

/** Starts the writer and kills it `afterMs` after it has opened the store; within the opening when that is negative. */
async function writeAndKill(dir: string, oracle: string, seed: number, afterMs: number): Promise<void> {
  const process = spawn(globalThis.process.execPath, [CHILD, dir, oracle, String(seed)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child = process;
  let said = '';
  process.stderr.on('data', (data: Buffer) => (said += data.toString()));
  const exit = once(process, 'exit') as Promise<[number | null, string | null]>;
  if (afterMs < 0) await Promise.race([exit, sleep(-afterMs)]);
  else {
    await Promise.race([once(process.stdout, 'data'), exit]);
    await Promise.race([exit, sleep(afterMs)]);
  }
  process.kill('SIGKILL');
  const [, signal] = await exit;
  child = undefined;
  expect(signal, `it ended by itself: ${said}`).toBe('SIGKILL');
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Holds what is there against the oracle, which then takes it for committed. Returns how many batches were undecided. */
function verify(engine: Engine, oracle: Oracle): { undecided: number; present: number } {
  const found = new Map(engine.rangeSync().map((entry) => [decoder.decode(entry.key), entry]));
  const backward = engine.rangeSync({ reverse: true }).map(({ key }) => decoder.decode(key));
  expect(backward).toEqual([...found.keys()].toReversed());
  /** By pending batch, whether its keys have it. */
  const undecided = new Map<number, Set<boolean>>();
  /** Batches that were acknowledged, also when the kill came before each of their keys was noted. */
  const acknowledged = new Set(Array.from({ length: KEYS }, (_, key) => oracle.committed(key)));
  for (let key = 0; key < KEYS; key++) {
    const name = keyText(key);
    const entry = found.get(name);
    const value = entry === undefined ? undefined : decoder.decode(entry.value);
    const point = engine.getSync(encoder.encode(name));
    expect(point === undefined ? undefined : decoder.decode(point), 'a get says what the scan says').toBe(value);
    const committed = oracle.committed(key);
    const pending = oracle.pending(key);
    const before = valueText(key, committed);
    const after = valueText(key, pending);
    let number = committed;
    if (pending !== 0 && acknowledged.has(pending)) {
      expect(value, `${name}: batch ${pending}`).toBe(after);
      number = pending;
    } else if (pending !== 0 && before !== after) {
      expect([before, after], `${name}: batch ${committed}, or ${pending} that was under way`).toContain(value);
      const has = undecided.get(pending) ?? new Set();
      undecided.set(pending, has.add(value === after));
      if (value === after) number = pending;
    } else expect(value, `${name}: batch ${committed}`).toBe(before);
    if (entry !== undefined && entry.expiryMs !== 0) expect(entry.expiryMs).toBe(FAR_MS);
    oracle.commit(key, number);
  }
  let isEnded = false;
  for (const [number, has] of [...undecided].sort(([a], [b]) => a - b)) {
    expect(has.size, `P3: batch ${number} is there whole, or not`).toBe(1);
    if (!has.has(true)) isEnded = true;
    else expect(isEnded, `P2: batch ${number} is there, and one before it is not`).toBe(false);
  }
  return { undecided: undecided.size, present: found.size };
}

test('an engine that is killed again and again has whatever it acknowledged', {
  timeout: 60_000 + KILLS * 15_000,
}, async () => {
  root = mkdtempSync(join(tmpdir(), 'ctlmesh-engine-kill-'));
  const dir = join(root, 'db');
  const copy = join(root, 'copy');
  const oraclePath = join(root, 'oracle');
  const random = seeded(SEED);
  let written = 0;
  let tables = 0;
  let undecided = 0;
  for (let turn = 0; turn < KILLS; turn++) {
    const afterMs = turn % 5 === 4 ? -below(random, 400) - 100 : below(random, 900);
    await writeAndKill(dir, oraclePath, SEED * 1000 + turn, afterMs);
    // Every other time the next life begins with what the kill left, not with what we closed in order.
    const isCopied = turn % 2 === 1;
    if (isCopied) cpSync(dir, copy, { recursive: true });
    const engine = await openEngine(isCopied ? copy : dir, { jobs: 'inline', cacheBytes: 0, reserveBytes: 0 });
    const oracle = new Oracle(oraclePath);
    try {
      written = oracle.highest;
      const seen = verify(engine, oracle);
      undecided += seen.undecided;
      tables += (engine.stats().tree['tables'] as number[]).reduce((sum, count) => sum + count, 0);
    } catch (cause) {
      throw new Error(`after kill ${turn} (SEED=${SEED}): ${(cause as Error).message}`, { cause });
    } finally {
      oracle.close();
      await engine.close();
      if (isCopied) rmSync(copy, { recursive: true });
    }
  }
  expect(written, 'batches were written').toBeGreaterThan(KILLS * 5);
  expect(tables, 'tables were made').toBeGreaterThan(0);
  expect(undecided, 'it was killed in the middle of something').toBeGreaterThan(0);
});
