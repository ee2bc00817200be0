import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter } from '../../../src/core/base/bytes.ts';
import { type ErrorCode, isStoreError } from '../../../src/core/base/errors.ts';
import {
  checkBody,
  COMMAND_HEADER_BYTES,
  commandCode,
  type CommandKind,
  commandKind,
  decodeTxn,
  encodeCommandHeader,
  encodeTxn,
  type Operation,
  SESSION_TTL_MS_MAX,
  SESSION_TTL_MS_MIN,
  stampTime,
  TTL_MS_MAX,
  type Txn,
} from '../../../src/core/model/commands.ts';
import { LIMITS } from '../../../src/core/model/limits.ts';
import { below, forSeeds, pick, randomBytes } from '../base/seeded.ts';

const NONE: Uint8Array = new Uint8Array(0);
const bytes = (length: number): Uint8Array => new Uint8Array(length).fill(0x61);
const body = (write: (writer: ByteWriter) => void): Uint8Array<ArrayBuffer> => {
  const writer = new ByteWriter();
  write(writer);
  return writer.take();
};

/** What checkBody says to a body: 'ok' or the code. */
function verdict(kind: CommandKind, of: Uint8Array): ErrorCode | 'ok' {
  try {
    checkBody(kind, new ByteReader(of));
    return 'ok';
  } catch (error) {
    if (isStoreError(error)) return error.code;
    throw error;
  }
}

const putBody = (key: number, value: number, ttlMs = 0): Uint8Array =>
  body((writer) => writer.varint(ttlMs).blob(bytes(key)).blob(bytes(value)));
const deleteBody = (key: number): Uint8Array => body((writer) => writer.blob(bytes(key)));
const txnBody = (txn: Partial<Txn>): Uint8Array<ArrayBuffer> =>
  body((writer) => encodeTxn(writer, { conditions: [], then: [], otherwise: [], ...txn }));
const keyed = (i: number): Uint8Array => Uint8Array.of(0x6b, i >>> 8, i & 0xff);
const puts = (count: number): Operation[] =>
  Array.from({ length: count }, (_, i) => ({ kind: 'put', key: keyed(i), value: NONE, ttlMs: 0 }));

