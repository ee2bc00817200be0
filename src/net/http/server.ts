/**
 * HttpServer: serves a table of routes (route.ts), with what every request of ours has in common: limits before anything
 * is read, an id, a deadline, one form of failure, one line in the log without anything that came in a header or a body.
 *
 *   in    connections, header and request time, body bytes (413), requests under way (429), origin (403), path (404, 405)
 *   out   id, code and message of a failure; a stream goes as fast as its reader takes it
 *   end   nothing new is taken, what is under way may finish for a moment, then all connections end
 *
 * A web page may ask only from an origin that is allowed: nobody's browser tab should write to a store on localhost. (A
 * page's request always names its origin, unless it is a plain GET, whose answer the browser then keeps from it; hosts.ts says
 * of what it does not.)
 */
import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import type { Callers } from '../../actors/gateway/callers.ts';
import type { LogFunction } from '../../actors/runtime/thread.ts';
import { StoreError } from '../../core/base/errors.ts';
import type { Answered } from './counts.ts';
import { hostCheck } from './hosts.ts';
import { PROBLEM_TYPE, type Problem, problemAnswer, problemOf } from './problem.ts';
import { BODY_BYTES_MAX, Room } from './room.ts';
import { type Answer, type Call, type Credentials, type Route } from './route.ts';

export interface HttpServerOptions {
  /** http://host:port; port 0 is any free one. */
  readonly url: string;
  readonly routes: readonly Route[];
  readonly connectionsMax: number;
  /** Web pages that may ask, by their origin. */
  readonly originsAllowed: readonly string[];
  /** Names beside its own under which it may be asked (hosts.ts). */
  readonly hostsAllowed: readonly string[] | 'any';
  /** Who may ask for routes that need a role; without it everybody. */
  readonly callers?: Callers | undefined;
  readonly log: LogFunction;
  /** Told of each request when it is over. */
  readonly onAnswered?: (answered: Answered) => void;
}

const HEADERS_MS = 5_000;
const REQUEST_MS = 10_000;
const KEEP_ALIVE_MS = 30_000;
/** A socket on which nothing moves, also in the middle of an answer. */
const SILENCE_MS = 60_000;
const DEADLINE_MS = 30_000;
/** How long what is under way may take when the server closes. */
const CLOSE_MS = 1_000;
const PARAM_CHARS_MAX = 1024;
const ID = /^[\w.:-]{1,64}$/;
const PREFLIGHT_S = 600;
/** A body beyond this is not read to its end so that its sender gets the answer. */
const DRAINED_BYTES_MAX = 16 * BODY_BYTES_MAX;

