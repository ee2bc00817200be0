import { expect, test } from 'vitest';
import { Divergence } from '../../src/actors/divergence.ts';
import { Shared } from '../../src/actors/shared.ts';
import { isStoreError } from '../../src/core/base/errors.ts';
import { toIndex } from '../../src/core/base/position.ts';
import { Configuration } from '../../src/core/raft/configuration.ts';
import { type Membership, votersOnly } from '../../src/core/raft/membership.ts';
import type { Diverged } from '../../src/engine/disk/diverged.ts';
import { below, forSeeds } from '../core/base/seeded.ts';

const GOOD = 0xaaaa;
const SECOND_MS = 1_000;

/** One node: its states, what it logged, and how it ended. */
class Node {
  readonly shared = new Shared();
  readonly logged: { readonly event: string; readonly fields: Record<string, unknown> }[] = [];
  readonly marks: Diverged[] = [];
  readonly divergence: Divergence;
  ended: string | undefined;
  /** From this revision on its hash is `wrong`. */
  wrongFrom = Number.POSITIVE_INFINITY;
  wrong = 0xbbbb;
  /** How many revisions back it still knows its hash. */
  kept = 64 * 4096;

  constructor(cluster: Cluster, id: string) {
    this.divergence = new Divergence({
      raft: { id, configuration: cluster.configuration },
      shared: this.shared,
      clock: { nowMs: () => cluster.nowMs, monotonicMs: () => cluster.nowMs },
      checkpoints: { at: (revision) => this.#hashAt(revision) },
      post: (to, message) => {
        if (message.kind === 'stateHash') cluster.sent.push({ from: id, to, index: message.index, hash: message.hash });
      },
      markDiverged: (diverged) => {
        if (cluster.isDiskFull) throw new Error('no space left');
        this.marks.push(diverged);
      },
      log: (_level, event, fields = {}) => this.logged.push({ event, fields }),
    });
  }

  #hashAt(revision: number): number | undefined {
    const applied = this.shared.get('applied');
    if (revision > applied || revision <= applied - this.kept) return undefined;
    return (revision >= this.wrongFrom ? this.wrong : GOOD) + revision;
  }

  events(event: string): Record<string, unknown>[] {
    return this.logged.filter((one) => one.event === event).map(({ fields }) => fields);
  }

  /** Runs a call of it, and takes note when it ends the node. */
  run(call: (divergence: Divergence) => void): void {
    if (this.ended !== undefined) return;
    try {
      call(this.divergence);
    } catch (error) {
      if (!isStoreError(error)) throw error;
      this.ended = error.code;
    }
  }
}

class Cluster {
  nowMs = 1;
  isDiskFull = false;
  readonly configuration: Configuration;
  readonly nodes: Map<string, Node>;
  readonly down = new Set<string>();
  sent: { from: string; to: string; index: number; hash: number }[] = [];
  messages = 0;

  constructor(membership: Membership) {
    this.configuration = new Configuration({ index: toIndex(0), membership });
    this.nodes = new Map(membership.members.map(({ id }) => [id, new Node(this, id)]));
  }

  static of(count: number): Cluster {
    return new Cluster(votersOnly(Array.from({ length: count }, (_, i) => `n${i + 1}`)));
  }

  node(id: string): Node {
    return this.nodes.get(id) as Node;
  }

  apply(revision: number, ...ids: readonly string[]): void {
    for (const id of ids.length === 0 ? this.nodes.keys() : ids) this.node(id).shared.set('applied', revision);
  }

  /** Everything that is under way arrives, in the order that `next` picks, and what is answered to it. */
  deliver(next: (count: number) => number = () => 0): void {
    for (let count = 0; this.sent.length > 0; count++) {
      if (count > 1_000) throw new Error('they never stop talking');
      const [message] = this.sent.splice(next(this.sent.length), 1) as [(typeof this.sent)[number]];
      this.messages++;
      if (this.down.has(message.to) || this.down.has(message.from)) continue;
      this.node(message.to).run((node) => node.heard(message.from, toIndex(message.index), message.hash));
    }
  }

  /** A second goes by at each node in turn. */
  second(next?: (count: number) => number): void {
    this.nowMs += SECOND_MS;
    for (const [id, node] of this.nodes) if (!this.down.has(id)) node.run((divergence) => divergence.tick());
    this.deliver(next);
  }

  get ended(): string[] {
    return [...this.nodes].filter(([, { ended }]) => ended !== undefined).map(([id]) => id);
  }
}