describe('a body is checked before it may enter the log', () => {
  test.each([
    ['the shortest key', putBody(1, 0), 'ok'],
    ['no key', putBody(0, 1), 'KEY_INVALID'],
    ['the longest key', putBody(LIMITS.keyBytesMax, 1), 'ok'],
    ['a key one byte longer', putBody(LIMITS.keyBytesMax + 1, 1), 'KEY_INVALID'],
    ['the largest value', putBody(1, LIMITS.valueBytesMax), 'ok'],
    ['a value one byte larger', putBody(1, LIMITS.valueBytesMax + 1), 'VALUE_TOO_LARGE'],
    ['the longest ttl', putBody(1, 1, TTL_MS_MAX), 'ok'],
    ['a ttl one ms longer', putBody(1, 1, TTL_MS_MAX + 1), 'BAD_REQUEST'],
    ['a byte too many', Uint8Array.from([...putBody(1, 1), 0]), 'PROTOCOL_ERROR'],
    ['a byte too few', putBody(1, 1).subarray(0, -1), 'PROTOCOL_ERROR'],
    ['nothing', NONE, 'PROTOCOL_ERROR'],
  ] as const)('a put with %s', (_name, of, expected) => expect(verdict('put', of)).toBe(expected));

  test.each([
    ['the shortest key', deleteBody(1), 'ok'],
    ['no key', deleteBody(0), 'KEY_INVALID'],
    ['the longest key', deleteBody(1024), 'ok'],
    ['a key of 1025 bytes', deleteBody(1025), 'KEY_INVALID'],
    ['a byte too many', Uint8Array.from([...deleteBody(1), 0]), 'PROTOCOL_ERROR'],
  ] as const)('a delete with %s', (_name, of, expected) => expect(verdict('delete', of)).toBe(expected));

  const condition = (key: Uint8Array, value = NONE) => ({ kind: 'value', key, value, revision: 0 }) as const;
  const get = (key: Uint8Array): Operation => ({ kind: 'get', key, value: NONE, ttlMs: 0 });
  const half = puts(64);
  test.each([
    ['nothing in it', txnBody({}), 'ok'],
    ['128 operations', txnBody({ then: puts(128) }), 'ok'],
    ['129 operations', txnBody({ then: puts(129) }), 'TXN_TOO_LARGE'],
    [
      '128 in all three parts',
      txnBody({ conditions: half.map((o) => condition(o.key)), then: puts(32), otherwise: puts(32) }),
      'ok',
    ],
    [
      '129 in all three parts',
      txnBody({ conditions: half.map((o) => condition(o.key)), then: puts(32), otherwise: puts(33) }),
      'TXN_TOO_LARGE',
    ],
    ['an empty key in a condition', txnBody({ conditions: [condition(NONE)] }), 'KEY_INVALID'],
    ['an empty key in a get', txnBody({ then: [get(NONE)] }), 'KEY_INVALID'],
    ['a long key in the else branch', txnBody({ otherwise: [get(bytes(1025))] }), 'KEY_INVALID'],
    [
      'a large value',
      txnBody({ then: [{ ...puts(1)[0]!, value: bytes(LIMITS.valueBytesMax + 1) }] }),
      'VALUE_TOO_LARGE',
    ],
    ['a long ttl', txnBody({ then: [{ ...puts(1)[0]!, ttlMs: TTL_MS_MAX + 1 }] }), 'BAD_REQUEST'],
    [
      'a key written twice in a branch',
      txnBody({ then: [puts(1)[0]!, { ...get(keyed(0)), kind: 'delete' }] }),
      'BAD_REQUEST',
    ],
    ['a key written in each branch', txnBody({ then: puts(1), otherwise: puts(1) }), 'ok'],
    ['a key written once and read twice', txnBody({ then: [get(keyed(0)), ...puts(1), get(keyed(0))] }), 'ok'],
    ['an unknown condition', Uint8Array.of(1, 3, 1, 0x61), 'PROTOCOL_ERROR'],
    ['an unknown operation', Uint8Array.of(0, 1, 3, 1, 0x61, 0), 'PROTOCOL_ERROR'],
    ['a byte too many', Uint8Array.from([...txnBody({}), 0]), 'PROTOCOL_ERROR'],
  ] as const)('a txn with %s', (_name, of, expected) => expect(verdict('txn', of)).toBe(expected));

  test('a txn of exactly the bytes allowed passes, and one more is too large', () => {
    const withBytes = (total: number): Uint8Array => {
      const fixed = puts(3).map((put) => ({ ...put, value: bytes(LIMITS.valueBytesMax) }));
      const rest = (value: number): Uint8Array =>
        txnBody({ then: [...fixed, { ...puts(4)[3]!, value: bytes(value) }] });
      return rest(total - rest(LIMITS.valueBytesMax - 100).length + LIMITS.valueBytesMax - 100);
    };
    expect(withBytes(LIMITS.txnBytesMax).length).toBe(LIMITS.txnBytesMax);
    expect(verdict('txn', withBytes(LIMITS.txnBytesMax))).toBe('ok');
    expect(verdict('txn', withBytes(LIMITS.txnBytesMax + 1))).toBe('TXN_TOO_LARGE');
  });

  test('a count is refused when it is read, before millions of operations are made of it', () => {
    // Two bytes a condition: two million of them in a txn of legal size.
    const flood = new ByteWriter(LIMITS.txnBytesMax).varint(2_000_000);
    for (let i = 0; i < 2_000_000; i++) flood.u8(1).u8(0);
    const began = performance.now();
    for (let i = 0; i < 100; i++) expect(verdict('txn', flood.view())).toBe('TXN_TOO_LARGE');
    expect(performance.now() - began, 'a hundred refusals take no time').toBeLessThan(500);
    const lie = body((writer) => writer.varint(0).varint(Number.MAX_SAFE_INTEGER));
    expect(verdict('txn', lie)).toBe('TXN_TOO_LARGE');
    expect(() => decodeTxn(new ByteReader(lie))).toThrow('cannot read');
  });

  test.each([
    [SESSION_TTL_MS_MIN, 'ok'],
    [SESSION_TTL_MS_MIN - 1, 'BAD_REQUEST'],
    [SESSION_TTL_MS_MAX, 'ok'],
    [SESSION_TTL_MS_MAX + 1, 'BAD_REQUEST'],
  ] as const)('a session that lives %d ms', (ttlMs, expected) => {
    expect(
      verdict(
        'openSession',
        body((writer) => writer.varint(ttlMs)),
      ),
    ).toBe(expected);
  });

  test("the commands without a body have none, and the clock is no client's to send", () => {
    for (const kind of ['keepAlive', 'closeSession'] as const) {
      expect(verdict(kind, NONE)).toBe('ok');
      expect(verdict(kind, Uint8Array.of(0))).toBe('PROTOCOL_ERROR');
    }
    expect(verdict('clock', NONE)).toBe('BAD_REQUEST');
  });

  test('a refusal names the limit and the size', () => {
    expect(() => checkBody('put', new ByteReader(putBody(1025, 0)))).toThrow(
      expect.objectContaining({ data: { limit: 1024, size: 1025 } }),
    );
    expect(() => checkBody('txn', new ByteReader(txnBody({ then: puts(200) })))).toThrow(
      expect.objectContaining({ data: { limit: 128, size: 200 } }),
    );
  });

  test('any bytes at all get a verdict', () => {
    const kinds: readonly CommandKind[] = ['put', 'delete', 'txn', 'openSession', 'keepAlive', 'closeSession', 'clock'];
    forSeeds(3000, (random) => {
      verdict(pick(random, kinds), randomBytes(random, below(random, 40)));
      const cut = txnBody({ conditions: [condition(keyed(1), keyed(2))], then: puts(2), otherwise: [get(keyed(3))] });
      cut[below(random, cut.length)] = below(random, 256);
      verdict('txn', cut.subarray(0, below(random, cut.length + 1)));
    });
  });
});

