/**
 * What a gateway and its shipper say to each other: subscriptions and credit one way, parts and ends the other.
 */
import type { StoreError } from '../core/base/errors.ts';
import type { LedgerRequest } from '../core/wire/client.ts';

/** Of a ledger: how its reader wants to be fed. */
export type Wishes = Pick<LedgerRequest, 'filter' | 'wantsSnapshot' | 'wantsHashes' | 'wantsChecks' | 'goOn'>;

export interface Subscribe extends Wishes {
  readonly kind: 'subscribe';
  /** Number of the subscription, given by the gateway. */
  readonly sub: number;
  /** Id of the request on its connection: goes into the frames. */
  readonly request: number;
  readonly mode: 'watch' | 'ledger';
  readonly fromRevision: number;
  /** Watch: keys in [from, to); empty `to` = to the end. */
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  readonly creditBytes: number;
  /** Who reads: the connection, as the gateway numbers it. */
  readonly reader: number;
  /** Watch: a progress part at every look. */
  readonly bookmarks: boolean;
  /** Watch: a behind part when it is slow. */
  readonly tellSlow: boolean;
}

export type ToShipper =
  | Subscribe
  | { readonly kind: 'credit'; readonly sub: number; readonly bytes: number }
  | { readonly kind: 'cancel'; readonly sub: number }
  /** All parts of a slice have been given to their sockets, which took so long. */
  | { readonly kind: 'sent'; readonly tookMs: number }
  /** By reader: bytes that have left the node. */
  | { readonly kind: 'taken'; readonly taken: readonly (readonly [reader: number, bytes: number])[] };

export type FromShipper =
  /** Whole STREAM frames for clients' sockets, and who gets which. */
  | {
      readonly kind: 'parts';
      readonly frames: readonly Uint8Array<ArrayBuffer>[];
      /** In threes: sub, reader, place in `frames`; in the order in which they leave. */
      readonly to: readonly number[];
      /** The last of a slice: the shipper is told when it has left (`sent`). */
      readonly endsSlice: boolean;
    }
  | { readonly kind: 'end'; readonly sub: number; readonly error: EndReason };

export interface EndReason {
  readonly code: StoreError['code'];
  readonly message: string;
  readonly data: StoreError['data'];
}