test('equal states: each second one word to each member, and nothing else', () => {
  const cluster = Cluster.of(3);
  for (let second = 1; second <= 10; second++) {
    cluster.apply(1_000 * second);
    cluster.second();
    // A tick that comes sooner says nothing.
    for (const node of cluster.nodes.values()) node.divergence.tick();
    expect(cluster.sent).toEqual([]);
  }
  expect(cluster.messages).toBe(10 * 3 * 2);
  for (const node of cluster.nodes.values()) {
    expect(node.logged).toEqual([]);
    expect(node.shared.get('stateCompared')).toBe(9_984);
    expect([node.shared.get('stateDifferences'), node.shared.get('stateDiverged')]).toEqual([0, 0]);
  }
});

test('a node whose state is another one than a majority’s marks its directory and ends; the others go on', () => {
  const cluster = Cluster.of(3);
  cluster.node('n3').wrongFrom = 128;
  cluster.apply(100);
  cluster.second();
  expect(cluster.ended).toEqual([]);
  cluster.apply(200);
  cluster.second();
  const n3 = cluster.node('n3');
  expect(cluster.ended).toEqual(['n3']);
  expect(n3.ended).toBe('DIVERGED');
  const report = {
    index: 192,
    own: (0xbbbb + 192).toString(16).padStart(8, '0'),
    theirs: '0000ab6a',
    by: ['n1', 'n2'],
  };
  expect(n3.marks).toEqual([report]);
  expect(n3.events('state.diverged')).toEqual([report]);
  for (const id of ['n1', 'n2']) {
    expect(cluster.node(id).marks).toEqual([]);
    expect(cluster.node(id).shared.get('stateDiverged')).toBe(0);
  }
});

test('nodes that are never at the same revision find out too, in any order of messages', () => {
  forSeeds(200, (random) => {
    const cluster = Cluster.of(3 + 2 * below(random, 2));
    const ids = [...cluster.nodes.keys()];
    const wrong = ids.filter((_, i) => i < (ids.length - 1) / 2 && random() < 0.7);
    for (const id of wrong) cluster.node(id).wrongFrom = 64 * (1 + below(random, 20));
    let revision = 0;
    for (let second = 0; second < 12; second++) {
      for (const id of ids) cluster.apply((revision += 64 + below(random, 200)), id);
      cluster.second((count) => below(random, count));
    }
    expect(cluster.ended).toEqual(wrong);
  });
});

test('a majority is never ended, however wrong it is', () => {
  forSeeds(100, (random) => {
    const cluster = Cluster.of(5);
    const ids = [...cluster.nodes.keys()];
    // Everybody for himself, or with one other: nobody has three.
    for (const [i, id] of ids.entries()) {
      cluster.node(id).wrongFrom = 64;
      cluster.node(id).wrong = 0x1000 * (1 + (i >> 1));
    }
    for (let second = 1; second < 12; second++) {
      cluster.apply(second * 100);
      cluster.second((count) => below(random, count));
    }
    expect(cluster.ended).toEqual([]);
    expect(ids.map((id) => cluster.node(id).shared.get('stateDiverged'))).toEqual([1, 1, 1, 1, 1]);
  });
});

test('two nodes: neither can know who is right. Both say so once a minute, and go on', () => {
  const cluster = Cluster.of(2);
  cluster.node('n2').wrongFrom = 64;
  const [n1, n2] = [cluster.node('n1'), cluster.node('n2')];
  for (let second = 1; second <= 130; second++) {
    cluster.apply(second * 100);
    cluster.second();
    if (second >= 8) expect([n1, n2].map(({ shared }) => shared.get('stateDiverged'))).toEqual([1, 1]);
  }
  expect(cluster.ended).toEqual([]);
  for (const node of [n1, n2]) {
    expect(node.events('state.disputed').length).toBe(3);
    expect(node.shared.get('stateDifferences')).toBeGreaterThan(100);
  }
  expect(n1.events('state.disputed')[0]).toMatchObject({ theirs: { n2: expect.any(String) as string } });
  // Nobody talks without end: a word each second, and a few on what is disputed.
  expect(cluster.messages).toBeLessThan(130 * 8);
  // The other one was replaced.
  n2.wrongFrom = Number.POSITIVE_INFINITY;
  cluster.apply(14_000);
  cluster.second();
  expect([n1, n2].map(({ shared }) => shared.get('stateDiverged'))).toEqual([0, 0]);
});

test('with a node away, two that differ wait for it; it decides when it is back', () => {
  const cluster = Cluster.of(3);
  cluster.node('n1').wrongFrom = 64;
  cluster.down.add('n3');
  for (let second = 1; second <= 6; second++) {
    cluster.apply(second * 100, 'n1', 'n2');
    cluster.second();
  }
  expect(cluster.ended).toEqual([]);
  expect(cluster.node('n2').shared.get('stateDiverged')).toBe(1);
  cluster.down.clear();
  cluster.apply(700);
  cluster.second();
  expect(cluster.ended).toEqual(['n1']);
  expect(cluster.node('n2').shared.get('stateDiverged')).toBe(0);
  expect(cluster.node('n2').events('state.other-diverged')).toEqual([expect.objectContaining({ nodes: ['n1'] })]);
});

