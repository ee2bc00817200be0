/**
 * Crew: the same file run in several real threads at once. Each says that it is there, works until the words say
 * "stop", and hands back one message.
 */
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

export interface Report {
  readonly rounds: number;
  readonly faults: readonly string[];
}

interface CrewData {
  readonly crew: SharedArrayBuffer;
  readonly seat: number;
  readonly args: unknown;
}

/** Words of the crew: how many are there · stop · from here on, the rounds of each seat. */
const HERE = 0;
const STOP = 1;
const COUNTS = 2;

const START_MS = 20_000;
const INT32_MAX = 0x7fff_ffff;
const FAULT = -1;

export interface Crew {
  /**
   * Whether each of them has done so many rounds and the test itself is far enough, however slow the machine is; and
   * at once when one has met a fault.
   */
  isDone(rounds: number, isEnough: boolean): boolean;
  /** Ends them and gives what they report. */
  finish(): Promise<Report[]>;
}

export async function startCrew(url: URL, count: number, args: unknown): Promise<Crew> {
  const crew = new SharedArrayBuffer(256);
  const words = new Int32Array(crew);
  const workers = Array.from(
    { length: count },
    (_, seat) => new Worker(url, { workerData: { crew, seat, args } satisfies CrewData }),
  );
  const reports = workers.map(async (worker): Promise<Report> => {
    const [report] = await once(worker, 'message');
    return report as Report;
  });
  // A worker that fails before the crew is there must not go unheard, nor be an unhandled rejection.
  let failure: unknown;
  for (const report of reports) report.catch((error: unknown) => (failure ??= error));
  const until = performance.now() + START_MS;
  while (Atomics.load(words, HERE) < count && failure === undefined && performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  const finish = async (): Promise<Report[]> => {
    Atomics.store(words, STOP, 1);
    try {
      return await Promise.all(reports);
    } finally {
      await Promise.all(workers.map((worker) => worker.terminate()));
    }
  };
  if (failure !== undefined || Atomics.load(words, HERE) < count) {
    await Promise.all(workers.map((worker) => worker.terminate()));
    throw new Error('the crew did not come', { cause: failure });
  }
  const isDone = (rounds: number, isEnough: boolean): boolean => {
    let least = INT32_MAX;
    for (let seat = 0; seat < count; seat++) {
      const done = Atomics.load(words, COUNTS + seat);
      if (done === FAULT) return true;
      least = Math.min(least, done);
    }
    return isEnough && least >= rounds;
  };
  return { isDone, finish };
}

/** What a worker's file calls: `round` again and again until the crew is stopped; it returns a fault or nothing. */
export function work(begin: (args: unknown, seat: number) => (round: number) => string | undefined): void {
  if (isMainThread) return;
  const { crew, seat, args } = workerData as CrewData;
  const words = new Int32Array(crew);
  const round = begin(args, seat);
  Atomics.add(words, HERE, 1);
  let rounds = 0;
  let fault: string | undefined;
  // In bunches: a shared count per round would be what the test spends its time on.
  while (fault === undefined && Atomics.load(words, STOP) === 0) {
    try {
      for (let i = 0; i < 64 && fault === undefined; i++) fault = round(rounds++);
    } catch (error) {
      fault = String(error);
    }
    Atomics.store(words, COUNTS + seat, fault === undefined ? Math.min(rounds, INT32_MAX) : FAULT);
  }
  parentPort?.postMessage({ rounds, faults: fault === undefined ? [] : [fault] } satisfies Report);
}
