/**
 * Schema of a ref, for fields that hold one: `subscribe: tell({ who: refTo<typeof protocol>() })`. Between threads such a
 * field travels as an address and arrives as a ref; only fields of the message itself may hold one, not what is in them.
 */
import { z } from 'zod';
import type { Protocol } from './protocol.ts';
import { Ref } from './ref.ts';
import { markAsRef } from './table.ts';
import type { ActorRef } from './types.ts';

/** With the protocol itself what comes back over a border is parsed: answers of an actor on another node. */
export function refTo<P extends Protocol>(protocol?: P): z.ZodType<ActorRef<P>> {
  const schema = z.custom<ActorRef<P>>((value) => value instanceof Ref, 'must be a ref');
  markAsRef(schema, protocol);
  return schema;
}
