/**
 * Trace context of W3C: who, outside, a write is a part of. It comes as text and goes on as text.
 *
 *   traceparent = version 2 hex - trace id 32 hex - span id 16 hex - flags 2 hex      flags & 1: it is sampled
 *
 * As that recommendation asks, one that cannot be read is no error: there is none then.
 */

export interface TraceParent {
  readonly traceId: string;
  readonly spanId: string;
  readonly flags: number;
}

/** Longer than any that this version can be; what a newer one adds is not needed. */
export const TRACE_PARENT_BYTES_MAX = 128;

const TRACE_PARENT = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;
const SAMPLED = 1;

/** Undefined: it is none, or nobody wants to hear of it. */
export function sampledTrace(text: string | undefined): TraceParent | undefined {
  if (text === undefined || text.length > TRACE_PARENT_BYTES_MAX) return undefined;
  const [, traceId = '', spanId = '', hexFlags = ''] = TRACE_PARENT.exec(text) ?? [];
  const flags = Number.parseInt(hexFlags, 16);
  const isNobody = /^0*$/.test(traceId) || /^0*$/.test(spanId);
  return isNobody || (flags & SAMPLED) === 0 ? undefined : { traceId, spanId, flags };
}
