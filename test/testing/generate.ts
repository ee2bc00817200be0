/** Histories by chance: of a store that is linearizable, and of clients that wait for it for any time. */
import type { Random } from '../../src/core/base/env.ts';
import type { HistoryEvent, Json } from '../../src/testing/index.ts';
import { below, pick } from '../core/base/seeded.ts';

export interface Shape {
  readonly operations: number;
  readonly processes: number;
  readonly keys: number;
  /** Values are below this; undefined: each write has its own. */
  readonly values?: number;
  readonly reads?: number;
  readonly infos?: number;
  readonly kind: 'register' | 'txn' | 'append';
}

interface Client {
  process: number;
  phase: 'idle' | 'asked' | 'done';
  event: HistoryEvent;
  result: Json;
  isOk: boolean;
}

/** Each operation takes effect at one moment between its events. */
export function linearizable(random: Random, shape: Shape): HistoryEvent[] {
  const events: HistoryEvent[] = [];
  const state = new Map<string, Json>();
  const nothing: HistoryEvent = { process: 0, type: 'invoke', f: 'read' };
  const clients = Array.from(
    { length: shape.processes },
    (_, process): Client => ({ process, phase: 'idle', event: nothing, result: null, isOk: true }),
  );
  let next = 1;
  let started = 0;
  let processes = shape.processes;
  const value = (): number => (shape.values === undefined ? next++ : below(random, shape.values));
  const key = (): string => `k${below(random, shape.keys)}`;
  const ask = (process: number): HistoryEvent => {
    const base = { process, type: 'invoke' } as const;
    const isRead = random() < (shape.reads ?? 0.5);
    if (shape.kind === 'register') {
      const one = key();
      if (isRead) return { ...base, f: 'read', key: one };
      if (random() < 0.7) return { ...base, f: 'write', key: one, value: value() };
      const from = shape.values === undefined ? (state.get(one) ?? null) : value();
      return { ...base, f: 'cas', key: one, value: [from, value()] };
    }
    const parts = Array.from({ length: 1 + below(random, 3) }, (): Json => {
      const isReadPart = random() < (shape.reads ?? 0.5);
      if (shape.kind === 'append') return isReadPart ? ['r', key(), null] : ['append', key(), next++];
      if (isReadPart) return ['r', key(), null];
      return random() < 0.8 ? ['w', key(), value()] : ['cas', key(), [value(), value()]];
    });
    return { ...base, f: 'txn', value: parts };
  };
  while (clients.some(({ phase }) => phase !== 'idle') || started < shape.operations) {
    const client = pick(
      random,
      clients.filter(({ phase }) => phase !== 'idle' || started < shape.operations),
    );
    const { event } = client;
    if (client.phase === 'idle') {
      client.event = ask(client.process);
      client.phase = 'asked';
      events.push(client.event);
      started++;
    } else if (client.phase === 'asked') {
      const isLost = random() < (shape.infos ?? 0);
      const done = isLost && random() < 0.5 ? undefined : happen(state, event);
      client.isOk = done !== undefined;
      client.result = done ?? null;
      client.phase = 'done';
      if (!isLost) continue;
      events.push({ ...event, type: 'info' });
      client.process = processes++;
      client.phase = 'idle';
    } else {
      client.phase = 'idle';
      events.push({ ...event, type: client.isOk ? 'ok' : 'fail', ...(client.isOk ? { value: client.result } : {}) });
    }
  }
  return events;
}

/** The effect, and what the client is told; undefined when a condition does not hold. */
function happen(state: Map<string, Json>, { f, key = null, value = null }: HistoryEvent): Json | undefined {
  if (f === 'txn') {
    const next = new Map(state);
    const done = (value as [string, string, Json][]).map(([name, key, asked]): Json | undefined => {
      if (name === 'r') return [name, key, next.get(key) ?? null];
      if (name === 'append') next.set(key, [...((next.get(key) as Json[] | undefined) ?? []), asked]);
      else if (name === 'w') next.set(key, asked);
      else {
        const [from, to] = asked as [Json, Json];
        if ((next.get(key) ?? null) !== from) return undefined;
        next.set(key, to);
      }
      return [name, key, asked];
    });
    if (done.includes(undefined)) return undefined;
    for (const [name, now] of next) state.set(name, now);
    return done as Json[];
  }
  const name = key as string;
  if (f === 'read') return state.get(name) ?? null;
  if (f === 'cas') {
    const [from, to] = value as [Json, Json];
    if ((state.get(name) ?? null) !== from) return undefined;
    state.set(name, to);
  } else {
    state.set(name, value);
  }
  return value;
}
