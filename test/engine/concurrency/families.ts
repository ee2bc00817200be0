/**
 * Families: ten keys ("0K" … "9K") that are always written in one batch with one value, so that whoever sees two values
 * in a family at one revision has seen half a batch. (RocksDB's batched_ops_stress.)
 *
 *   value  "family:number:" and a filling that depends on both: a torn value does not pass
 */
import { bytes } from '../../support/engine-model.ts';

export const FAMILIES = 24;
export const MEMBERS = 10;

const KEYS: readonly (readonly Uint8Array[])[] = Array.from({ length: FAMILIES }, (_, family) =>
  Array.from({ length: MEMBERS }, (__, member) => bytes(keyText(family, member))),
);

export function keyText(family: number, member: number): string {
  return `${member}-${String(family).padStart(4, '0')}`;
}

export const keyOf = (family: number, member: number): Uint8Array => KEYS[family]![member]!;

/** From a few bytes to some hundred, so that values of many lengths lie beside each other. */
export function valueText(family: number, number: number): string {
  const fill = String.fromCharCode(97 + ((family * 7 + number) % 26));
  return `${family}:${number}:${fill.repeat(1 + ((family * 31 + number * 17) % 300))}`;
}

/** The write's number; throws when the value is not, whole, one of this family. */
export function numberOf(family: number, value: Uint8Array): number {
  const text = String.fromCharCode(...value);
  const number = Number(text.split(':')[1]);
  if (text !== valueText(family, number)) throw new Error(`family ${family} has the torn value ${text.slice(0, 60)}`);
  return number;
}
