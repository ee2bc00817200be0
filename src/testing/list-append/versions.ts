/**
 * Versions: the order of a key's appends, as the lists that were read tell it.
 *
 * A list only grows, so of all lists that were ever read of a key each must be a beginning of the longest. Where one is
 * not, the store has had two pasts.
 */
import { type Anomaly, anomaly } from './anomaly.ts';
import { nameOf, type Read, shown, type Transactions } from './transactions.ts';

export interface Versions {
  /** By key: the longest list. */
  readonly orders: ReadonlyMap<string, readonly string[]>;
  /** Reads that agree with their key's order. */
  readonly reads: readonly Read[];
  readonly anomalies: readonly Anomaly[];
}

export function versionsOf(transactions: Transactions): Versions {
  const orders = new Map<string, readonly string[]>();
  const agreeing: Read[] = [];
  const anomalies: Anomaly[] = [];
  for (const [key, reads] of transactions.reads) {
    const longest = reads.reduce((best, read) => (read.list.length > best.list.length ? read : best));
    orders.set(key, [...new Set(longest.list)]);
    for (const read of reads) {
      if (new Set(read.list).size < read.list.length) {
        const twice = read.list.find((element, i) => read.list.indexOf(element, i + 1) >= 0);
        const text = `${nameOf(read.operation)} read ${key} as ${shown(read.list)}, with ${twice} in it twice`;
        anomalies.push(anomaly('duplicate-elements', text, [read.operation]));
        continue;
      }
      const differs = read.list.findIndex((element, i) => element !== longest.list[i]);
      if (differs >= 0) {
        const text =
          `${nameOf(read.operation)} read ${key} as ${shown(read.list)}, and ${nameOf(longest.operation)} as ` +
          `${shown(longest.list)}: at place ${differs + 1} one has ${read.list[differs]}, the other ${longest.list[differs]}`;
        anomalies.push(anomaly('incompatible-order', text, [read.operation, longest.operation]));
        continue;
      }
      agreeing.push(read);
    }
  }
  return { orders, reads: agreeing, anomalies };
}