export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #app: FastifyInstance;
  readonly #room = new Room();
  readonly #patterns: readonly { readonly pattern: RegExp; readonly methods: Set<string> }[];
  readonly #checkHost: (host: string | undefined) => void;
  #closing: Promise<void> | undefined;

  private constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#checkHost = hostCheck(options);
    this.#patterns = patternsOf(options.routes);
    this.#app = fastify({
      logger: false,
      bodyLimit: BODY_BYTES_MAX,
      requestTimeout: REQUEST_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionTimeout: SILENCE_MS,
      http: { headersTimeout: HEADERS_MS, connectionsCheckingInterval: 1_000 },
      routerOptions: { maxParamLength: PARAM_CHARS_MAX },
      genReqId: ({ headers }) => idOf(headers['x-request-id']),
      frameworkErrors: (error, request, reply) => {
        this.#fail(request, reply, error);
      },
    });
    this.#app.server.maxConnections = options.connectionsMax;
    this.#app.removeAllContentTypeParsers();
    // Whatever its content type says: each route knows what its body is.
    this.#app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
    this.#app.addHook('onRequest', (request, reply, done) => this.#admit(request, reply, done));
    this.#app.addHook('onResponse', (request, reply, done) => {
      this.#note(request, reply);
      done();
    });
    this.#app.setErrorHandler((error, request, reply) => this.#fail(request, reply, error));
    this.#app.setNotFoundHandler((request, reply) => this.#notHere(request, reply));
    for (const route of options.routes) this.#add(route);
  }

  static async open(options: HttpServerOptions): Promise<HttpServer> {
    const server = new HttpServer(options);
    const { hostname, port } = new URL(options.url);
    await server.#app.listen({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) });
    return server;
  }

  /** Where it listens. */
  get url(): string {
    return this.#app.listeningOrigin;
  }

  /** May be called twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const hurry = setTimeout(() => this.#app.server.closeAllConnections(), CLOSE_MS);
    await this.#app.close();
    clearTimeout(hurry);
  }

  #add(route: Route): void {
    const { method, path, handle } = route;
    this.#app.route({
      method,
      url: path.replace(/\{(\w+)\}/g, ':$1'),
      exposeHeadRoute: method === 'GET',
      config: { isProbe: route.isProbe === true, needs: route.needs },
      handler: async (request, reply) => {
        const answer = await handle(callOf(request, reply));
        const { body } = answer;
        if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) return send(reply, answer);
        return this.#stream(request, reply, { ...answer, body });
      },
    });
  }

  /** With its first part there: what fails before that is an answer of its own, and no broken stream. */
  async #stream(
    request: FastifyRequest,
    reply: FastifyReply,
    answer: Answer & { readonly body: AsyncIterable<string> },
  ): Promise<FastifyReply> {
    const { body, ...rest } = answer;
    // Nothing is read for who wants nothing of it.
    if (request.method === 'HEAD') return send(reply, rest);
    const parts = body[Symbol.asyncIterator]();
    const first = await parts.next();
    const failed = (error: unknown): void => {
      const { code } = problemOf(error);
      this.#options.log('warn', 'http.broken', { id: request.id, route: routeOf(request), code });
    };
    return send(reply, rest, Readable.from(continued(first, parts, failed)));
  }

  /** Before the body is read: is there room, and may this be asked at all. */
  #admit(request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void): void {
    reply.header('x-request-id', request.id).header('cache-control', 'no-store');
    reply.header('x-content-type-options', 'nosniff');
    try {
      this.#checkOrigin(request, reply);
      if (!request.url.startsWith('/')) throw new StoreError('BAD_REQUEST', 'a path begins with /');
      // The router takes nothing for a name; we do not.
      if (request.is404 || Object.values(request.params as Record<string, string>).includes('')) {
        this.#notHere(request, reply);
        return;
      }
      const { isProbe, needs } = request.routeOptions.config as Pick<Route, 'isProbe' | 'needs'>;
      if (isProbe !== true) {
        this.#checkHost(request.headers.host);
        const { callers } = this.#options;
        if (needs !== undefined) callers?.check(callers.callerOf(bearerOf(request)), needs);
        const leave = this.#room.enter(checkedLength(request, reply));
        reply.raw.once('close', leave);
      }
      done();
    } catch (error) {
      this.#fail(request, reply, error);
    }
  }

  #checkOrigin({ headers: { origin } }: FastifyRequest, reply: FastifyReply): void {
    if (origin === undefined) return;
    if (!this.#options.originsAllowed.includes(origin)) {
      throw new StoreError('FORBIDDEN', 'this origin is not allowed (originsAllowed)');
    }
    reply.header('access-control-allow-origin', origin).header('vary', 'origin');
    reply.header('access-control-expose-headers', 'ctlmesh-code, ctlmesh-revision, retry-after, x-request-id');
  }

  /** OPTIONS of a path that is here; 405 for another method of it; 404. */
  #notHere(request: FastifyRequest, reply: FastifyReply): void {
    const methods = this.#methodsOf(request.url);
    if (methods === undefined) {
      this.#send(request, reply, {
        status: 404,
        code: 'NOT_FOUND',
        message: 'no such path; / says what is here',
        data: {},
      });
      return;
    }
    reply.header('allow', methods);
    if (request.method === 'OPTIONS') {
      reply.header('access-control-allow-methods', methods).header('access-control-max-age', PREFLIGHT_S);
      const wanted = request.headers['access-control-request-headers'];
      if (wanted !== undefined && request.headers.origin !== undefined)
        reply.header('access-control-allow-headers', wanted);
      reply.code(204).send();
      return;
    }
    this.#send(request, reply, { status: 405, code: 'BAD_REQUEST', message: `only ${methods}`, data: {} });
  }

  #methodsOf(target: string): string | undefined {
    const path = target.split('?', 1)[0] ?? '';
    const methods = new Set(
      this.#patterns.filter(({ pattern }) => pattern.test(path)).flatMap((one) => [...one.methods]),
    );
    return methods.size === 0 ? undefined : [...methods, 'OPTIONS'].join(', ');
  }

  #fail(request: FastifyRequest, reply: FastifyReply, error: unknown): void {
    const problem = problemOf(error);
    if (problem.code === 'INTERNAL') {
      const { message, stack } = error as Partial<Error>;
      this.#options.log('error', 'http.failed', { id: request.id, route: routeOf(request), message, stack });
    }
    this.#send(request, reply, problem);
  }

  #send(request: FastifyRequest, reply: FastifyReply, problem: Problem): void {
    void send(
      reply,
      problemAnswer(problem, { asJson: accepts(request, PROBLEM_TYPE, 'application/json'), id: request.id }),
    );
  }

  /** Route and status; never what stands in a header or a body. */
  #note(request: FastifyRequest, reply: FastifyReply): void {
    const ms = Math.round(reply.elapsedTime * 10) / 10;
    const { id, method } = request;
    const { statusCode: status } = reply;
    const route = routeOf(request);
    this.#options.log('debug', 'http.request', { id, method, route, status, ms });
    this.#options.onAnswered?.({ method, route, status, ms });
  }
}

