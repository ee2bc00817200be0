/**
 * Torture's parts that need no cluster: what an error says of an operation, how the history is kept and judged, and that
 * chaos gives back what it takes. test/e2e/torture.test.ts runs all of it on real nodes.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { Chaos, type ChaosCluster } from '../../scripts/torture/chaos.ts';
import { HistoryFile, judge, type Judgement, readHistory, worst } from '../../scripts/torture/history-file.ts';
import { outcomeOf } from '../../scripts/torture/workload.ts';
import { StoreError } from '../../src/client/index.ts';
import { HistoryRecorder } from '../../src/testing/index.ts';

const dir = mkdtempSync(join(tmpdir(), 'ctlmesh-torture-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('outcomes', () => {
  test.each([
    ['UNAVAILABLE', 'fail'],
    ['DEADLINE_EXCEEDED', 'fail'],
    ['OUTCOME_UNKNOWN', 'info'],
    ['SESSION_EXPIRED', 'info'],
    ['INTERNAL', undefined],
    ['TABLE_CORRUPT', undefined],
    ['DIVERGED', undefined],
  ] as const)('%s is %s', (code, outcome) => expect(outcomeOf(new StoreError(code, 'so it is'))).toBe(outcome));

  test('an error that is not of the store has no place', () => expect(outcomeOf(new TypeError('no'))).toBeUndefined());
});

describe('the history', () => {
  const judged = async (name: string, record: (recorder: HistoryRecorder) => void): Promise<readonly Judgement[]> => {
    const file = new HistoryFile(join(dir, 'deep', `${name}.jsonl`));
    record(new HistoryRecorder({ write: (event) => file.write(event) }));
    file.close();
    return judge(await readHistory(file.path), () => {});
  };

  /** Beside whatever a test is about, so that both checkers have something to judge. */
  const someList = (recorder: HistoryRecorder): void => {
    recorder.invoke('append', { key: 'l/0/0', value: 1 }).ok();
    recorder.invoke('read', { key: 'l/0/0' }).ok([1]);
  };

  test('what is written is what is judged, whatever its length', async () => {
    const count = 5_000;
    const judgements = await judged('long', (recorder) => {
      someList(recorder);
      for (let n = 1; n <= count; n++) {
        recorder.invoke('write', { key: 'k', value: n }).ok();
        recorder.invoke('read', { key: 'k' }).ok(n);
      }
    });
    expect(judgements).toEqual([
      { verdict: 'ok', text: `${count * 2 + 2} operations on 2 keys are linearizable` },
      { verdict: 'ok', text: '2 transactions on 1 lists are strictly serializable' },
    ]);
    expect(worst(judgements)).toBe('ok');
  });

  test('a lost write is a violation, and shown', async () => {
    const judgements = await judged('lost', (recorder) => {
      someList(recorder);
      recorder.invoke('write', { key: 'k', value: 1 }).ok();
      recorder.invoke('write', { key: 'k', value: 2 }).ok();
      recorder.invoke('read', { key: 'k' }).ok(1);
    });
    expect(judgements.map(({ verdict }) => verdict)).toEqual(['violation', 'ok']);
    expect(worst(judgements)).toBe('violation');
    expect(judgements[0]?.text).toContain('NOT linearizable');
    expect(judgements[0]?.text).toContain('read 1');
  });

  test('a lost append is a violation to both, and named', async () => {
    const judgements = await judged('lost-append', (recorder) => {
      someList(recorder);
      recorder.invoke('append', { key: 'l/0/0', value: 2 }).ok();
      recorder.invoke('read', { key: 'l/0/0' }).ok([1]);
    });
    expect(judgements.map(({ verdict }) => verdict)).toEqual(['violation', 'violation']);
    expect(judgements[1]?.text).toContain('NOT strictly serializable');
    expect(judgements[1]?.text).toMatch(/G-single|lost/);
  });

  test('a write of unknown outcome may have happened; a failed one may not', async () => {
    const open = await judged('open', (recorder) => {
      someList(recorder);
      recorder.invoke('write', { key: 'k', value: 1 }).info();
      recorder.invoke('read', { key: 'k' }).ok(1);
    });
    expect(worst(open)).toBe('ok');
    const failed = await judged('failed', (recorder) => {
      someList(recorder);
      recorder.invoke('write', { key: 'k', value: 1 }).fail();
      recorder.invoke('read', { key: 'k' }).ok(1);
    });
    expect(worst(failed)).toBe('violation');
  });

  test('a run that saw nothing proves nothing', async () => {
    expect(worst(await judged('empty', () => {}))).toBe('unknown');
  });
});

