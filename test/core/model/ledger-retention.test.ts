import { expect, test } from 'vitest';
import { ByteReader, ByteWriter } from '../../../src/core/base/bytes.ts';
import { LedgerRetention } from '../../../src/core/model/ledger-retention.ts';

const MIB = 1024 * 1024;
const HOUR_MS = 3_600_000;
const NOW_MS = 1_700_000_000_000;

test('what is past the bytes goes, oldest first, in stretches; the newest stretch stays whatever it holds', () => {
  const retention = new LedgerRetention(4 * MIB, HOUR_MS);
  for (let revision = 1; revision <= 100; revision++) {
    retention.add(revision, MIB / 4, NOW_MS + revision);
    // Four records to a stretch, and the open one.
    expect(revision - retention.from + 1).toBeLessThanOrEqual(20);
    expect(revision - retention.from + 1).toBeGreaterThanOrEqual(Math.min(revision, 13));
  }
  const huge = new LedgerRetention(MIB, HOUR_MS);
  huge.add(1, 8 * MIB, NOW_MS);
  expect(huge.from).toBe(1);
  huge.add(2, 8 * MIB, NOW_MS);
  expect(huge.from).toBe(2);
});

test('what is past the age goes, however little it is; what the log has no time for yet is not old', () => {
  const retention = new LedgerRetention(MIB, HOUR_MS);
  retention.add(1, 20, 0);
  retention.add(2, 20, 0);
  retention.add(3, 20, NOW_MS);
  expect(retention.from).toBe(1);
  for (let minute = 1; minute <= 120; minute++) retention.add(3 + minute, 20, NOW_MS + minute * 60_000);
  // An hour back, to a minute or two.
  expect(retention.from).toBeGreaterThanOrEqual(3 + 58);
  expect(retention.from).toBeLessThanOrEqual(3 + 62);
});

test('saved and restored, it goes on as if nothing had happened', () => {
  const one = new LedgerRetention(4 * MIB, HOUR_MS);
  let other = new LedgerRetention(4 * MIB, HOUR_MS);
  for (let revision = 1; revision <= 200; revision++) {
    const bytes = (revision * 7919) % MIB;
    one.add(revision, bytes, NOW_MS + revision * 1_000);
    other.add(revision, bytes, NOW_MS + revision * 1_000);
    if (revision % 7 === 0) {
      const saved = new ByteWriter(64);
      other.save(saved);
      other = new LedgerRetention(4 * MIB, HOUR_MS);
      other.restore(new ByteReader(saved.take()));
    }
    // Where a stretch ends may differ by the restart: never by more than a stretch.
    expect(Math.abs(other.from - one.from)).toBeLessThanOrEqual(8);
  }
});
