/**
 * HttpCounts: requests by route, as series: how many, how they ended, how long they took. Labels are routes of the table and
 * never what a client sent, so there are as many series as there are routes.
 */
import { Counter, Histogram, Registry } from 'prom-client';

export interface Answered {
  readonly method: string;
  /** Of the table, names with a colon; '' for a path that is none. */
  readonly route: string;
  readonly status: number;
  readonly ms: number;
}

const BUCKETS_S = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10];

export class HttpCounts {
  readonly registry: Registry = new Registry();
  readonly #requests = new Counter({
    name: 'ctlmesh_http_requests_total',
    help: 'Requests over HTTP, by route and status class; route is empty for paths that are none.',
    labelNames: ['method', 'route', 'status'],
    registers: [this.registry],
  });
  readonly #seconds = new Histogram({
    name: 'ctlmesh_http_request_seconds',
    help: 'Time from the first byte of a request to the last of its answer, by route.',
    labelNames: ['method', 'route'],
    buckets: BUCKETS_S,
    registers: [this.registry],
  });

  note({ method, route, status, ms }: Answered): void {
    // A stranger's method makes no series of its own.
    const labels = { method: route === '' ? '' : method, route: route.replace(/:(\w+)/g, '{$1}') };
    this.#requests.inc({ ...labels, status: `${Math.floor(status / 100)}xx` });
    this.#seconds.observe(labels, ms / 1000);
  }
}
