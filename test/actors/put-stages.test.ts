import { expect, test } from 'vitest';
import { PUT_STAGES, PUT_STAGES_WORDS, PutStages } from '../../src/actors/put-stages.ts';
import { Shared } from '../../src/actors/shared.ts';
import { putCommand } from './support.ts';

function stages(): PutStages {
  return new PutStages(new BigInt64Array(new SharedArrayBuffer(PUT_STAGES_WORDS * 8)));
}

const commandOf = (token: number, origin = 7): Uint8Array => putCommand('k', 'v', { origin, token });

test('each stage is noted once, when it is reached, of the write whose origin and token it has', () => {
  const board = stages();
  expect(board.isArmed).toBe(false);
  const slot = board.open(0, 7) as number;
  const other = board.open(1, 7) as number;
  expect(board.isArmed).toBe(true);
  board.reached('committed', 100);
  for (const command of [commandOf(0, 8), commandOf(2), new Uint8Array(3)]) board.proposed(command, 5, 50);
  board.proposed(commandOf(0), 10, 3);
  board.reached('logged', 2);
  board.reached('logged', 3);
  board.reached('synced', 9);
  board.reached('committed', 9);
  board.reached('committed', 10);
  board.reached('applied', 12);
  board.reached('applied', 13);
  const times = board.close(slot);
  const inOrder = PUT_STAGES.map((stage) => times[stage] as bigint);
  expect(inOrder.every((at) => at > 0n)).toBe(true);
  expect(inOrder.toSorted((a, b) => Number(a - b))).toEqual(inOrder);
  expect(board.close(other)).toEqual({});
  expect(board.isArmed).toBe(false);
});

test('slots are bounded, and used in turn; a new trace knows nothing of an old one', () => {
  const board = stages();
  const slots = Array.from({ length: 8 }, (_, i) => board.open(i, 7) as number);
  expect(new Set(slots).size).toBe(8);
  expect(board.open(8, 7)).toBeUndefined();
  board.proposed(commandOf(3), 4, 4);
  board.close(slots[3] as number);
  expect(board.open(9, 7)).toBe(slots[3]);
  board.reached('committed', 4);
  board.proposed(commandOf(3), 4, 4);
  expect(board.close(slots[3] as number)).toEqual({});
  expect(() => board.close(slots[3] as number)).toThrow('given back once');
});

test('whoever attaches to a node’s shared block sees the same', () => {
  const shared = new Shared();
  const slot = shared.stages.open(1, 7) as number;
  const far = new Shared(shared.buffer).stages;
  expect(far.isArmed).toBe(true);
  far.proposed(commandOf(1), 1, 1);
  expect(Object.keys(shared.stages.close(slot))).toEqual(['proposed']);
  expect(far.isArmed).toBe(false);
});
