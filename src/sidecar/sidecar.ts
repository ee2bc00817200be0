/**
 * Sidecar: an HTTP server beside a replica, in a process of its own or in the reflector's.
 *
 * The replica is opened when it is first asked for, and again with each request until it is there: a host starts its
 * processes in any order.
 */
import { isStoreError, StoreError } from '../core/base/errors.ts';
import { type LdbReader, openLdb } from '../engine/ldb/index.ts';
import { HttpServer, type HttpServerOptions } from '../net/http/server.ts';
import { sidecarRoutes } from './routes.ts';

export interface SidecarOptions {
  /** The replica's directory. */
  readonly dir: string;
  /** http://host:port; port 0 is any free one. */
  readonly url: string;
  /** Rows of one answer, past which it is 416; default 0: all. */
  readonly rowsMax?: number;
  /** This process also writes the replica. */
  readonly besideWriter?: boolean;
  readonly log?: HttpServerOptions['log'];
}

export interface Sidecar {
  /** Where it listens. */
  readonly url: string;
  /** May be called twice. */
  close(): Promise<void>;
}

const CONNECTIONS_MAX = 1024;

export async function startSidecar(options: SidecarOptions): Promise<Sidecar> {
  const { dir, url, rowsMax = 0, besideWriter = false, log = () => {} } = options;
  let reader: LdbReader | undefined;
  const ldb = (): LdbReader => {
    try {
      reader ??= openLdb(dir, { besideWriter });
      return reader;
    } catch (error) {
      if (!isStoreError(error, 'LDB_MISSING')) throw error;
      throw new StoreError('UNAVAILABLE', error.message, { cause: error });
    }
  };
  const routes = sidecarRoutes({ ldb, rowsMax });
  const server = await HttpServer.open({
    url,
    routes,
    connectionsMax: CONNECTIONS_MAX,
    originsAllowed: [],
    // Rows are asked for with POST, and then a page names its origin.
    hostsAllowed: 'any',
    log,
  });
  return {
    url: server.url,
    close: async () => {
      await server.close();
      reader?.close();
    },
  };
}
