/**
 * The parts of a reflector over HTTP, as a node shows its actors to `kvctl actors`: GET /debug/actors.
 */
import { z } from 'zod';
import type { ActorsView } from '../core/wire/actors.ts';
import { type Route, text } from '../net/http/route.ts';

export function actorsRoute(look: () => Promise<ActorsView>): Route {
  return {
    method: 'GET',
    path: '/debug/actors',
    group: 'Operation',
    summary: 'What its parts do: each an actor, with how often it was started again',
    answer: { kind: 'json', schema: z.looseObject({ node: z.string(), rows: z.array(z.looseObject({})) }) },
    errors: [],
    handle: async () => text(`${JSON.stringify(await look())}\n`, 'application/json; charset=utf-8'),
  };
}
