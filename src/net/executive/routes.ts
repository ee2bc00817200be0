/**
 * The executive: ctlstore's HTTP API for those who write control data, on every node. Any node takes any request: what a
 * route asks is asked of the node's own SDK client, which finds the leader, and sends again what it had no answer for.
 * docs/http.md says what is as in ctlstore and what is not.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Control } from '../../client/control-types.ts';
import { StoreError } from '../../core/base/errors.ts';
import { type Call, type Route, text } from '../http/route.ts';
import { rowRoutes } from './row-routes.ts';
import { tableRoutes } from './table-routes.ts';
import { limitRoutes, writerRoutes } from './writer-routes.ts';

export function executiveRoutes(control: Control, isReady: () => boolean): Route[] {
  return routesOf(control, isReady).map((route) => ({ ...route, needs: neededFor(route) }));
}

/** What writers do; whatever else changes something is an admin's. */
const WRITES: ReadonlySet<string> = new Set([
  'POST /families/{family}/mutations',
  'PATCH /families/{family}/mutations',
  'POST /cookie',
]);

function neededFor({ method, path, isProbe }: Route): Route['needs'] {
  if (isProbe === true) return undefined;
  if (method === 'GET') return 'read';
  return WRITES.has(`${method} ${path}`) ? 'write' : 'admin';
}

function routesOf(control: Control, isReady: () => boolean): Route[] {
  return [
    ...tableRoutes(control),
    ...rowRoutes(control),
    ...writerRoutes(control),
    ...limitRoutes(control),
    {
      ...{ method: 'GET', path: '/status', group: 'Operation' },
      isProbe: true,
      summary: 'Can it serve, without reasons (ctlstore’s path for /readyz)',
      answer: { kind: 'text', what: 'nothing' },
      errors: ['UNAVAILABLE'],
      handle: () => {
        if (isReady()) return {};
        throw new StoreError('UNAVAILABLE', 'this node cannot serve now; /readyz says why');
      },
    },
    {
      ...{ method: 'GET', path: '/sleep', group: 'Operation' },
      summary: 'Answers after a minute, or “cancelled” at the deadline of the request',
      answer: { kind: 'text', what: 'slept or cancelled' },
      errors: [],
      handle: ({ options }) => slept(options),
    },
  ];
}

const SLEEP_MS = 60_000;

/** Who hangs up is not waited for. */
async function slept({ deadlineMs, signal }: Call['options']): Promise<ReturnType<typeof text>> {
  const ms = Math.min(SLEEP_MS, deadlineMs);
  await sleep(ms, undefined, { signal }).catch((cause: unknown) => {
    throw new StoreError('CANCELLED', 'the connection ended', { cause });
  });
  return text(ms === SLEEP_MS ? 'slept' : 'cancelled');
}
