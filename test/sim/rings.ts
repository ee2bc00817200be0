/**
 * The rings of a node, used again by its next life and by the next run: they are large, and mostly untouched.
 */
import { createRing } from '../../src/actors/runtime/ring.ts';
import { RING_BYTES } from '../../src/actors/topology.ts';

export type Rings = Readonly<Record<keyof typeof RING_BYTES, SharedArrayBuffer>>;

const pool: Rings[] = [];

/** Empty rings, as a node that starts has them. */
export function takeRings(): Rings {
  const rings =
    pool.pop() ??
    (Object.fromEntries(Object.entries(RING_BYTES).map(([name, bytes]) => [name, createRing(bytes)])) as Rings);
  for (const ring of Object.values(rings)) new Int32Array(ring, 0, 4).fill(0);
  return rings;
}

/** Nobody writes to them any more. */
export function giveRings(rings: Rings): void {
  pool.push(rings);
}
