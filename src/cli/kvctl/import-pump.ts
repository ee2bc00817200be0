/**
 * The pump of an import: rows in, puts out, many under way at once, and a count of leading rows that are stored.
 *
 * Answers may come in any order, so what may be resumed from is not the number of answers but the number of
 * rows before the first unanswered one. Two rows of one key never overlap: the later one must win.
 */
import { ExponentialBackoff, handleWhen, retry } from 'cockatiel';
import { isStoreError } from '../../core/base/errors.ts';
import type { Row } from './import-rows.ts';

export interface Pump {
  readonly rows: AsyncIterable<Row>;
  /** Leading rows not to send: an earlier run has stored them. */
  readonly skip: number;
  readonly inFlightMax: number;
  readonly put: (row: Row) => Promise<unknown>;
  /** After each answer: rows answered in this run, and the count of leading rows stored. */
  readonly onProgress: (sent: number, leading: number) => void;
  readonly signal: AbortSignal;
}

const RETRIES_MAX = 5;

/** Resolves with the number of rows sent. On a failure it stops sending, waits for what is under way, then throws. */
export async function pumpRows(pump: Pump): Promise<number> {
  const underWay = new Set<Promise<void>>();
  const byKey = new Map<string, Promise<void>>();
  const early = new Set<number>();
  let failure: { readonly error: unknown } | undefined;
  let leading = pump.skip;
  let stored = 0;

  const send = async (row: Row, position: number, before: Promise<void> | undefined): Promise<void> => {
    try {
      await before;
      if (failure !== undefined) return;
      await putPatiently(pump, row);
    } catch (error) {
      failure ??= { error };
      return;
    }
    early.add(position);
    while (early.delete(leading)) leading++;
    stored++;
    pump.onProgress(stored, leading);
  };

  let position = 0;
  for await (const row of pump.rows) {
    const at = position++;
    if (at < pump.skip) continue;
    if (failure !== undefined || pump.signal.aborted) break;
    const key = Buffer.from(row.key).toString('latin1');
    const sent: Promise<void> = send(row, at, byKey.get(key)).finally(() => {
      underWay.delete(sent);
      if (byKey.get(key) === sent) byKey.delete(key);
    });
    underWay.add(sent);
    byKey.set(key, sent);
    if (underWay.size >= pump.inFlightMax) await Promise.race(underWay);
  }
  await Promise.all(underWay);
  if (failure !== undefined) throw failure.error;
  pump.signal.throwIfAborted();
  return stored;
}

/** A row is the same however often it is put, so even an unknown outcome may simply be tried again. */
async function putPatiently(pump: Pump, row: Row): Promise<void> {
  const worthAnother = (error: Error): boolean =>
    isStoreError(error) && error.retry !== 'never' && error.code !== 'STORE_FULL' && !pump.signal.aborted;
  const policy = retry(handleWhen(worthAnother), {
    maxAttempts: RETRIES_MAX,
    backoff: new ExponentialBackoff({ initialDelay: 100, maxDelay: 2_000 }),
  });
  await policy.execute(() => pump.put(row));
}
