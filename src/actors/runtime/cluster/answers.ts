/**
 * Answers: what a durable actor has answered and may be asked again, kept with its state and changed in the same
 * transaction. So a question that is sent a second time, because nobody knows what became of the first, is answered from
 * here and changes nothing.
 *
 * An asker says with each question which of its questions is the oldest that is still open (`floor`); what is older is
 * forgotten. Three bounds beside that, and at each the answer is OUTCOME_UNKNOWN, never a second effect: the answers kept
 * for one asker, how many askers are known, and the bytes of all.
 */
import { z } from 'zod';
import { StoreError } from '../../../core/base/errors.ts';
import type { CallId } from '../mesh/frames.ts';

const ANSWERS_MAX = 256;
const ASKERS_MAX = 16;
/** A longer one is not kept: that it was given is. */
const REPLY_BYTES_MAX = 4_096;
/** All that is kept for one actor, about. */
const BYTES_MAX = 64 * 1024;
/** What one costs beside its text. */
const ANSWER_BYTES = 32;

interface Answered {
  readonly seq: number;
  /** As the codec writes it. */
  readonly reply?: unknown;
  readonly isLong?: true | undefined;
}

interface Asker {
  readonly asker: string;
  /** The last of those whose answers were not kept, though they were open. */
  readonly forgotten: number;
  readonly answered: readonly Answered[];
}

export interface Answers {
  /** In the order in which they asked last. */
  readonly askers: readonly Asker[];
  /** Some asker was forgotten. */
  readonly isPartial: boolean;
}

const answered = z.strictObject({ seq: z.int(), reply: z.unknown(), isLong: z.literal(true).optional() });
export const answersSchema: z.ZodType<Answers> = z.strictObject({
  askers: z.array(z.strictObject({ asker: z.string(), forgotten: z.int(), answered: z.array(answered) })),
  isPartial: z.boolean(),
});

export const NO_ANSWERS: Answers = { askers: [], isPartial: false };

/** What was answered, if it was. OUTCOME_UNKNOWN: it may have been, and nobody remembers. */
export function recall(answers: Answers, call: CallId): { readonly reply: unknown } | undefined {
  const known = answers.askers.find(({ asker }) => asker === call.asker);
  const found = known?.answered.find(({ seq }) => seq === call.seq);
  if (found !== undefined && found.isLong !== true) return { reply: found.reply };
  const isForgotten = known === undefined ? answers.isPartial : call.seq <= known.forgotten;
  if (found === undefined && (call.attempt === 1 || !isForgotten)) return undefined;
  const why = found === undefined ? 'was asked too long ago' : 'was answered at length';
  throw new StoreError('OUTCOME_UNKNOWN', `a question that is asked again ${why} to be remembered`);
}

/** The same, with one more. */
export function remember(answers: Answers, call: CallId, reply: unknown): Answers {
  const { asker, seq, floor } = call;
  const known = answers.askers.find((other) => other.asker === asker);
  const isLong = bytesOf(reply) > REPLY_BYTES_MAX;
  const own: Asker = {
    asker,
    forgotten: known?.forgotten ?? 0,
    answered: [
      ...(known?.answered ?? []).filter((old) => old.seq >= floor),
      isLong ? { seq, reply: null, isLong } : { seq, reply },
    ],
  };
  const askers = [...answers.askers.filter((other) => other.asker !== asker), forget(own, ANSWERS_MAX)];
  const isFull = askers.length > ASKERS_MAX;
  const left = isFull ? askers.slice(1) : askers;
  return { askers: withinBytes(left), isPartial: answers.isPartial || isFull };
}

/** Those who asked last keep theirs; one that is gone for ever would keep its own for ever. */
function withinBytes(askers: readonly Asker[]): Asker[] {
  let leftBytes = BYTES_MAX;
  const kept: Asker[] = [];
  for (const asker of askers.toReversed()) {
    let count = 0;
    for (const { reply } of asker.answered.toReversed()) {
      leftBytes -= bytesOf(reply);
      if (leftBytes >= 0) count++;
    }
    kept.unshift(forget(asker, count));
  }
  return kept;
}

/** Keeps so many, the newest. */
function forget(asker: Asker, count: number): Asker {
  const { answered } = asker;
  if (answered.length <= count) return asker;
  const gone = answered.slice(0, answered.length - count);
  const forgotten = Math.max(asker.forgotten, ...gone.map(({ seq }) => seq));
  return { asker: asker.asker, forgotten, answered: answered.slice(gone.length) };
}

const bytesOf = (reply: unknown): number => ANSWER_BYTES + (JSON.stringify(reply)?.length ?? 0);
