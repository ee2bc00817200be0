/** What the launcher and the node processes it started tell each other, over Node's IPC channel. */

export type ToNode = { readonly kind: 'stop' };

export type FromNode =
  /** Listening. */
  | { readonly kind: 'up' }
  /** Leads, and has committed an entry of its own term: writes are answered from here on. */
  | { readonly kind: 'serving'; readonly term: number }
  /** Cannot go on; the process ends next. */
  | { readonly kind: 'fault'; readonly fault: Fault };

export interface Fault {
  /** StoreError's code, the system's ('EADDRINUSE'), or 'INTERNAL'. */
  readonly code: string;
  /** One line, for people. */
  readonly message: string;
  /** False: starting again meets the same fault, somebody must change something first. */
  readonly restartMayHelp: boolean;
}
