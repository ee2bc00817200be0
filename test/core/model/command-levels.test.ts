/** Which version can apply a command: every kind has its level, and what has none is of a later version. */
import { describe, expect, test } from 'vitest';
import { ByteWriter } from '../../../src/core/base/bytes.ts';
import { COMMAND_LEVEL, FIRST_LEVEL, levelOf } from '../../../src/core/model/command-levels.ts';
import { commandKind, encodeCommandHeader } from '../../../src/core/model/commands.ts';
import { controlKind } from '../../../src/core/model/control/commands.ts';
import { forSeeds, randomBytes } from '../base/seeded.ts';

const LATER = Number.POSITIVE_INFINITY;

function control(code: number, counters: readonly [number, number, number] = [0, 0, 0]): Uint8Array {
  const writer = new ByteWriter(64);
  encodeCommandHeader(writer, { kind: 'control', origin: 1, token: 1 });
  for (const counter of counters) writer.varint(counter);
  return writer.u8(code).take();
}

describe('levels', () => {
  test('every command that this version makes it can apply; the next number is not its own', () => {
    const codes = Array.from({ length: 128 }, (_, code) => code);
    expect(codes.filter((code) => code > 0 && commandKind(code) === undefined)).toEqual(
      codes.filter((code) => levelOf(Uint8Array.of(code)) === LATER),
    );
    for (const code of codes.slice(1).filter((one) => commandKind(one) !== undefined)) {
      expect(levelOf(Uint8Array.of(code))).toBeLessThanOrEqual(COMMAND_LEVEL);
    }
    for (const code of codes.slice(1)) {
      const level = levelOf(control(code));
      if (controlKind(code) === undefined) expect(level).toBe(LATER);
      else expect(level).toBeLessThanOrEqual(COMMAND_LEVEL);
    }
  });

  test('a control command is found behind counters of any length', () => {
    const counters = [0, 127, 128, 2 ** 30, Number.MAX_SAFE_INTEGER];
    for (const a of counters) {
      for (const b of counters) {
        expect(levelOf(control(99, [a, b, a]))).toBe(LATER);
        expect(levelOf(control(1, [b, a, a]))).toBe(FIRST_LEVEL);
      }
    }
  });

  test('bytes that are no command, or no whole one, are refused by all versions alike', () => {
    for (const bytes of [[], [0], [0x80], [0xff, 1], [8], [8, ...new Uint8Array(19)]]) {
      expect(levelOf(Uint8Array.from(bytes))).toBe(FIRST_LEVEL);
    }
    forSeeds(200, (random) => {
      const level = levelOf(randomBytes(random, Math.floor(random() * 60)));
      expect(level === LATER || level <= COMMAND_LEVEL).toBe(true);
    });
  });
});
