/**
 * Anomalies that need no graph: what was read, held against what was appended.
 *
 *   garbage-read   an element that nobody appended
 *   G1a            an element of a transaction that failed (aborted read)
 *   dirty-update   a committed append after an aborted one, in the order that was read
 *   G1b            a list that ends in the midst of another transaction's appends (intermediate read)
 *   lost-append    an acknowledged append that no read has, though one began later
 *   internal       a transaction that contradicts itself
 */
import type { Operation } from '../history/types.ts';
import { type Anomaly, anomaly, type Isolation } from './anomaly.ts';
import { type Append, nameOf, type Read, shown, type Transactions } from './transactions.ts';
import type { Versions } from './versions.ts';

export function directAnomalies(transactions: Transactions, versions: Versions, isolation: Isolation): Anomaly[] {
  const found = transactions.contradictions.map(({ operation, text }) =>
    anomaly('internal', `${nameOf(operation)} ${text}`, [operation]),
  );
  for (const [key, reads] of transactions.reads) {
    const appends = transactions.appends.get(key) ?? new Map<string, Append>();
    const isTold = new Set<string>();
    for (const read of reads) found.push(...ofRead(read, appends, isTold));
    found.push(...dirtyUpdates(key, versions.orders.get(key) ?? [], appends));
  }
  if (isolation !== 'serializable') found.push(...lostAppends(transactions, isolation));
  return found;
}

/** An element that is wrong stays wrong in all later lists: it is told once. */
function ofRead(read: Read, appends: ReadonlyMap<string, Append>, isTold: Set<string>): Anomaly[] {
  const found: Anomaly[] = [];
  const who = `${nameOf(read.operation)} read ${read.key} as ${shown(read.list)}`;
  for (const element of read.list) {
    const append = appends.get(element);
    if (isTold.has(element)) continue;
    if (append === undefined) {
      isTold.add(element);
      found.push(anomaly('garbage-read', `${who}, and nobody appended ${element}`, [read.operation]));
    } else if (append.operation.outcome === 'fail') {
      isTold.add(element);
      const text = `${who}, with ${element} of ${nameOf(append.operation)}, which failed`;
      found.push(anomaly('G1a', text, [append.operation, read.operation]));
    }
  }
  const last = appends.get(read.before?.at(-1) ?? '');
  if (last !== undefined && !last.isLast && last.operation !== read.operation) {
    const text = `${who}: ${nameOf(last.operation)} had appended ${last.element}, and was not done with ${read.key}`;
    found.push(anomaly('G1b', text, [last.operation, read.operation]));
  }
  return found;
}

function dirtyUpdates(key: string, order: readonly string[], appends: ReadonlyMap<string, Append>): Anomaly[] {
  const aborted = order.findIndex((element) => appends.get(element)?.operation.outcome === 'fail');
  if (aborted < 0) return [];
  const dirty = appends.get(order[aborted] ?? '');
  const later = order
    .slice(aborted + 1)
    .map((element) => appends.get(element))
    .find((append) => append?.operation.outcome === 'ok');
  if (dirty === undefined || later === undefined) return [];
  const text =
    `${nameOf(later.operation)} appended ${later.element} to ${key} after ${dirty.element} ` +
    `of ${nameOf(dirty.operation)}, which failed`;
  return [anomaly('dirty-update', text, [dirty.operation, later.operation])];
}

function lostAppends(transactions: Transactions, isolation: Isolation): Anomaly[] {
  const found: Anomaly[] = [];
  for (const [key, appends] of transactions.appends) {
    const reads = transactions.reads.get(key) ?? [];
    const seen = new Set(reads.flatMap(({ list }) => list));
    const byCall = [...reads].sort((x, y) => x.operation.call.at - y.operation.call.at);
    for (const { operation, element } of appends.values()) {
      const { end, outcome, process } = operation;
      if (outcome !== 'ok' || end === undefined || seen.has(element)) continue;
      const isLater = (reader: Operation): boolean =>
        reader.call.at > end.at && (isolation === 'strict-serializable' || reader.process === process);
      const read = byCall.findLast((one) => isLater(one.operation));
      if (read === undefined) continue;
      const text =
        `${nameOf(operation)} appended ${element} to ${key} and was told so; ` +
        `${nameOf(read.operation)} began later and read ${shown(read.list)}, and nobody ever read ${element}`;
      found.push(anomaly('lost-append', text, [operation, read.operation]));
    }
  }
  return found;
}
