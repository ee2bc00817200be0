/** Blocks whose content follows from file and offset: any byte of another block, or of a torn one, is noticed. */

export interface BlockKey {
  readonly fileNumber: number;
  readonly offset: number;
  readonly bytes: number;
}

/** Numbers that differ in their high or low words alone, up to the largest there may be. */
export function blockKey(i: number, bytesMax: number): BlockKey {
  const files = [1, 2, 2 ** 32 + 1, 2 ** 53 - 1, 2 ** 53 - 1 - 2 ** 32];
  const mixed = Math.imul(i + 1, 0x9e3779b1) >>> 0;
  return {
    fileNumber: files[i % files.length] as number,
    offset: Math.floor(i / files.length) * 4096 + (i % 3 === 0 ? 2 ** 39 : 0),
    // Mostly of the usual size, some tiny, some as large as may be.
    bytes: i % 11 === 0 ? mixed % 40 : i % 13 === 0 ? bytesMax - (mixed % 64) : mixed % Math.min(bytesMax, 4096),
  };
}

export function blockOf({ fileNumber, offset, bytes }: BlockKey): Uint8Array {
  const block = new Uint8Array(bytes);
  let state =
    (Math.imul(fileNumber | 0, 31) ^ Math.imul((fileNumber / 2 ** 32) | 0, 17) ^ offset ^ (offset / 2 ** 32)) | 0;
  for (let i = 0; i < bytes; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    block[i] = state >>> 24;
  }
  return block;
}

/** The largest block that a cache of 64 KiB takes. */
export const BLOCK_BYTES_MAX = 7900;
