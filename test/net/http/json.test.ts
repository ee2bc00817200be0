import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { isStoreError } from '../../../src/core/base/errors.ts';
import { base64Of, bytesOfBase64, jsonRow, parseJson, stringifyJson } from '../../../src/net/http/json.ts';

const parse = (text: string): unknown => parseJson(Buffer.from(text));

test('whole numbers keep all their digits, in and out', () => {
  expect(parse('[9007199254740991, 9007199254740993, -9223372036854775808, 1.5, 1e3]')).toEqual([
    9007199254740991,
    9007199254740993n,
    -9223372036854775808n,
    1.5,
    1000,
  ]);
  // Beyond 64 bits, or written as what is no whole number, it is a floating point number.
  expect(parse('[9223372036854775808, 9007199254740993.0, 1e20]')).toEqual([2 ** 63, 2 ** 53, 1e20]);
  expect(stringifyJson({ a: 9007199254740993n, b: -0, c: [1n] })).toBe('{"a":9007199254740993,"b":-0,"c":[1]}');
  // Digits in a text are a text.
  expect(parse('{"a":"9007199254740993"}')).toEqual({ a: '9007199254740993' });
});

test('whatever JSON.parse reads is read alike, and what is written comes back', () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      expect(JSON.parse(stringifyJson(parse(text)))).toEqual(JSON.parse(text));
    }),
  );
  fc.assert(
    fc.property(fc.array(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n)), (whole) => {
      expect((parse(stringifyJson(whole)) as (number | bigint)[]).map(BigInt)).toEqual(whole);
    }),
  );
});

test('what is no JSON is BAD_REQUEST, in words that quote nothing of it', () => {
  const deep = `${'['.repeat(200_000)}1234567890123456789${']'.repeat(200_000)}`;
  const bodies = ['', '{', 'planted', '{"a":planted}', '[1,]', '{"secret" "planted"}', '[1] planted', '"\n"', deep];
  for (const body of bodies) {
    const error = caught(() => parse(body));
    expect(isStoreError(error, 'BAD_REQUEST') && error.message).toMatch(/^JSON Error: \w/);
    expect(String(error)).not.toContain('planted');
  }
  expect(caught(() => parseJson(Uint8Array.of(0x22, 0xff, 0x22)))).toMatchObject({
    message: 'JSON Error: the body is not UTF-8',
  });
});

function caught(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return error;
  }
}

test('bytes are base64, and only that', () => {
  const bytes = Uint8Array.from({ length: 300 }, (_, i) => i);
  expect(bytesOfBase64(base64Of(bytes.subarray(3)), 'it')).toEqual(bytes.slice(3));
  expect(jsonRow({ a: Buffer.from('hi'), b: null, c: 1n })).toEqual({ a: 'aGk=', b: null, c: 1n });
  for (const text of ['a', 'aGk', 'aGk=\n', 'aG k=', '====', 'aGk-']) {
    expect([
      text,
      isStoreError(
        caught(() => bytesOfBase64(text, 'it')),
        'BAD_REQUEST',
      ),
    ]).toEqual([text, true]);
  }
});
