import { expect, test } from 'vitest';
import { Control, createControl } from '../../../src/engine/lsm/shared/control.ts';
import { createPins, Pins } from '../../../src/engine/lsm/shared/pins.ts';
import { KIND_PUT, Skiplist } from '../../../src/engine/lsm/skiplist.ts';
import { keyAt, keysOf, type ReuseArgs, valueOf } from './reuse-reader.ts';
import { startCrew } from './shared/crew.ts';

const ARENAS = 3;

test('memtables take turns in a few arenas, and a reader that pins its version never meets the next one', async () => {
  const control = new Control(createControl());
  const pinsMemory = createPins();
  const pins = new Pins(pinsMemory, control);
  const lists = Array.from({ length: ARENAS }, () => Skiplist.create(16 * 1024));
  const fill = (generation: number): void => {
    const list = lists[generation % ARENAS] as Skiplist;
    list.reset();
    // In another order each time, so that towers and index differ too.
    const count = keysOf(generation);
    for (let i = 0; i < count; i++) {
      list.insert(keyAt((i * 61 + generation) % count), generation, KIND_PUT, valueOf(generation), 0);
    }
    control.currentVersion = generation;
  };
  fill(1);
  const args: ReuseArgs = {
    control: control.memory,
    pins: pinsMemory,
    arenas: lists.map((list) => list.buffer),
  };
  const crew = await startCrew(new URL('./reuse-reader.ts', import.meta.url), 2, args);
  let generation = 1;
  while (!crew.isDone(100_000, generation > 100)) {
    // The arena's last memtable was of this version; whoever pins it, or an older one, may be reading it.
    const last = generation + 1 - ARENAS;
    if ((pins.oldest() ?? generation) > last) fill(++generation);
  }
  const reports = await crew.finish();
  expect(reports.flatMap(({ faults }) => faults)).toEqual([]);
  expect(generation, 'arenas were used again all the while').toBeGreaterThan(100);
}, 60_000);
