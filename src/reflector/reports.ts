/**
 * LdbReports: tells who feeds an LDB how far it is, and that it is.
 *
 * A report a commit would be as many frames upwards as come down. So the first commit after a pause is reported at once,
 * and then one in REPORT_EVERY_MS; but what somebody waits for is reported as soon as it is visible. While the log is idle
 * its clock goes on about once a second, and each of these commits is the first after a pause: an LDB that keeps up is
 * known to.
 *
 * A relay's reports carry those of the LDBs that it feeds, and what is asked of it is asked of them.
 *
 * Invariant: no report is of more than readers see. It is made from events that follow a commit.
 */
import type { ReflectorEvent } from '../actors/reflector.ts';
import type { LdbIdentity, LdbReport, LdbRow, LedgerReplica } from '../client/fleet-types.ts';
import type { Timer, Timing } from '../client/timing.ts';

/** The LDBs that a relay feeds (actors/gateway/fleet-streams.ts). */
export interface Below {
  readonly table: { rows(): LdbRow[]; readonly left: number };
  ask(revision: number): void;
}

/** A thousand replicas that report twice a second cost their nodes as much as a tenth of what feeds them. */
const REPORT_EVERY_MS = 1_000;
/** What several of them say at once goes up together. */
const BELOW_MS = 10;

export class LdbReports implements LedgerReplica {
  readonly identity: LdbIdentity;
  readonly #timing: Timing;
  #send: (report: LdbReport) => void = () => {};
  /** Of what has been told; undefined: nothing yet, and there is nothing to tell. */
  #position: { readonly revision: number; readonly timeMs: number } | undefined;
  #isInSnapshot = false;
  #asked = 0;
  #sentMs = Number.NEGATIVE_INFINITY;
  #planned: Timer | undefined;
  #plannedMs = 0;
  #below: Below | undefined;
  /** The least revision of those below that are there, as it was told. */
  #toldBelow = Number.POSITIVE_INFINITY;

  constructor(identity: LdbIdentity, timing: Timing) {
    this.identity = identity;
    this.#timing = timing;
  }

  attached(send: (report: LdbReport) => void): void {
    this.#send = send;
    // Until the first stream stands, what the LDB shows is not known here: `following` comes.
    this.#report();
  }

  asked(revision: number): void {
    this.#asked = Math.max(this.#asked, revision);
    this.#below?.ask(revision);
    if (this.#position !== undefined && this.#position.revision >= revision) this.#report();
  }

  note(event: ReflectorEvent): void {
    switch (event.kind) {
      case 'following':
        this.#isInSnapshot = false;
        this.#position = event;
        return this.#report();
      case 'snapshot':
        this.#isInSnapshot = event.state === 'begin';
        // A snapshot that has begun is not visible.
        if (event.state === 'end') this.#position = event;
        return this.#report();
      case 'applied':
        return this.#applied(event);
      case 'diverged':
      case 'damaged':
      case 'arrived':
      case 'given-up':
      case 'retry':
        return;
    }
  }

  /** It is a relay, and feeds these. Told by `belowChanged` when they say something. */
  feeds(below: Below): void {
    this.#below = below;
  }

  belowChanged(): void {
    this.#plan(this.#isWaitedForBelow ? BELOW_MS : REPORT_EVERY_MS);
  }

  close(): void {
    this.#planned?.cancel();
    this.#planned = undefined;
    this.#send = () => {};
  }

  #applied(event: ReflectorEvent & { readonly kind: 'applied' }): void {
    const shown = this.#position?.revision ?? 0;
    this.#position = event;
    const isWaitedFor = shown < this.#asked && event.revision >= this.#asked;
    const restMs = this.#sentMs + REPORT_EVERY_MS - this.#timing.nowMs();
    if (isWaitedFor || restMs <= 0) this.#report();
    else this.#plan(restMs);
  }

  get #isWaitedForBelow(): boolean {
    return this.#below !== undefined && this.#toldBelow < this.#asked;
  }

  #plan(delayMs: number): void {
    const atMs = this.#timing.nowMs() + delayMs;
    if (this.#planned !== undefined && this.#plannedMs <= atMs) return;
    this.#planned?.cancel();
    this.#plannedMs = atMs;
    this.#planned = this.#timing.after(delayMs, () => this.#report());
  }

  #report(): void {
    this.#planned?.cancel();
    this.#planned = undefined;
    if (this.#position === undefined) return;
    this.#sentMs = this.#timing.nowMs();
    const { revision, timeMs } = this.#position;
    const own = { revision, timeMs, isInSnapshot: this.#isInSnapshot };
    if (this.#below === undefined) return this.#send(own);
    const { table } = this.#below;
    const below = table.rows();
    const present = below.filter(({ state }) => state !== 'gone');
    this.#toldBelow = Math.min(...present.map((row) => row.revision));
    this.#send({ ...own, below, belowLeft: table.left });
  }
}
