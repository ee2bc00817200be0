/**
 * Protocol: what may be said to an actor, declared once. From it come the types of its refs and handlers, the size of a
 * message, its form between threads, and the check of what comes from outside.
 *
 *   tell     no answer           { add: tell({ by: z.int() }) }              ref.tell({ kind: 'add', by: 1 })
 *   ask      one answer          { total: ask({}, z.int()) }                 await ref.ask({ kind: 'total' })
 *   stream   many, as wanted     { from: stream({ n: z.int() }, z.int()) }   for await (… of ref.stream({ kind: 'from', n: 3 }))
 *
 * A message is a flat record, told apart by `kind`. The schemas are for strangers: inside a process the compiler has
 * checked a message already, so nothing is parsed there, and a schema that transforms is given its output.
 */
import type { z } from 'zod';

/** Fields of a message, each with its schema. */
export type Shape = Readonly<Record<string, z.ZodType>>;

/** Never there at run time: carries the types. */
declare const TYPES: unique symbol;

export interface Tell<Fields> {
  readonly how: 'tell';
  readonly shape: Shape;
  readonly [TYPES]?: { readonly fields: Fields };
}

export interface Ask<Fields, Reply> {
  readonly how: 'ask';
  readonly shape: Shape;
  readonly reply: z.ZodType;
  readonly [TYPES]?: { readonly fields: Fields; readonly reply: Reply };
}

export interface Stream<Fields, Item> {
  readonly how: 'stream';
  readonly shape: Shape;
  readonly item: z.ZodType;
  readonly [TYPES]?: { readonly fields: Fields; readonly item: Item };
}

type Kind = Tell<unknown> | Ask<unknown, unknown> | Stream<unknown, unknown>;

/** Kinds of messages by name. `kind` itself is no name for a field. */
export type Protocol = Readonly<Record<string, Kind>>;

/** What a shape's fields are, once parsed; a field that may be undefined may be left out. */
export type FieldsOf<S extends Shape> = {
  readonly [F in keyof S as undefined extends z.output<S[F]> ? never : F]: z.output<S[F]>;
} & {
  readonly [F in keyof S as undefined extends z.output<S[F]> ? F : never]?: z.output<S[F]>;
};

/** A message without an answer. */
export function tell(): Tell<unknown>;
export function tell<const S extends Shape>(shape: S): Tell<FieldsOf<S>>;
export function tell(shape: Shape = {}): Tell<unknown> {
  return { how: 'tell', shape };
}

/** A message with one answer. */
export function ask<const S extends Shape, R extends z.ZodType>(shape: S, reply: R): Ask<FieldsOf<S>, z.output<R>> {
  return { how: 'ask', shape, reply };
}

/** A message that is answered with items, as many as the asker takes. */
export function stream<const S extends Shape, I extends z.ZodType>(
  shape: S,
  item: I,
): Stream<FieldsOf<S>, z.output<I>> {
  return { how: 'stream', shape, item };
}

type How = Kind['how'];

/** Names of a protocol's kinds, of all or of those that are told, asked or streamed. */
export type KindsOf<P extends Protocol, H extends How = How> = {
  [K in keyof P & string]: P[K]['how'] extends H ? K : never;
}[keyof P & string];

type FieldsOfKind<K> = K extends { readonly [TYPES]?: { readonly fields: infer F } } ? F : never;

/** A message of kind K; of several kinds, their union. */
export type MessageOf<P extends Protocol, K extends keyof P & string = keyof P & string> = K extends string
  ? { readonly kind: K } & FieldsOfKind<P[K]>
  : never;

export type ReplyOf<P extends Protocol, K extends keyof P & string> = P[K] extends Ask<infer _F, infer R> ? R : never;

export type ItemOf<P extends Protocol, K extends keyof P & string> = P[K] extends Stream<infer _F, infer I> ? I : never;

/** A message of some protocol or other. */
export interface AnyMessage {
  readonly kind: string;
}
