/**
 * Tables put together by hand, with right checksums and wrong contents: what a reader must not be fooled by.
 */
import { mask } from '../../../../src/core/base/crc32c.ts';
import { utf8 } from '../../../../src/core/base/bytes.ts';
import { checksum } from '../../../../src/engine/disk/checksum.ts';
import { BlockBuilder } from '../../../../src/engine/lsm/sstable/block-builder.ts';
import {
  type BlockHandle,
  encodeFooter,
  encodeHandle,
  FOOTER_BYTES,
  storeU32,
} from '../../../../src/engine/lsm/sstable/format.ts';
import type { Entry } from './tables.ts';

export interface RawBlock {
  /** The block's bytes, or entries to make them of. */
  readonly content: Uint8Array | readonly Entry[];
  readonly separator: Uint8Array;
  /** Instead of the right one. */
  readonly handle?: Uint8Array;
}

export interface RawTable {
  readonly blocks: readonly RawBlock[];
  /** Behind the data, by the name it has in the metaindex. */
  readonly named?: readonly { readonly name: string; readonly content: Uint8Array; readonly handle?: Uint8Array }[];
  /** Bytes that belong to no block, behind the data. */
  readonly gap?: number;
  readonly compression?: number;
}

export function blockOf(entries: readonly Entry[], restartInterval = 4): Uint8Array {
  const builder = new BlockBuilder(restartInterval);
  for (const { key, value } of entries) builder.add(key, key.length, value, 0, value.length);
  return builder.finish().slice();
}

/** A block as it stands in a file. */
function stored(content: Uint8Array, compression: number): Uint8Array {
  const all = Uint8Array.from([...content, compression, 0, 0, 0, 0]);
  storeU32(all, content.length + 1, mask(checksum(all, 0, content.length + 1)));
  return all;
}

export function rawTable({ blocks, named = [], gap = 0, compression = 0 }: RawTable): Uint8Array {
  const parts: Uint8Array[] = [];
  let offset = 0;
  const put = (content: Uint8Array): BlockHandle => {
    const bytes = stored(content, compression);
    parts.push(bytes);
    offset += bytes.length;
    return { offset: offset - bytes.length, size: content.length };
  };
  const index = new BlockBuilder(1);
  for (const { content, separator, handle } of blocks) {
    const right = put(content instanceof Uint8Array ? content : blockOf(content));
    const bytes = (handle ?? encodeHandle(right)).slice();
    index.add(separator, separator.length, bytes, 0, bytes.length);
  }
  parts.push(new Uint8Array(gap));
  offset += gap;
  const names = new BlockBuilder(16);
  for (const { name, content, handle } of named) {
    const right = put(content);
    const bytes = (handle ?? encodeHandle(right)).slice();
    names.add(utf8(name), name.length, bytes, 0, bytes.length);
  }
  const metaindex = put(names.finish().slice());
  const indexHandle = put(index.finish().slice());
  const footer = new Uint8Array(FOOTER_BYTES);
  encodeFooter(footer, 0, { metaindex, index: indexHandle });
  parts.push(footer);
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
