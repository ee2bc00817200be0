/** Real reflectors of a test, each in a directory of its own below one that goes with it; and waits for what they come to. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, vi } from 'vitest';
import { must } from '../../src/core/base/assert.ts';
import { type RunningReflector, startReflector } from '../../src/reflector/index.ts';
import type { StartReflectorOptions } from '../../src/reflector/options.ts';
import { temporaryDir, timeOf } from '../engine/ldb/ledger.ts';

const WAIT_MS = 60_000;

export class Reflectors {
  #dir: ReturnType<typeof temporaryDir> | undefined;
  #running: RunningReflector[] = [];

  /** For the tests of the file that asks: before each there are none, behind each they are stopped. */
  constructor() {
    // Their waits are for conditions, however slow the machine.
    vi.setConfig({ testTimeout: 2 * WAIT_MS });
    beforeEach(() => {
      this.#dir = temporaryDir();
      this.#running = [];
    });
    afterEach(async () => {
      await this.stop();
      this.#dir?.remove();
    });
  }

  /** The directory of the test in hand. */
  get path(): string {
    return must(this.#dir, 'a test is running').path;
  }

  readonly start = async (
    options: Partial<StartReflectorOptions> & { readonly dir: string },
  ): Promise<RunningReflector> => {
    const reflector = await startReflector({
      // The records of these tests are of 1970.
      nowMs: () => timeOf(0),
      retryDelayMs: 1,
      retryDelayMsMax: 20,
      ...options,
      dir: join(this.path, options.dir),
    });
    this.#running.push(reflector);
    return reflector;
  };

  async stop(): Promise<void> {
    for (const reflector of this.#running) await reflector.stop();
  }
}

export async function until(what: string, holds: () => boolean): Promise<void> {
  const startedMs = performance.now();
  while (!holds()) {
    if (performance.now() - startedMs > WAIT_MS) throw new Error(`${what} never came true`);
    await sleep(2);
  }
}
