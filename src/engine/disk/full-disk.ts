/**
 * A full disk is told apart from a broken one: whoever makes room may go on. Never of a sync: after one that failed,
 * whatever it says, nobody knows what is on the disk.
 */
const FULL_CODES: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT']);

export function isOutOfSpace(error: unknown): boolean {
  return error instanceof Error && FULL_CODES.has((error as NodeJS.ErrnoException).code);
}
