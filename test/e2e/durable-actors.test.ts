/**
 * Durable actors and a singleton on three real nodes under load: the host stands still for longer than its lease, and goes
 * on; then the next one is killed. What was counted is exact, and whoever acts behind a fence acts in the order of tokens.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { connect } from '../../src/client/index.ts';
import { isStoreError } from '../../src/core/base/errors.ts';
import { freePorts, until } from '../support/cluster-process.ts';
import type { HostAsked, HostSaid } from './fixtures/actor-host.ts';

/** A node's process, as the test speaks to it. */
class Host {
  readonly child: ChildProcess;
  readonly up: Promise<void>;
  readonly #open = new Map<
    number,
    { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void }
  >();
  #calls = 0;
  isDead = false;

  constructor(...args: readonly string[]) {
    this.child = fork(join(import.meta.dirname, 'fixtures/actor-host.ts'), args);
    this.up = new Promise((resolve) => {
      this.child.on('message', (said: HostSaid) => {
        if (said.kind === 'up') resolve();
        else {
          const open = this.#open.get(said.call);
          this.#open.delete(said.call);
          if (said.kind === 'answer') open?.resolve(said.value);
          else open?.reject(new Error(said.code));
        }
      });
    });
    this.child.on('exit', () => {
      this.isDead = true;
      for (const { reject } of this.#open.values()) reject(new Error('its process is gone'));
      this.#open.clear();
    });
  }

  ask(asked: { readonly kind: 'add' | 'total'; readonly id: string } | { readonly kind: 'ticks' }): Promise<number> {
    return new Promise((resolve, reject) => {
      const call = ++this.#calls;
      this.#open.set(call, { resolve: (value) => resolve(value as number), reject });
      this.child.send({ ...asked, call } satisfies HostAsked);
    });
  }
}

const IDS = ['a', 'b', 'c'];

test('hosts that stand still, and hosts that are killed', { timeout: 180_000 }, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'ctlmesh-durable-'));
  const ports = await freePorts(9);
  const hosts = ['n1', 'n2', 'n3'].map((id) => new Host(dir, ports.join(','), id));
  const [n1, n2, n3] = hosts as [Host, Host, Host];
  onTestFinished(() => {
    for (const { child } of hosts) child.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  });
  await Promise.all(hosts.map(({ up }) => up));

  // Who asks first has it: a lives on n1, b on n2, c on n3.
  const totals = new Map<string, number[]>();
  for (const [i, id] of IDS.entries()) totals.set(id, [(await hosts[i]?.ask({ kind: 'add', id })) ?? 0]);
  const failures: string[] = [];
  let inDoubt = 0;
  let isOver = false;
  const load = async (host: Host, id: string): Promise<void> => {
    while (!isOver) {
      try {
        totals.get(id)?.push(await host.ask({ kind: 'add', id }));
      } catch (error) {
        if (!host.isDead) failures.push(String(error));
        else inDoubt++;
        return;
      }
    }
  };
  const loads = hosts.flatMap((host) => IDS.map((id) => load(host, id)));
  const answered = (id: string): number => totals.get(id)?.length ?? 0;
  const goesOn = async (what: string): Promise<void> => {
    const before = new Map(IDS.map((id) => [id, answered(id)]));
    await until(what, () => IDS.every((id) => answered(id) > (before.get(id) ?? 0) + 5));
  };
  await goesOn('all counters count');

  // What is in the log of the singleton, in order.
  const client = await connect([`ws://127.0.0.1:${ports[6]}`]);
  onTestFinished(() => client.close());
  const tokens: number[] = [];
  const watching = (async () => {
    for await (const change of client.watch({ prefix: 'ticker' })) {
      if (change.kind === 'put') tokens.push(Number(change.text()));
    }
  })().catch((error: unknown) => {
    if (!isStoreError(error, 'CLOSED')) throw error;
  });

  n1.child.kill('SIGSTOP');
  await goesOn('all counters count without n1');
  n1.child.kill('SIGCONT');
  n2.child.kill('SIGKILL');
  await goesOn('all counters count without n2');
  expect(await n1.ask({ kind: 'ticks' })).toBeGreaterThan(0);
  isOver = true;
  await Promise.all(loads);

  expect(failures).toEqual([]);
  let counted = 0;
  let told = 0;
  for (const id of IDS) {
    const seen = totals.get(id) ?? [];
    expect(new Set(seen).size, id).toBe(seen.length);
    const total = await n1.ask({ kind: 'total', id });
    expect(await n3.ask({ kind: 'total', id })).toBe(total);
    expect(Math.max(...seen)).toBeLessThanOrEqual(total);
    counted += total;
    told += seen.length;
  }
  // What was asked through n2 when it died may have been counted, and nothing else.
  expect(inDoubt).toBeLessThanOrEqual(IDS.length);
  expect(counted).toBeGreaterThanOrEqual(told);
  expect(counted).toBeLessThanOrEqual(told + inDoubt);
  expect(tokens.length).toBeGreaterThan(0);
  expect(tokens).toEqual(tokens.toSorted((a, b) => a - b));
  await client.close();
  await watching;
});
