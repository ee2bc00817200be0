/**
 * Trust: the one place where messages are parsed: when they come from outside the process, as JSON or off a wire. What
 * has passed is as good as what the compiler has checked.
 */
import { z } from 'zod';
import { StoreError } from '../../../core/base/errors.ts';
import type { MessageOf, Protocol } from './protocol.ts';
import type { ActorRef, AskOptions } from './types.ts';

/** A stranger's message, checked. BAD_REQUEST says what is wrong with it. */
export function parseMessage<P extends Protocol>(protocol: P, value: unknown): MessageOf<P> {
  const kind = (value as { readonly kind?: unknown } | null | undefined)?.kind;
  const known = typeof kind === 'string' && Object.hasOwn(protocol, kind) ? protocol[kind] : undefined;
  if (known === undefined) {
    throw new StoreError(
      'BAD_REQUEST',
      `there is no message "${String(kind)}"; there are ${Object.keys(protocol).join(', ')}`,
    );
  }
  const parsed = z.strictObject({ kind: z.literal(kind as string), ...known.shape }).safeParse(value);
  if (!parsed.success) throw new StoreError('BAD_REQUEST', `${String(kind)}: ${z.prettifyError(parsed.error)}`);
  // Parsed by the shape that the type was made from.
  return parsed.data as unknown as MessageOf<P>;
}

/** A stranger's answer, checked. BAD_REQUEST: it is not what the protocol says. */
export function parseReply<P extends Protocol>(protocol: P, kind: keyof P & string, value: unknown): unknown {
  const spec = protocol[kind];
  const schema = spec?.how === 'ask' ? spec.reply : spec?.how === 'stream' ? spec.item : undefined;
  const parsed = schema?.safeParse(value);
  if (parsed?.success === true) return parsed.data;
  const why = parsed === undefined ? 'has no answer' : z.prettifyError(parsed.error);
  throw new StoreError('BAD_REQUEST', `${kind}: ${why}`);
}

/**
 * Hands a stranger's message to an actor: an ask gives its answer, a tell whether it was taken. Streams are not for
 * this; BAD_REQUEST.
 */
export async function deliver<P extends Protocol>(
  ref: ActorRef<P>,
  protocol: P,
  value: unknown,
  options?: AskOptions,
): Promise<unknown> {
  const message = parseMessage(protocol, value);
  // The kind was looked up: it is one of those that are told, or asked.
  switch (protocol[message.kind]?.how) {
    case 'tell':
      return ref.tell(message as Parameters<typeof ref.tell>[0], options);
    case 'ask':
      return ref.ask(message as Parameters<typeof ref.ask>[0], options);
    default:
      throw new StoreError('BAD_REQUEST', `${message.kind} is a stream`);
  }
}
