/**
 * Stage keys: where in the users' keyspace lies what staged delivery is made of, behind the byte of control data.
 *
 *   ff 's' name                                            a stage                                    (stages.ts)
 *   ff 'u' stage u64 BE | length u16 BE | key | revision u64 BE     what `key` was before that revision   (staging.ts)
 *   ff 'h' key                                             in replicas only: what is held back of `key`   (engine/ldb/showing.ts)
 *
 * The rows of one key stand together, the oldest first; those of one stage too.
 */
import { ByteReader, ByteWriter, text, utf8 } from '../../base/bytes.ts';
import { CONTROL_BYTE } from '../limits.ts';

const STAGE_BYTE = 0x73;
const UNDO_BYTE = 0x75;
const HELD_BYTE = 0x68;
export const STAGES_PREFIX: Uint8Array = Uint8Array.of(CONTROL_BYTE, STAGE_BYTE);
export const UNDO_PREFIX: Uint8Array = Uint8Array.of(CONTROL_BYTE, UNDO_BYTE);
export const HELD_PREFIX: Uint8Array = Uint8Array.of(CONTROL_BYTE, HELD_BYTE);

const TWO_32 = 0x1_0000_0000;
const UNDO_HEAD_BYTES = 12;
const REVISION_BYTES = 8;

const isOf = (key: Uint8Array, byte: number): boolean => key[0] === CONTROL_BYTE && key[1] === byte;
export const isStageKey = (key: Uint8Array): boolean => isOf(key, STAGE_BYTE);
export const isUndoKey = (key: Uint8Array): boolean => isOf(key, UNDO_BYTE);
export const isHeldKey = (key: Uint8Array): boolean => isOf(key, HELD_BYTE);

export const stageKey = (name: string): Uint8Array => new ByteWriter(80).raw(STAGES_PREFIX).raw(utf8(name)).take();
export const stageOfKey = (key: Uint8Array): string => text(key.subarray(STAGES_PREFIX.length));

export const heldKey = (key: Uint8Array): Uint8Array => new ByteWriter(key.length + 2).raw(HELD_PREFIX).raw(key).take();
export const keyOfHeld = (key: Uint8Array): Uint8Array => key.subarray(HELD_PREFIX.length);

/** What all undo rows of a stage begin with. */
export const undoPrefix = (stage: number): Uint8Array => bigEndian(new ByteWriter(16).raw(UNDO_PREFIX), stage).take();

export const undoKey = (stage: number, key: Uint8Array, revision: number): Uint8Array =>
  bigEndian(undoHead(stage, key), revision).take();

/** Behind all undo rows of `key`. */
export const undoEnd = (stage: number, key: Uint8Array): Uint8Array =>
  undoHead(stage, key).u32(0xffff_ffff).u32(0xffff_ffff).take();

function undoHead(stage: number, key: Uint8Array): ByteWriter {
  const writer = bigEndian(new ByteWriter(key.length + 32).raw(UNDO_PREFIX), stage);
  return writer
    .u8(key.length >>> 8)
    .u8(key.length & 0xff)
    .raw(key);
}

export interface Undo {
  readonly stage: number;
  readonly key: Uint8Array;
  readonly revision: number;
}

/** Throws PROTOCOL_ERROR. `key` is a view. */
export function undoOfKey(bytes: Uint8Array): Undo {
  const reader = new ByteReader(bytes, UNDO_PREFIX.length);
  const stage = readBigEndian(reader.raw(REVISION_BYTES));
  const length = reader.u8() * 256 + reader.u8();
  const key = reader.raw(length);
  const revision = readBigEndian(reader.raw(REVISION_BYTES));
  reader.end();
  return { stage, key, revision };
}

/** The key of an undo row, without a look at the rest of it. */
export const keyOfUndo = (bytes: Uint8Array): Uint8Array =>
  bytes.subarray(UNDO_HEAD_BYTES, bytes.length - REVISION_BYTES);

function bigEndian(writer: ByteWriter, value: number): ByteWriter {
  const halves = [Math.floor(value / TWO_32), value >>> 0];
  for (const half of halves) {
    writer
      .u8(half >>> 24)
      .u8((half >>> 16) & 0xff)
      .u8((half >>> 8) & 0xff)
      .u8(half & 0xff);
  }
  return writer;
}

function readBigEndian(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return view.getUint32(0) * TWO_32 + view.getUint32(4);
}
