/**
 * Gap: whether a log goes on where the tables end. Tables hold only what was synced in the log, and the log lets go only of
 * what is in tables: so a gap is the loss of something, never the work of a crash.
 */
export interface LogRange {
  readonly firstIndex: number;
  readonly lastIndex: number;
}

/** What is wrong between tables that end at `flushedRevision` and a log; undefined: nothing. */
export function gapBetween(flushedRevision: number, { firstIndex, lastIndex }: LogRange): string | undefined {
  if (firstIndex > flushedRevision + 1) return `begins at ${firstIndex}, and the tables end at ${flushedRevision}`;
  if (lastIndex < flushedRevision) return `ends at ${lastIndex}, before the tables, which end at ${flushedRevision}`;
  return undefined;
}
