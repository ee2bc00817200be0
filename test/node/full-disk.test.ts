/**
 * A node on a disk that fills up: a small tmpfs, so only where this process may mount one.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { pino } from 'pino';
import { type RunningNode, startNode, type StoreError } from '../../src/index.ts';

const MIB = 1024 * 1024;
const dir = mkdtempSync(join(tmpdir(), 'ctlmesh-full-'));
const mount = (): boolean =>
  spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=80m', 'tmpfs', dir], { stdio: 'ignore' }).status === 0;
const unmount = (): boolean => spawnSync('umount', [dir], { stdio: 'ignore' }).status === 0;
const canMount = mount() && unmount();

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer().listen(0, '127.0.0.1', () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe.skipIf(!canMount)('a node whose disk is full (skipped where no tmpfs can be mounted)', () => {
  beforeAll(() => {
    mount();
    return () => {
      unmount();
    };
  });

  test('refuses puts, takes deletes, loses nothing, and recovers by itself', { timeout: 60_000 }, async () => {
    const [client, peer, http] = await freePorts(3);
    const node: RunningNode = await startNode(
      {
        nodes: {
          n1: {
            client: `ws://127.0.0.1:${client}`,
            peer: `ws://127.0.0.1:${peer}`,
            http: `http://127.0.0.1:${http}`,
            dataDir: join(dir, 'n1'),
          },
        },
        memtableBytes: 2 * MIB,
        walSegmentBytes: 4 * MIB,
        ledgerBytes: 4 * MIB,
        ledgerMs: 1_000,
        historyMs: 1_000,
      },
      'n1',
      { logger: pino({ level: 'silent' }) },
    );
    onTestFinished(() => node.stop());
    const value = Buffer.alloc(20_000);
    for (let i = 0; i < value.length; i++) value[i] = Math.imul(i, 2_654_435_761) >>> 13;
    const valueOf = (n: number): Buffer => {
      const own = Buffer.from(value);
      for (let i = 0; i < own.length; i += 4)
        own.writeUInt32LE((own.readUInt32LE(i) ^ Math.imul(n + i, 40_503)) >>> 0, i);
      return own;
    };

    const acked: number[] = [];
    const refused = new Set<string>();
    for (let i = 0; i < 6_000 && refused.size === 0; i += 20) {
      const batch = Array.from({ length: 20 }, (_, j) => i + j);
      const outcomes = await Promise.allSettled(
        batch.map((n) => node.put(`k${n}`, valueOf(n), { deadlineMs: 10_000 })),
      );
      for (const [j, outcome] of outcomes.entries()) {
        if (outcome.status === 'fulfilled') acked.push(batch[j] as number);
        else refused.add((outcome.reason as StoreError).code);
      }
    }
    expect([...refused]).toEqual(['STORE_FULL']);
    expect(acked.length).toBeGreaterThan(500);
    for (const n of acked) expect(node.getSync(`k${n}`)?.value, `k${n}`).toEqual(new Uint8Array(valueOf(n)));

    const kept = acked.slice(0, 10);
    for (const n of acked.slice(10)) await node.delete(`k${n}`, { deadlineMs: 10_000 });
    const again = (): Promise<boolean> =>
      node.put('again', 'x', { deadlineMs: 2_000 }).then(
        () => true,
        (error: StoreError) => {
          expect(error.code).toBe('STORE_FULL');
          return false;
        },
      );
    await expect.poll(again, { timeout: 30_000, interval: 200 }).toBe(true);
    for (const n of kept) expect(node.getSync(`k${n}`)?.value).toEqual(new Uint8Array(valueOf(n)));
    expect(node.rangeSync({ prefix: 'k' })).toHaveLength(kept.length);
  });
});
