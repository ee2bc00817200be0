import { expect, test } from 'vitest';
import { foundingMembers, guestsOf, memberOf, parseConfig } from '../../src/config/index.ts';

const node = (i: number, join?: boolean): Record<string, unknown> => ({
  client: `ws://127.0.0.1:741${i}`,
  peer: `ws://127.0.0.1:742${i}`,
  http: `http://127.0.0.1:743${i}`,
  dataDir: `data/n${i}`,
  ...(join === undefined ? {} : { join }),
});
const config = parseConfig(
  { nodes: { n3: node(3), n1: node(1, false), n4: node(4, true), n2: node(2), n5: node(5, true) } },
  { baseDir: '/srv' },
);

test('a cluster begins with the nodes that do not join, in the order of the config', () => {
  expect(foundingMembers(config).map(({ id }) => id)).toEqual(['n3', 'n1', 'n2']);
  expect(foundingMembers(config)[1]).toEqual({
    id: 'n1',
    mesh: '127.0.0.1:7421',
    client: 'ws://127.0.0.1:7411',
    http: '127.0.0.1:7431',
  });
});

test('a node that joins lets in everybody else of its config; one that founds nobody', () => {
  expect(guestsOf(config, 'n4').map(({ id }) => id)).toEqual(['n3', 'n1', 'n2', 'n5']);
  expect(guestsOf(config, 'n1')).toEqual([]);
});

test('an address keeps its port, also where it is the usual one, and its brackets', () => {
  const odd = { client: 'ws://h:80', peer: 'ws://h:80', http: 'http://[::1]:80', dataDir: 'd' };
  expect(memberOf('x', odd)).toEqual({ id: 'x', mesh: 'h:80', client: 'ws://h:80', http: '[::1]:80' });
});
