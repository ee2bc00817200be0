import { expect, test } from 'vitest';
import { ByteWriter } from '../../../src/core/base/bytes.ts';
import { isStoreError } from '../../../src/core/base/errors.ts';
import { toIndex } from '../../../src/core/base/position.ts';
import {
  type Change,
  decodeChanges,
  decodeRecords,
  encodeRecord,
  type LedgerRecord,
  RECORD_HEADER_BYTES,
} from '../../../src/core/model/ledger.ts';
import { below, forSeeds, randomBytes } from '../base/seeded.ts';

const NONE = new Uint8Array(0);

function randomRecord(random: () => number): LedgerRecord {
  const change = (): Change => {
    const key = randomBytes(random, 1 + below(random, 40));
    return random() < 0.4
      ? { kind: 'delete', key, value: NONE, expiryMs: 0 }
      : { kind: 'put', key, value: randomBytes(random, below(random, 300)), expiryMs: below(random, 2) * 2 ** 41 };
  };
  return {
    revision: toIndex(below(random, Number.MAX_SAFE_INTEGER)),
    timeMs: random() * 2 ** 41,
    changes: Array.from({ length: below(random, 6) }, change),
  };
}

test('records come back as they were written, one after the other, the empty ones too', () => {
  forSeeds(200, (random) => {
    const records = Array.from({ length: below(random, 8) }, () => randomRecord(random));
    const writer = new ByteWriter();
    for (const record of records) encodeRecord(writer, record);
    expect(decodeRecords(writer.view())).toEqual(records);
  });
  const writer = new ByteWriter();
  encodeRecord(writer, { revision: toIndex(1), timeMs: 0, changes: [] });
  expect(writer.length).toBe(RECORD_HEADER_BYTES);
});

test('a decoder throws nothing but PROTOCOL_ERROR at bytes that are cut, changed or made up', () => {
  const attempt = (act: () => unknown): void => {
    try {
      act();
    } catch (error) {
      if (!isStoreError(error, 'PROTOCOL_ERROR')) throw error;
    }
  };
  forSeeds(3000, (random) => {
    const writer = new ByteWriter();
    encodeRecord(writer, randomRecord(random));
    const bytes = random() < 0.5 ? writer.take() : randomBytes(random, below(random, 60));
    for (let flips = below(random, 3); flips > 0 && bytes.length > 0; flips--)
      bytes[below(random, bytes.length)] = below(random, 256);
    const cut = bytes.subarray(0, below(random, bytes.length + 1));
    attempt(() => decodeRecords(cut));
    attempt(() => decodeChanges(cut));
  });
});

test('a record cut anywhere inside is refused whole', () => {
  const writer = new ByteWriter();
  const change: Change = { kind: 'put', key: Uint8Array.of(1), value: Uint8Array.of(2, 3), expiryMs: 4 };
  encodeRecord(writer, { revision: toIndex(1), timeMs: 0, changes: [change, { ...change, key: Uint8Array.of(2) }] });
  for (let cut = 1; cut < writer.length; cut++)
    expect(() => decodeRecords(writer.view().subarray(0, cut))).toThrow('cannot read');
});