test('a word of what was not applied yet is compared once it is', () => {
  const cluster = Cluster.of(3);
  cluster.node('n3').wrongFrom = 64;
  cluster.apply(1_000, 'n1', 'n2');
  cluster.apply(10, 'n3');
  for (let second = 0; second < 3; second++) cluster.second();
  expect(cluster.ended).toEqual([]);
  // They have said it, and say nothing more.
  for (const id of ['n1', 'n2']) cluster.down.add(id);
  cluster.apply(1_000, 'n3');
  cluster.second();
  expect(cluster.ended).toEqual(['n3']);
});

test('what is no longer known is not compared', () => {
  const cluster = Cluster.of(3);
  const n3 = cluster.node('n3');
  n3.wrongFrom = 64;
  n3.kept = 640;
  cluster.apply(2_000, 'n1', 'n2');
  cluster.apply(10_000, 'n3');
  cluster.node('n1').run((node) => node.heard('n3', toIndex(9_984), 1));
  n3.run((node) => node.heard('n1', toIndex(1_984), GOOD + 1_984));
  n3.run((node) => node.heard('n2', toIndex(1_984), GOOD + 1_984));
  expect(cluster.ended).toEqual([]);
  expect(n3.shared.get('stateDifferences')).toBe(0);
});

test('who votes counts: learners end by the voters’ word, and end nobody', () => {
  const members = ['n1', 'l1', 'l2'].map((id) => ({ id, mesh: '', client: '', http: '' }));
  const cluster = new Cluster({ voters: ['n1'], outgoing: [], learners: ['l1', 'l2'], members });
  cluster.node('n1').wrongFrom = 64;
  cluster.apply(100);
  cluster.second();
  expect(cluster.ended).toEqual(['l1', 'l2']);
});

test('while voters change, both majorities have to say it', () => {
  const members = ['n1', 'n2', 'n3', 'n4', 'n5'].map((id) => ({ id, mesh: '', client: '', http: '' }));
  const voters = { voters: ['n1', 'n2', 'n3'], outgoing: ['n3', 'n4', 'n5'] };
  const cluster = new Cluster({ ...voters, learners: [], members });
  for (const id of ['n4', 'n5']) cluster.node(id).wrongFrom = 64;
  cluster.apply(100);
  for (let second = 0; second < 6; second++) cluster.second();
  expect(cluster.ended).toEqual([]);
});

test('words of strangers and of no checkpoint count for nothing', () => {
  const cluster = Cluster.of(3);
  cluster.apply(1_000);
  const n1 = cluster.node('n1');
  for (const from of ['n8', 'n9', 'n1']) n1.run((node) => node.heard(from, toIndex(640), 1));
  for (const from of ['n2', 'n3']) {
    n1.run((node) => node.heard(from, toIndex(0), 1));
    n1.run((node) => node.heard(from, toIndex(641), 1));
  }
  expect([n1.ended, n1.shared.get('stateDifferences'), cluster.sent.length]).toEqual([undefined, 0, 0]);
  for (const from of ['n2', 'n3']) n1.run((node) => node.heard(from, toIndex(640), 1));
  expect(n1.ended).toBe('DIVERGED');
});

test('of two words on one revision the newest counts: a node that starts again may have another state', () => {
  const cluster = Cluster.of(3);
  cluster.apply(1_000);
  const n1 = cluster.node('n1');
  n1.run((node) => node.heard('n2', toIndex(640), 1));
  n1.run((node) => node.heard('n2', toIndex(640), GOOD + 640));
  n1.run((node) => node.heard('n3', toIndex(640), 1));
  expect([n1.ended, n1.events('state.other-diverged')]).toEqual([
    undefined,
    [expect.objectContaining({ nodes: ['n3'] })],
  ]);
});

test('however much somebody says, few disputes are opened in a second', () => {
  const cluster = Cluster.of(3);
  cluster.apply(100_000);
  const n1 = cluster.node('n1');
  for (let index = 64; index <= 64_000; index += 64) n1.run((node) => node.heard('n2', toIndex(index), 1));
  expect(cluster.sent.length).toBe(4 * 2);
});

test('a node that cannot write its mark ends all the same', () => {
  const cluster = Cluster.of(3);
  cluster.isDiskFull = true;
  cluster.node('n2').wrongFrom = 64;
  cluster.apply(100);
  cluster.second();
  expect(cluster.ended).toEqual(['n2']);
  expect(cluster.node('n2').events('state.diverged.unmarked')).toHaveLength(1);
});
