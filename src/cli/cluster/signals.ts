/**
 * Stop signals: the first SIGINT, SIGTERM or SIGHUP asks for an orderly stop, a second SIGINT for an abrupt one.
 *
 * One Ctrl-C may arrive twice: from the terminal, which signals the whole group, and from a parent in that group
 * that passes signals on (npm, or the cluster.js bootstrap). What comes within `SAME_KEY_MS` is the same key.
 */

const SAME_KEY_MS = 500;

export function onStopSignals(handlers: {
  readonly first: (signal: string) => void;
  readonly again: () => void;
}): void {
  let firstAtMs: number | undefined;
  const heard = (signal: NodeJS.Signals): void => {
    const nowMs = performance.now();
    if (firstAtMs === undefined) {
      firstAtMs = nowMs;
      handlers.first(signal);
    } else if (signal === 'SIGINT' && nowMs - firstAtMs > SAME_KEY_MS) handlers.again();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, heard);
}
