/** A reading thread of the arena reuse test: in each pinned version it must find that version's memtable, whole. */
import { Control } from '../../../src/engine/lsm/shared/control.ts';
import { Pins } from '../../../src/engine/lsm/shared/pins.ts';
import { Skiplist } from '../../../src/engine/lsm/skiplist.ts';
import { work } from './shared/crew.ts';

export interface ReuseArgs {
  readonly control: SharedArrayBuffer;
  readonly pins: SharedArrayBuffer;
  readonly arenas: readonly SharedArrayBuffer[];
}

/** Memtables differ in their keys: key `i` of a generation is there when i is below its count. */
export const keysOf = (generation: number): number => 20 + ((generation * 13) % 40);
export const keyAt = (i: number): Uint8Array => Uint8Array.of(0x6b, 0x65, 0x79, i, 0);
export const valueOf = (generation: number): Uint8Array =>
  new Uint8Array(Float64Array.of(generation, generation).buffer);

const TOP = Number.MAX_SAFE_INTEGER;

work((args, seat) => {
  const { control, pins, arenas } = args as ReuseArgs;
  const slot = new Pins(pins, new Control(control)).claim();
  // Attached once: the same objects see each memtable that comes to lie there.
  const lists = arenas.map((arena) => new Skiplist(arena));
  return (round) => {
    const generation = slot.enter();
    const list = lists[generation % lists.length] as Skiplist;
    const count = keysOf(generation);
    const i = (round * 7 + seat) % 60;
    const found = list.find(keyAt(i), TOP);
    if ((found !== 0) !== i < count) return `key ${i} of generation ${generation}: ${found === 0 ? 'gone' : 'there'}`;
    if (found !== 0 && Buffer.compare(list.valueCopy(found), valueOf(generation)) !== 0) {
      return `key ${i} of generation ${generation} is of another`;
    }
    if (round % 16 === 0) {
      let keys = 0;
      for (let node = list.first(); node !== 0 && keys <= count; node = list.next(node)) {
        keys++;
        const revision = list.revision(list.versionAt(node, TOP));
        if (revision !== generation) return `a key of revision ${revision} in generation ${generation}`;
      }
      if (keys !== count) return `${keys} keys in generation ${generation}, not ${count}`;
    }
    slot.leave();
    return undefined;
  };
});
