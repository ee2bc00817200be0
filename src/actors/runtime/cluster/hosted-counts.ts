/**
 * HostedCounts: what became of the durable actors of this node, for metrics.
 */
export class HostedCounts {
  /** They came into memory here. */
  activations = 0;
  /** They were idle for long, and left. */
  passivations = 0;
  /** States that were written. */
  commits = 0;
  /** Commits that did nothing, since another activation had the place, or the lease was over. */
  fencesLost = 0;
  /** Commits of which nobody knows: the next activation reads what became of them. */
  doubts = 0;
}
