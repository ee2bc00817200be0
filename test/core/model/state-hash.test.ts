import { expect, test } from 'vitest';
import { ByteReader, ByteWriter } from '../../../src/core/base/bytes.ts';
import { crc32c } from '../../../src/core/base/crc32c.ts';
import { isStoreError } from '../../../src/core/base/errors.ts';
import { toIndex } from '../../../src/core/base/position.ts';
import { Machine } from '../../../src/core/model/machine.ts';
import { StateHash } from '../../../src/core/model/state-hash.ts';
import { below, forSeeds, pick, randomBytes } from '../base/seeded.ts';
import { PlainState } from '../../support/plain-state.ts';
import { encodeCommandHeader, stampTime } from '../../../src/core/model/commands.ts';

const ORIGIN = 7;
const newMachine = (): Machine => new Machine(new PlainState(new SharedArrayBuffer(1024 * 1024)), ORIGIN);

/** A put, a delete, a no-op, or bytes that are no command. */
function randomEntry(random: () => number, i: number): Uint8Array {
  const kind = pick(random, ['put', 'put', 'delete', 'none', 'junk'] as const);
  if (kind === 'none') return new Uint8Array(0);
  if (kind === 'junk') return randomBytes(random, 1 + below(random, 20)).fill(0, 0, 1);
  const writer = new ByteWriter(64);
  encodeCommandHeader(writer, { kind, origin: pick(random, [ORIGIN, 1]), token: 1 });
  writer.varint(0).varint(0).varint(0);
  if (kind === 'put') writer.varint(pick(random, [0, 0, 50]));
  writer.blob(new Uint8Array([below(random, 8)]));
  if (kind === 'put') writer.blob(randomBytes(random, below(random, 40)));
  const data = writer.take();
  stampTime(data, 1_000 + 10 * i);
  return data;
}

test('does not depend on how the bytes are cut', () => {
  forSeeds(50, (random) => {
    const bytes = randomBytes(random, below(random, 500));
    const hash = new StateHash();
    for (let at = 0; at < bytes.length; ) {
      const to = Math.min(bytes.length, at + below(random, 60));
      hash.fold(bytes, at, to);
      at = to;
    }
    expect(hash.value).toBe(crc32c(bytes));
  });
});

test('private rows change it, and not the ledger’s', () => {
  const [a, b] = [new StateHash(), new StateHash()];
  const bytes = Uint8Array.of(1, 2, 3);
  for (const hash of [a, b]) hash.fold(bytes, 0, 3);
  expect(a.value).toBe(a.ledger);
  a.foldPrivate(Uint8Array.of(7), Uint8Array.of(8));
  expect(a.value).not.toBe(b.value);
  expect(a.ledger).toBe(b.ledger);
  // Wherever it comes between the records.
  b.fold(bytes, 0, 3);
  b.foldPrivate(Uint8Array.of(7), Uint8Array.of(8));
  a.fold(bytes, 0, 3);
  expect([a.value, a.ledger]).toEqual([b.value, b.ledger]);
  const again = new StateHash();
  again.restore(a.ledger, a.hidden);
  for (const hash of [a, again]) hash.foldPrivate(Uint8Array.of(7), new Uint8Array(0));
  expect(again.value).toBe(a.value);
});

test('of a machine: of all its records, whenever they are taken, and over restarts', () => {
  forSeeds(30, (random) => {
    const entries = Array.from({ length: 100 }, (_, i) => randomEntry(random, i));
    const all = newMachine();
    for (const [i, data] of entries.entries()) all.apply(toIndex(i + 1), data);
    const expected = all.stateHash();
    expect(expected).toBe(crc32c(all.records.view()));

    const table = new PlainState(new SharedArrayBuffer(1024 * 1024));
    let machine = new Machine(table, ORIGIN);
    for (const [i, data] of entries.entries()) {
      machine.apply(toIndex(i + 1), data);
      if (random() < 0.2) machine.stateHash();
      if (random() < 0.3) machine.resetRecords();
      if (random() > 0.1) continue;
      const saved = new ByteWriter(64);
      machine.save(saved);
      const again = new Machine(table, ORIGIN);
      again.restore(new ByteReader(saved.take()));
      for (const { key, expiryMs, revision } of table.expiries.values()) again.remember(key, expiryMs, revision);
      expect(again.stateHash()).toBe(machine.stateHash());
      machine = again;
    }
    expect(machine.stateHash()).toBe(expected);
  });
});

test('once it is another one it stays another one', () => {
  forSeeds(30, (random) => {
    const entries = Array.from({ length: 40 }, (_, i) => randomEntry(random, i));
    const [one, other] = [newMachine(), newMachine()];
    // The same place of the log, another byte of the value: what a damaged entry would do.
    const [put, changed] = [1, 2].map((byte) => {
      const writer = new ByteWriter(64);
      encodeCommandHeader(writer, { kind: 'put', origin: 1, token: 1 });
      const data = writer
        .varint(0)
        .varint(0)
        .varint(0)
        .varint(0)
        .blob(new Uint8Array([9]))
        .blob(new Uint8Array([byte]));
      return data.take();
    }) as [Uint8Array, Uint8Array];
    one.apply(toIndex(1), put);
    other.apply(toIndex(1), changed);
    for (const [i, data] of entries.entries()) {
      one.apply(toIndex(i + 2), data);
      other.apply(toIndex(i + 2), data);
      expect(other.stateHash()).not.toBe(one.stateHash());
    }
  });
});

test('records that were reset behind its back are noticed', () => {
  const machine = newMachine();
  machine.apply(toIndex(1), new Uint8Array(0));
  machine.stateHash();
  machine.records.reset();
  expect(() => machine.stateHash()).toThrow('resetRecords');
});

test('what another version saved is refused', () => {
  const machine = newMachine();
  machine.apply(toIndex(1), new Uint8Array(0));
  const saved = new ByteWriter(64);
  machine.save(saved);
  for (const version of [0, 2, 4, 200]) {
    const bytes = saved.take();
    bytes[0] = version;
    let error: unknown;
    try {
      newMachine().restore(new ByteReader(bytes));
    } catch (thrown) {
      error = thrown;
    }
    expect(isStoreError(error, 'DIR_FOREIGN') && error.message).toContain(`has format ${version}`);
  }
});
