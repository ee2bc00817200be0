/** What kvctl needs from the world, as a record: a test gives a fake client and reads what was printed. */
import type { Client, ConnectOptions, Entry } from '../../client/types.ts';
import type { arrivingIn } from '../../engine/ldb/arriving-view.ts';
import type { StagedView } from '../../engine/ldb/index.ts';
import type { RunningReflector, StartReflectorOptions } from '../../reflector/options.ts';
import type { Sidecar, SidecarOptions } from '../../sidecar/sidecar.ts';
import type { Terminal } from '../cluster/console.ts';

export interface Input extends AsyncIterable<Uint8Array | string> {
  readonly isTTY?: boolean;
}

/** The part of an LDB reader that kvctl uses. */
export interface LdbView {
  get(key: string): Entry | undefined;
  range(options: {
    readonly prefix?: string;
    readonly from?: string;
    readonly to?: string;
    readonly limit?: number;
    readonly reverse?: boolean;
  }): Iterable<Entry>;
  readonly revision: number;
  readonly cluster: string;
  readonly timeMs: number;
  lagMs(): number;
  count(): number;
  close(): void;
}

export interface KvctlDeps {
  readonly connect: (urls: readonly string[], options: ConnectOptions) => Promise<Client>;
  readonly openLdb: (dir: string) => Promise<LdbView>;
  readonly stagedIn: (dir: string) => Promise<StagedView>;
  readonly arrivingIn: typeof arrivingIn;
  readonly startSidecar: (options: SidecarOptions) => Promise<Sidecar>;
  readonly startReflector: (options: StartReflectorOptions) => Promise<RunningReflector>;
  readonly stdin: Input;
  readonly stdout: Terminal;
  readonly stderr: Terminal;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborted by SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
}
