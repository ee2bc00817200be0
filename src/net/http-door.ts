/**
 * A process's HTTP door: what operators ask of it (/metrics, /healthz, /readyz), the routes that it was given, and what
 * says which there are: a page at `/`, and /openapi.json.
 *
 *   healthz   200 while every actor runs; 503 with the reason otherwise: restart it
 *   readyz    200 when it can serve: a leader is known and what is committed is nearly applied; 503 otherwise:
 *             send traffic elsewhere
 */
import { z } from 'zod';
import type { Callers } from '../actors/gateway/callers.ts';
import type { LogFunction } from '../actors/runtime/thread.ts';
import { type Answered, HttpCounts } from './http/counts.ts';
import { openApiOf } from './http/openapi.ts';
import { pageOf } from './http/page.ts';
import { type Answer, type Route, text } from './http/route.ts';
import { HttpServer } from './http/server.ts';

export interface Readiness {
  readonly ok: boolean;
  readonly checks: Readonly<Record<string, string>>;
}

export interface HttpDoorOptions {
  readonly url: string;
  readonly metrics: () => Promise<{ readonly contentType: string; readonly body: string }>;
  readonly health: () => Readiness;
  readonly readiness: () => Readiness;
  /** What else is served here. */
  readonly routes?: readonly Route[];
  /** Default 128: enough for those who watch. */
  readonly connectionsMax?: number;
  /** Web pages that may ask, by their origin; default none. */
  readonly originsAllowed?: readonly string[];
  /** Names beside its own under which it may be asked; default none. Probes are answered under any. */
  readonly hostsAllowed?: readonly string[];
  /** Who may ask for what needs a role; default: everybody. */
  readonly callers?: Callers;
  /** Default: nothing is logged. */
  readonly log?: LogFunction;
}

const TITLE = 'ctlmesh';
const CONNECTIONS_MAX = 128;
const JSON_TYPE = 'application/json; charset=utf-8';

export class HttpDoor {
  readonly #server: HttpServer;

  private constructor(server: HttpServer) {
    this.#server = server;
  }

  static async open(options: HttpDoorOptions): Promise<HttpDoor> {
    const { url, routes = [], connectionsMax = CONNECTIONS_MAX, log = () => {} } = options;
    const { originsAllowed = [], hostsAllowed = [] } = options;
    const counts = new HttpCounts();
    const onAnswered = (answered: Answered): void => counts.note(answered);
    const all = [...routes, ...operatorRoutes(options, counts)];
    const documents = documentRoutes(() => [...all, ...documents]);
    const served = [...all, ...documents];
    return new HttpDoor(
      await HttpServer.open({
        ...{ url, routes: served, connectionsMax, originsAllowed, hostsAllowed, log, onAnswered },
        callers: options.callers,
      }),
    );
  }

  get url(): string {
    return this.#server.url;
  }

  close(): Promise<void> {
    return this.#server.close();
  }
}

const checks = z.object({ ok: z.boolean(), checks: z.record(z.string(), z.string()) });

function operatorRoutes({ metrics, health, readiness }: HttpDoorOptions, counts: HttpCounts): Route[] {
  const probe = { method: 'GET', group: 'Operation', isProbe: true } as const;
  return [
    {
      ...probe,
      path: '/metrics',
      summary: 'Metrics for Prometheus',
      answer: { kind: 'text', what: 'series' },
      errors: [],
      handle: async () => {
        const { contentType, body } = await metrics();
        return { contentType, body: `${body}${await counts.registry.metrics()}` };
      },
    },
    {
      ...probe,
      path: '/healthz',
      summary: 'Does this process work; 503 with the reason if not: restart it',
      answer: { kind: 'json', schema: checks },
      errors: ['UNAVAILABLE'],
      handle: () => said(health()),
    },
    {
      ...probe,
      path: '/readyz',
      summary: 'Can it serve; 503 with the reason if not: send traffic elsewhere',
      answer: { kind: 'json', schema: checks },
      errors: ['UNAVAILABLE'],
      handle: () => said(readiness()),
    },
  ];
}

const said = (readiness: Readiness): Answer => ({
  status: readiness.ok ? 200 : 503,
  ...text(`${JSON.stringify(readiness)}\n`, JSON_TYPE),
});

function documentRoutes(all: () => readonly Route[]): Route[] {
  const common = { method: 'GET', group: 'Documents', errors: [] } as const;
  return [
    {
      ...common,
      path: '/',
      summary: 'This page',
      answer: { kind: 'text', what: 'what is served here' },
      handle: () => text(pageOf(all(), TITLE)),
    },
    {
      ...common,
      path: '/openapi.json',
      summary: 'The same for programs (OpenAPI 3.1)',
      answer: { kind: 'json', schema: z.looseObject({}) },
      handle: () => text(JSON.stringify(openApiOf(all(), TITLE)), JSON_TYPE),
    },
  ];
}