describe('chaos', () => {
  /** Nodes that are up as soon as they are started; n1 leads while it is up. */
  class FakeCluster {
    readonly ids = ['n1', 'n2', 'n3'];
    readonly up = new Set(this.ids);
    readonly signals: string[] = [];
    killed = 0;

    isRunning(id: string): boolean {
      return this.up.has(id);
    }

    kill(...ids: readonly string[]): Promise<void> {
      for (const id of ids) this.up.delete(id);
      this.killed += ids.length;
      return Promise.resolve();
    }

    readiness(id: string): Promise<{ ok: boolean; leader: string | undefined }> {
      const leader = this.ids.find((one) => this.up.has(one));
      return Promise.resolve(this.up.has(id) ? { ok: true, leader } : { ok: false, leader: undefined });
    }

    run(id: string): unknown {
      return {
        output: `last words of ${id}`,
        child: { kill: (signal: string) => this.signals.push(`${id} ${signal}`) },
      };
    }

    spawn(id: string): unknown {
      this.up.add(id);
      return undefined;
    }
  }

  const world = (
    options: { readonly kills?: number; readonly withPauses?: boolean; readonly check?: () => void } = {},
  ): { cluster: FakeCluster; chaos: Chaos } => {
    const cluster = new FakeCluster();
    let acked = 0;
    const { kills = 3, withPauses = false, check = () => {} } = options;
    const chaos = new Chaos({
      cluster: cluster as unknown as ChaosCluster,
      kills,
      seed: 1,
      withPauses,
      acked: () => (acked += 10),
      check,
    });
    return { cluster, chaos };
  };

  test('kills as many as it was told, and ends with every node up and awake', async () => {
    const { cluster, chaos } = world({ kills: 8, withPauses: true });
    await chaos.run();
    expect([chaos.kills, cluster.killed]).toEqual([8, 8]);
    expect([...cluster.up].sort()).toEqual(cluster.ids);
    expect(chaos.leaderKills).toBeGreaterThan(0);
    const told = (signal: string): number => cluster.signals.filter((one) => one.endsWith(signal)).length;
    expect(told('SIGCONT')).toBe(told('SIGSTOP'));
    expect(told('SIGSTOP')).toBe(chaos.pauses);
    expect(chaos.pauses).toBeGreaterThan(0);
  });

  test('a node that ends by itself ends the run, with its last words', async () => {
    const { cluster, chaos } = world({ check: () => void cluster.up.delete('n2') });
    await expect(chaos.run()).rejects.toThrow(/^n2 ended by itself:\nlast words of n2$/);
  });

  test('what goes wrong elsewhere ends the run', async () => {
    const { chaos } = world({
      check: () => {
        throw new Error('a caller met DIVERGED');
      },
    });
    await expect(chaos.run()).rejects.toThrow('a caller met DIVERGED');
  });

  test('when it is stopped, it still gives everything back', async () => {
    const { cluster, chaos } = world({ kills: 1_000 });
    const run = chaos.run();
    await expect.poll(() => chaos.kills, { timeout: 20_000 }).toBeGreaterThan(1);
    chaos.stop();
    await run;
    expect(chaos.kills).toBeLessThan(1_000);
    expect([...cluster.up].sort()).toEqual(cluster.ids);
  });
});
