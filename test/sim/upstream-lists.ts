/**
 * Upstream lists: whom a life of a replica follows, in order of preference, as its configuration might say it.
 */
import type { Chance } from './chance.ts';
import type { Feeder } from './feeder.ts';

const NODES_FIRST = 0.2;

/** Relays first, mostly. The nodes are always among them: not every relay has all that is wanted, or comes back. */
export function drawUpstreams(
  chance: Chance,
  nodes: readonly Feeder[],
  relays: readonly Feeder[],
): readonly (readonly string[])[] {
  const listed = (feeders: readonly Feeder[]): string[][] => {
    const urls = chance.shuffle(feeders).map(({ name }) => `ws://${name}:1`);
    return chance.is(0.5) ? [urls] : urls.map((url) => [url]);
  };
  const own = listed(nodes);
  if (relays.length === 0) return own;
  const above = listed(relays);
  return chance.is(NODES_FIRST) ? [...own, ...above] : [...above, ...own];
}
