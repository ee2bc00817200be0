/**
 * Routes: what an HTTP server of ours serves, as a table. One row says a route's path, what it takes and gives, and what
 * happens; the server (server.ts), the OpenAPI document (openapi.ts) and the page at `/` are all made from it, so that
 * they cannot disagree.
 */
import type { z } from 'zod';
import type { ErrorCode } from '../../core/base/errors.ts';
import type { CallerRole } from '../../core/wire/access.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** A writer's name and secret, as its headers have them. */
export interface Credentials {
  readonly writer: string;
  readonly secret: string;
}

/** One request, with its limits already checked. */
export interface Call {
  /** By the names in the route's path, decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** Empty when there is none. */
  readonly body: Uint8Array;
  /** Throws BAD_REQUEST when the headers are not there. */
  credentials(): Credentials;
  /** The token of `authorization: Bearer …`. */
  readonly bearer: string | undefined;
  /** The request's `accept` names this type. */
  accepts(contentType: string): boolean;
  /** For what the request asks of the store: its deadline, and the end of its connection. */
  readonly options: { readonly deadlineMs: number; readonly signal: AbortSignal };
}

export interface Answer {
  /** Default 200. */
  readonly status?: number;
  readonly contentType?: string;
  /** Parts are sent as fast as the reader takes them. Default: nothing. */
  readonly body?: string | Uint8Array | AsyncIterable<string>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What a route's body is: JSON of a shape, or bytes with a meaning. */
export type BodyKind =
  | { readonly kind: 'json'; readonly schema: z.ZodType }
  | { readonly kind: 'bytes'; readonly what: string };

export type AnswerKind =
  | { readonly kind: 'empty' }
  | { readonly kind: 'json'; readonly schema: z.ZodType }
  | { readonly kind: 'text' | 'bytes'; readonly what: string };

export interface Route {
  readonly method: Method;
  /** As OpenAPI writes it: `/families/{family}`. */
  readonly path: string;
  /** Routes of one kind stand together in documents. */
  readonly group: string;
  /** A sentence without its dot. */
  readonly summary: string;
  /** Parameters behind the `?`, and what each means. */
  readonly query?: Readonly<Record<string, string>>;
  /** Takes the headers of a writer. */
  readonly needsWriter?: boolean;
  readonly body?: BodyKind;
  readonly answer: AnswerKind;
  /** Codes with which it may be refused, besides those of any request. */
  readonly errors: readonly ErrorCode[];
  /** What its caller must be allowed, where the config names callers; left out: anybody may ask. */
  readonly needs?: CallerRole | undefined;
  /** Asked by machines that watch this node: answered also when there is no room for anything else. */
  readonly isProbe?: boolean;
  readonly handle: (call: Call) => Promise<Answer> | Answer;
}

/** Names in the braces of a path, in order. */
export const namesOf = (path: string): string[] =>
  Array.from(path.matchAll(/\{(\w+)\}/g), ([, name]) => name as string);

export const text = (body: string, contentType = 'text/plain; charset=utf-8'): Answer => ({ contentType, body });
