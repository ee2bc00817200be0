/**
 * The operators' door: /metrics, /healthz, /readyz. Nothing here changes anything.
 *
 *   healthz   200 while every actor runs; 503 with the reason otherwise: restart it
 *   readyz    200 when it can serve: a leader is known and what is committed is nearly applied; 503 otherwise:
 *             send traffic elsewhere
 */
import { createServer, type Server } from 'node:http';

export interface Readiness {
  readonly ok: boolean;
  readonly checks: Readonly<Record<string, string>>;
}

export interface HttpDoorOptions {
  readonly url: string;
  readonly metrics: () => Promise<{ readonly contentType: string; readonly body: string }>;
  readonly health: () => Readiness;
  readonly readiness: () => Readiness;
}

export class HttpDoor {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async open(options: HttpDoorOptions): Promise<HttpDoor> {
    const address = new URL(options.url);
    const server = createServer((request, response) => {
      const reply = (status: number, contentType: string, body: string): void => {
        response.writeHead(status, { 'content-type': contentType, 'cache-control': 'no-store' });
        response.end(request.method === 'HEAD' ? undefined : body);
      };
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        response.setHeader('allow', 'GET, HEAD');
        reply(405, 'text/plain; charset=utf-8', 'only GET and HEAD\n');
        return;
      }
      const pathname = pathOf(request.url ?? '/');
      if (pathname === '/metrics') {
        options.metrics().then(
          ({ contentType, body }) => reply(200, contentType, body),
          (error: unknown) => reply(500, 'text/plain; charset=utf-8', `${String(error)}\n`),
        );
      } else if (pathname === '/healthz' || pathname === '/readyz') {
        const { ok, checks } = pathname === '/healthz' ? options.health() : options.readiness();
        reply(ok ? 200 : 503, 'application/json', `${JSON.stringify({ ok, checks })}\n`);
      } else reply(404, 'text/plain; charset=utf-8', 'here are /metrics, /healthz and /readyz\n');
    });
    server.headersTimeout = 5_000;
    server.requestTimeout = 10_000;
    server.maxConnections = 128;
    await new Promise<void>((resolve, reject) => {
      server.once('listening', resolve);
      server.once('error', reject);
      server.listen(Number(address.port), address.hostname.replace(/^\[|\]$/g, ''));
    });
    return new HttpDoor(server);
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }
}

/** The path of a request line's target; '' for what is no path, like `//` or `*`. */
function pathOf(target: string): string {
  return target.startsWith('/') ? (target.split('?', 1)[0] ?? '') : '';
}
