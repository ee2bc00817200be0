/** A thread of the cache's torture: gets blocks, puts those that are missing, and looks at each byte it is given. */
import { BlockCache } from '../../../../src/engine/lsm/cache/block-cache.ts';
import { work } from '../shared/crew.ts';
import { BLOCK_BYTES_MAX, blockKey, blockOf } from './blocks.ts';

export interface CacheArgs {
  readonly memory: SharedArrayBuffer;
  readonly keys: number;
}

work((args, seat) => {
  const { memory, keys } = args as CacheArgs;
  const cache = new BlockCache(memory);
  const all = Array.from({ length: keys }, (_, i) => blockKey(i, BLOCK_BYTES_MAX));
  const blocks = all.map((key) => blockOf(key));
  let state = seat + 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    // Half of the gets go to a few keys, so that there are hits, second chances and evictions side by side.
    const i = (state >>> 8) % (state < 0 ? keys : 12);
    const { fileNumber, offset } = all[i] as (typeof all)[number];
    const expected = blocks[i] as Uint8Array;
    const found = cache.get(fileNumber, offset);
    if (found === undefined) cache.put(fileNumber, offset, expected);
    else if (Buffer.compare(found, expected) !== 0) return `block ${i} of ${found.length} bytes is not what was put`;
    return undefined;
  };
});
