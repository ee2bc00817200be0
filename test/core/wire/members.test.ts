import { describe, expect, test } from 'vitest';
import { utf8 } from '../../../src/core/base/bytes.ts';
import { isStoreError } from '../../../src/core/base/errors.ts';
import {
  checkMemberRequest,
  decodeMemberRequest,
  decodeMembersReply,
  encodeMemberRequest,
  type MemberRequest,
} from '../../../src/core/wire/members.ts';
import { forSeeds, randomBytes } from '../base/seeded.ts';

const member = { id: 'n4', mesh: '127.0.0.1:7424', client: 'ws://127.0.0.1:7414', http: '127.0.0.1:7434' };

test.each<MemberRequest>([
  { op: 'list' },
  { op: 'add', member },
  { op: 'add', member: { ...member, mesh: '[::1]:80', client: 'wss://ctl.example/n4', http: '' } },
  { op: 'promote', id: 'n4' },
  { op: 'remove', id: 'n1' },
  { op: 'replace', id: 'n1', with: 'n4' },
  { op: 'transfer' },
  { op: 'transfer', to: 'n2' },
])('%j is read as it was written', (request) => {
  expect(decodeMemberRequest(encodeMemberRequest(request))).toEqual(request);
});

test('what is not known is left out, and http may be', () => {
  const { http: _, ...rest } = member;
  expect(checkMemberRequest({ op: 'add', member: { ...rest, vote: 7 }, force: true })).toEqual({
    op: 'add',
    member: { ...member, http: '' },
  });
});

describe('each fault is told in words', () => {
  const add = (fields: object): object => ({ op: 'add', member: { ...member, ...fields } });
  test.each<[string, unknown, string]>([
    ['no object', [], 'a request about members is an object'],
    ['no operation', {}, 'unknown request about members: undefined'],
    ['another operation', { op: 'demote' }, 'unknown request about members: demote'],
    ['an id with capitals', { op: 'promote', id: 'N4' }, '\'-\'; this is "N4"'],
    ['an id that is too long', { op: 'remove', id: 'n'.repeat(33) }, '1 to 32 characters'],
    ['no id', { op: 'remove' }, 'this is undefined'],
    ['nobody to take the place', { op: 'replace', id: 'n1' }, 'this is undefined'],
    ['a number for a node', { op: 'transfer', to: 2 }, 'this is 2'],
    ['no member', { op: 'add' }, 'a member is an object'],
    ['a mesh address with a scheme', add({ mesh: 'ws://h:1' }), 'the mesh address is host:port; this is "ws://h:1"'],
    ['a mesh address without a port', add({ mesh: 'h' }), 'host:port; this is "h"'],
    ['a mesh address without a host', add({ mesh: ':7421' }), 'host:port; this is ":7421"'],
    ['any port', add({ mesh: 'h:0' }), 'host:port; this is "h:0"'],
    ['no port', add({ mesh: 'h:65536' }), 'host:port; this is "h:65536"'],
    ['a path', add({ mesh: 'h:1/x' }), 'host:port; this is "h:1/x"'],
    ['a path before the port', add({ mesh: 'h/x:1' }), 'host:port; this is "h/x:1"'],
    ['a password', add({ mesh: 'a:b@h:1' }), 'host:port'],
    ['a line end', add({ mesh: 'h:1\n' }), 'host:port'],
    ['an endless address', add({ mesh: `${'h'.repeat(300)}:1` }), 'host:port'],
    ['a client address without its scheme', add({ client: 'h:1' }), 'the client address is a ws:// URL; this is "h:1"'],
    ['a client address of another kind', add({ client: 'http://h:1' }), 'is a ws:// URL'],
    ['no client address', add({ client: undefined }), 'is a ws:// URL'],
    ['an http address with a scheme', add({ http: 'http://h:1' }), 'the http address is host:port'],
  ])('%s', (_what, value, expected) => {
    const refused = (): unknown => decodeMemberRequest(utf8(JSON.stringify(value)));
    expect(refused).toThrow(expected);
    try {
      refused();
    } catch (error) {
      expect(isStoreError(error, 'BAD_REQUEST')).toBe(true);
    }
  });

  test('bytes that are no JSON are a bad request, whatever they are', () => {
    forSeeds(50, (random) => {
      try {
        decodeMemberRequest(randomBytes(random, 20));
        expect.unreachable('random bytes are no request');
      } catch (error) {
        expect(isStoreError(error, 'BAD_REQUEST')).toBe(true);
      }
    });
  });
});

test('a reply without members is none', () => {
  const reply = {
    index: 7,
    voters: ['n1'],
    outgoing: [],
    learners: [],
    members: [],
    leader: 'n1',
    term: 2,
    progress: {},
  };
  expect(decodeMembersReply(utf8(JSON.stringify(reply)))).toEqual(reply);
  expect(() => decodeMembersReply(utf8(JSON.stringify({ ...reply, learners: 1 })))).toThrow('says nothing of members');
  expect(() => decodeMembersReply(utf8('{}'))).toThrow('says nothing of members');
});