test('every txn comes back as it was written', () => {
  forSeeds(300, (random) => {
    const blob = (): Uint8Array => randomBytes(random, below(random, 200));
    const operations = (): Operation[] =>
      Array.from({ length: below(random, 10) }, () => {
        const kind = pick(random, ['put', 'delete', 'get'] as const);
        const isPut = kind === 'put';
        return { kind, key: blob(), value: isPut ? blob() : NONE, ttlMs: isPut ? below(random, 2 ** 40) : 0 };
      });
    const txn: Txn = {
      conditions: Array.from({ length: below(random, 10) }, () => {
        const kind = pick(random, ['revision', 'exists', 'value'] as const);
        return {
          kind,
          key: blob(),
          revision: kind === 'revision' ? below(random, Number.MAX_SAFE_INTEGER) : 0,
          value: kind === 'value' ? blob() : NONE,
        };
      }),
      then: operations(),
      otherwise: operations(),
    };
    const reader = new ByteReader(txnBody(txn));
    expect(decodeTxn(reader)).toEqual(txn);
    reader.end();
  });
});

test("a command's header has its numbers and its room for the leader's stamp", () => {
  const kinds: readonly CommandKind[] = [
    ...(['put', 'delete', 'txn', 'openSession', 'keepAlive', 'closeSession', 'clock'] as const),
    'control',
  ];
  expect(kinds.map(commandCode), 'numbers on the wire stay').toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  for (const kind of kinds) expect(commandKind(commandCode(kind))).toBe(kind);
  expect([0, 9, 255].map(commandKind)).toEqual([undefined, undefined, undefined]);

  const written = body((writer) =>
    encodeCommandHeader(writer, { kind: 'txn', origin: 2 ** 53 - 1, token: 2 ** 32 - 1 }),
  );
  expect(written.length).toBe(COMMAND_HEADER_BYTES);
  stampTime(written, 1_700_000_000_123.5);
  const reader = new ByteReader(written);
  expect([reader.u8(), reader.f64(), reader.u64(), reader.u32()]).toEqual([
    3,
    1_700_000_000_123.5,
    2 ** 53 - 1,
    2 ** 32 - 1,
  ]);
});

test('keys that begin with 0xff are not for clients to write', () => {
  const reserved = Uint8Array.of(0xff, 1);
  const refused: readonly [CommandKind, Uint8Array][] = [
    ['put', body((writer) => writer.varint(0).blob(reserved).blob(reserved))],
    ['delete', body((writer) => writer.blob(reserved))],
    [
      'txn',
      txnBody({ conditions: [], then: [{ kind: 'get', key: reserved, value: reserved, ttlMs: 0 }], otherwise: [] }),
    ],
  ];
  for (const [kind, bytes] of refused) expect(() => checkBody(kind, new ByteReader(bytes))).toThrow('reserved');
});
