/**
 * actors: what does a message to an actor cost, in this thread and to another?
 *
 * Sketch. In one thread: an envelope (~20 ns), two ends of a queue (~10 ns), a look-up and a call (~20 ns), so some 80 ns
 * with the message itself: 5 to 12 M/s. To another thread a structured clone on both sides: one of a record costs about
 * 1 µs each way, 0.5 M/s by postMessage; a flat array of the same values a fifth of that. An answer from another thread
 * is two wake-ups of an event loop, 20 to 30 µs; ours adds two microtasks.
 *
 * Variants take turns in short rounds, so that a machine that has other things to do disturbs all of them alike.
 */
import { MessageChannel, Worker } from 'node:worker_threads';
import { type Remote as ComlinkRemote, wrap } from 'comlink';
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import { createSystem } from '../src/actors/runtime/index.ts';
import type { Remote, ToThread } from './processes/actor-thread.ts';
import { counter } from './processes/counter-actor.ts';
import { newHistogram, percentilesOf, recordMs } from './support/load.ts';
import type { Bench, Scenario, System } from './support/scenario.ts';

export const actors: Scenario = {
  name: 'actors',
  summary: 'messages to actors in this thread and in another, next to postMessage and comlink',
  run,
};

const ROUNDS = 4;
const BURST = 1_024;

/** Runs for so long; returns how many operations, and notes latencies if it has any. */
type Round = (untilMs: number, latency: (ms: number) => void) => Promise<number>;

interface Variant {
  readonly variant: string;
  readonly system: System;
  readonly inFlight: number | null;
  readonly round: Round;
}

async function run(bench: Bench): Promise<void> {
  const system = createSystem();
  const { port1, port2 } = new MessageChannel();
  const worker = new Worker(new URL('./processes/actor-thread.ts', import.meta.url), {
    workerData: { comlink: port2 },
    transferList: [port2],
  });
  bench.cleanup.defer(async () => {
    await system.stop();
    port1.close();
    await worker.terminate();
  });
  const here = await system.spawn(counter);
  const there = await system.spawn(counter, { thread: 'own' });
  const comlink: ComlinkRemote<Remote> = wrap<Remote>(nodeEndpoint(port1));
  const post = (message: ToThread): void => worker.postMessage(message);
  const answer = (): Promise<void> =>
    new Promise((resolve) => {
      worker.once('message', () => resolve());
      post({ kind: 'total' });
    });

  const variants: readonly Variant[] = [
    {
      variant: 'tell-same',
      system: 'ctlmesh',
      inFlight: null,
      round: tells(
        (by) => here.tell({ kind: 'add', by }),
        () => here.ask({ kind: 'total' }),
      ),
    },
    {
      variant: 'tell-cross',
      system: 'ctlmesh',
      inFlight: null,
      round: tells(
        (by) => there.tell({ kind: 'add', by }),
        () => there.ask({ kind: 'total' }),
        BURST * 8,
      ),
    },
    {
      variant: 'tell-cross',
      system: 'postMessage',
      inFlight: null,
      round: tells((by) => {
        post({ kind: 'add', by });
        return true;
      }, answer),
    },
    {
      variant: 'tell-cross',
      system: 'comlink',
      inFlight: null,
      round: calls((by) => comlink.add(by)),
    },
    { variant: 'ask-cross', system: 'ctlmesh', inFlight: 1, round: asks(() => there.ask({ kind: 'total' })) },
    { variant: 'ask-cross', system: 'postMessage', inFlight: 1, round: asks(answer) },
    { variant: 'ask-cross', system: 'comlink', inFlight: 1, round: asks(() => comlink.total()) },
    { variant: 'ask-same', system: 'ctlmesh', inFlight: 1, round: asks(() => here.ask({ kind: 'total' })) },
  ];
  const results = variants.map((variant) => ({ ...variant, operations: 0, ms: 0, histogram: newHistogram() }));
  const roundMs = (bench.options.seconds * 1000) / ROUNDS;
  for (let round = -1; round < ROUNDS; round++) {
    for (const result of results) {
      bench.progress(`${result.variant}, ${result.system}`);
      const beganMs = performance.now();
      const isWarmUp = round < 0;
      const untilMs = beganMs + (isWarmUp ? roundMs / 4 : roundMs);
      const operations = await result.round(untilMs, (ms) => {
        if (!isWarmUp) recordMs(result.histogram, ms);
      });
      if (isWarmUp) continue;
      result.operations += operations;
      result.ms += performance.now() - beganMs;
    }
  }
  const rate = (variant: string): number => {
    const { operations, ms } = results.find((result) => result.variant === variant) as (typeof results)[number];
    return (operations / ms) * 1000;
  };
  for (const { variant, system: by, inFlight, operations, ms, histogram } of results) {
    bench.row({ variant, system: by, inFlight, opsPerSecond: (operations / ms) * 1000, ...percentilesOf(histogram) });
  }
  bench.note('tells: a burst, and then an ask to know that all were handled; one small field each');
  bench.target({ what: 'tell-same', unit: 'op/s', measured: rate('tell-same'), wanted: 5_000_000, is: 'at least' });
  bench.target({ what: 'tell-cross', unit: 'op/s', measured: rate('tell-cross'), wanted: 1_000_000, is: 'at least' });
  const asked = results.find(({ variant }) => variant === 'ask-cross') as (typeof results)[number];
  bench.target({
    what: 'ask-cross p50',
    unit: 'ms',
    measured: percentilesOf(asked.histogram).p50Ms,
    wanted: 0.04,
    is: 'at most',
  });
}

/** Bursts without an answer each, and one at the end of each burst. */
function tells(tell: (by: number) => boolean, settle: () => Promise<unknown>, burst = BURST): Round {
  return async (untilMs) => {
    let count = 0;
    do {
      for (let i = 0; i < burst; i++) if (tell(1)) count++;
      await settle();
    } while (performance.now() < untilMs);
    return count;
  };
}

/** The same where each has an answer: a burst of them at once. */
function calls(call: (by: number) => Promise<unknown>): Round {
  return async (untilMs) => {
    let count = 0;
    do {
      await Promise.all(Array.from({ length: BURST }, () => call(1)));
      count += BURST;
    } while (performance.now() < untilMs);
    return count;
  };
}

function asks(ask: () => Promise<unknown>): Round {
  return async (untilMs, latency) => {
    let count = 0;
    let beganMs = performance.now();
    do {
      await ask();
      count++;
      const endedMs = performance.now();
      latency(endedMs - beganMs);
      beganMs = endedMs;
    } while (beganMs < untilMs);
    return count;
  };
}