const routeOf = ({ is404, routeOptions }: FastifyRequest): string => (is404 ? '' : (routeOptions.url ?? ''));

function idOf(given: string | readonly string[] | undefined): string {
  return typeof given === 'string' && ID.test(given) ? given : randomUUID();
}

function patternsOf(routes: readonly Route[]): { readonly pattern: RegExp; readonly methods: Set<string> }[] {
  const methodsOf = new Map<string, Set<string>>();
  for (const { path, method } of routes) {
    const methods = methodsOf.get(path) ?? new Set();
    methodsOf.set(path, methods.add(method));
    if (method === 'GET') methods.add('HEAD');
  }
  return Array.from(methodsOf, ([path, methods]) => ({
    pattern: new RegExp(`^${path.replace(/[.]/g, '\\.').replace(/\{\w+\}/g, '[^/]+')}$`),
    methods,
  }));
}

/** Bytes of the body that is to come; one of unknown length counts as the longest. */
function checkedLength({ headers }: FastifyRequest, reply: FastifyReply): number {
  const size = Number(headers['content-length'] ?? (headers['transfer-encoding'] === undefined ? 0 : BODY_BYTES_MAX));
  if (size <= BODY_BYTES_MAX) return size;
  if (size > DRAINED_BYTES_MAX) reply.header('connection', 'close');
  throw new StoreError(
    'TXN_TOO_LARGE',
    `Request too large: a body may have ${BODY_BYTES_MAX} bytes, this one has ${size}`,
    {
      data: { limit: BODY_BYTES_MAX, size },
    },
  );
}

function callOf(request: FastifyRequest, reply: FastifyReply): Call {
  const ended = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) ended.abort(new Error('the connection ended'));
  });
  const { url } = request;
  const at = url.indexOf('?');
  return {
    params: request.params as Record<string, string>,
    query: new URLSearchParams(at === -1 ? '' : url.slice(at + 1)),
    body: request.body instanceof Uint8Array ? request.body : new Uint8Array(0),
    credentials: () => credentialsOf(request),
    bearer: bearerOf(request),
    accepts: (contentType) => accepts(request, contentType),
    options: { deadlineMs: deadlineOf(request), signal: ended.signal },
  };
}

const bearerOf = ({ headers }: FastifyRequest): string | undefined =>
  /^Bearer (\S+)$/i.exec(headers.authorization ?? '')?.[1];

function deadlineOf({ headers }: FastifyRequest): number {
  const given = headers['ctlmesh-deadline-ms'];
  if (given === undefined) return DEADLINE_MS;
  const ms = Number(given);
  if (Number.isInteger(ms) && ms >= 1 && ms <= DEADLINE_MS) return ms;
  throw new StoreError('BAD_REQUEST', `ctlmesh-deadline-ms is a whole number from 1 to ${DEADLINE_MS}`);
}

function credentialsOf(request: FastifyRequest): Credentials {
  const [writer, secret] = [headerOf(request, 'writer'), headerOf(request, 'secret')];
  if (writer !== undefined && secret !== undefined) return { writer, secret };
  throw new StoreError('BAD_REQUEST', 'the headers ctlstore-writer and ctlstore-secret (or ctlmesh-…) are needed');
}

/** Node gives a header's bytes as Latin-1; they are UTF-8. */
function headerOf({ headers }: FastifyRequest, name: 'writer' | 'secret'): string | undefined {
  const given = headers[`ctlmesh-${name}`] ?? headers[`ctlstore-${name}`];
  if (typeof given !== 'string') return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(given, 'latin1'));
  } catch {
    throw new StoreError('BAD_REQUEST', `the header ctlmesh-${name} is not UTF-8`);
  }
}

function accepts({ headers: { accept } }: FastifyRequest, ...types: readonly string[]): boolean {
  const named = (accept ?? '').split(',').map((one) => one.split(';', 1)[0]?.trim().toLowerCase());
  return types.some((type) => named.includes(type));
}

function send(reply: FastifyReply, answer: Answer, stream?: Readable): FastifyReply {
  const { status, contentType, body, headers } = answer;
  reply.code(status ?? 200);
  if (headers !== undefined) reply.headers(headers);
  if (contentType !== undefined) reply.header('content-type', contentType);
  if (body instanceof Uint8Array) return reply.send(Buffer.from(body.buffer, body.byteOffset, body.byteLength));
  return reply.send(stream ?? body);
}

/** The first part, and those that follow. What ends them early ends the connection: the reader sees a broken stream. */
async function* continued(
  first: IteratorResult<string>,
  parts: AsyncIterator<string>,
  failed: (error: unknown) => void,
): AsyncGenerator<string> {
  try {
    for (let part = first; part.done !== true; part = await parts.next()) yield part.value;
  } catch (error) {
    failed(error);
    throw error;
  } finally {
    await parts.return?.();
  }
}
