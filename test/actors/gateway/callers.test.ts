import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { type Caller, Callers, OWN_CALLER } from '../../../src/actors/gateway/callers.ts';
import { callerGrants, nodeToken } from '../../../src/config/index.ts';
import * as wire from '../../../src/core/wire/client.ts';
import { type Ask, ask, GatewayWorld, Peer } from './gateway-world.ts';

const sha256 = (token: string): string => createHash('sha256').update(token).digest('hex');
const CONFIG = {
  callers: {
    viewer: { role: 'read', tokenSha256: sha256('token-of-the-viewer') },
    loader: { role: 'write', tokenEnv: 'LOADER' },
    ops: { role: 'admin', tokenSha256: sha256('token-of-ops').toUpperCase() },
  },
} as const;
const ENV = { LOADER: 'token-of-the-loader' };
const callers = new Callers(callerGrants(CONFIG, ENV));

describe('callers', () => {
  test('are known by their tokens, and never by a hash', () => {
    expect(callers.callerOf('token-of-ops')).toMatchObject({ name: 'ops', role: 'admin' });
    expect(callers.callerOf('token-of-the-loader')).toMatchObject({ name: 'loader', role: 'write' });
    for (const token of ['', 'token-of-nobody', sha256('token-of-ops')]) {
      expect(callers.callerOf(token).role).toBeUndefined();
      const error = expect.objectContaining({
        code: 'TOKEN_INVALID',
        http: 401,
        message: expect.not.stringContaining('token-of'),
      });
      expect(() => callers.check(callers.callerOf(token), 'read')).toThrow(error);
    }
    expect(() => callers.check(callers.callerOf('token-of-the-viewer'), 'write')).toThrow(
      expect.objectContaining({ code: 'FORBIDDEN', http: 403, data: { role: 'read', needed: 'write' } }),
    );
  });

  test('are nodes too, by what their configs share; without callers nobody is asked', () => {
    const token = nodeToken(CONFIG, ENV);
    expect(callers.callerOf(token)).toMatchObject({ role: 'node' });
    const { viewer, loader, ops } = CONFIG.callers;
    expect(nodeToken({ callers: { ops, loader, viewer } }, ENV)).toBe(token);
    expect(nodeToken({ callers: { ops } }, ENV)).not.toBe(token);
    expect([nodeToken({ callers: {} }, ENV), callerGrants({ callers: {} }, ENV)]).toEqual([undefined, []]);
    expect(() => callerGrants(CONFIG, {})).toThrow('callers.loader.tokenEnv: LOADER is not set');
    const open = new Callers([]);
    expect(() => open.check(open.callerOf(undefined), 'admin')).not.toThrow();
  });
});

describe('at the gateway', () => {
  const readers = [{ name: 'edge', tokenSha256: sha256('token-of-the-edge'), filter: undefined }];
  const connect = (world: GatewayWorld, token?: string, caller?: Caller): Peer => {
    const peer = new Peer(world.gateway, false, caller);
    peer.raw(wire.encodeHello({ versionMin: 1, versionMax: 1, client: 'test', token }));
    return peer;
  };
  const outcomes = (peer: Peer, ...asked: readonly Ask[]): (string | undefined)[] => {
    peer.ask(...asked);
    return asked.map(({ id }) => peer.outcome(id));
  };
  const traced = (id: number): Ask => {
    const { kind, body } = ask.put(id, 'k');
    return { id, kind: kind | wire.TRACED, body: (writer) => body(writer.string('00-aa-bb-01')) };
  };
  const status = (id: number): Ask => ({ id, kind: wire.REQUEST.status, body: () => undefined });
  const members = (id: number, request: object): Ask => ({
    ...{ id, kind: wire.REQUEST.members },
    body: (writer) => writer.raw(Buffer.from(JSON.stringify(request))),
  });

  test('each request is judged by who greeted; one that is refused has not happened', () => {
    const world = new GatewayWorld({ callers });
    const local = { isLocal: true };
    const all = [status(1), ask.get(2, 'k', local), ask.put(3, 'k'), traced(4), members(5, { op: 'transfer' })];
    // What is let in waits for the log: no outcome yet.
    for (const [token, expected] of [
      [undefined, ['ok', ...Array.from({ length: 4 }, () => 'TOKEN_INVALID')]],
      ['token-of-nobody', ['ok', ...Array.from({ length: 4 }, () => 'TOKEN_INVALID')]],
      ['token-of-the-viewer', ['ok', 'ok', 'FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN']],
      ['token-of-the-loader', ['ok', 'ok', undefined, undefined, 'FORBIDDEN']],
      ['token-of-ops', ['ok', 'ok', undefined, undefined, undefined]],
      [nodeToken(CONFIG, ENV), ['ok', 'FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN']],
    ] as const) {
      expect([token, outcomes(connect(world, token), ...all)]).toEqual([token, expected]);
    }
    expect(outcomes(connect(world, undefined, OWN_CALLER), ...all)).toEqual([
      'ok',
      'ok',
      undefined,
      undefined,
      undefined,
    ]);
    expect(world.gateway.counts.writes).toBe(6);
  });

  test('the ledger is for readers where they are named, and else for whoever may read', () => {
    const ledger = (id: number): Ask => ask.ledger(id, '');
    const open = new GatewayWorld({ callers });
    expect(outcomes(connect(open), ledger(1))).toEqual(['TOKEN_INVALID']);
    expect(outcomes(connect(open, 'token-of-the-viewer'), ledger(1))).toEqual([undefined]);
    const named = new GatewayWorld({ callers, readers });
    // It shows its token with the subscription.
    expect(outcomes(connect(named), ledger(1), ask.get(2, 'k'))).toEqual(['FORBIDDEN', 'TOKEN_INVALID']);
  });
});
