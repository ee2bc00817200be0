import { describe, expect, test } from 'vitest';
import { unreachable } from '../../../src/core/base/assert.ts';
import { ByteReader, ByteWriter } from '../../../src/core/base/bytes.ts';
import { isStoreError } from '../../../src/core/base/errors.ts';
import { plus, toIndex, toTerm } from '../../../src/core/base/position.ts';
import type { Message } from '../../../src/core/raft/types.ts';
import {
  channelOf,
  decodeMesh,
  decodeMeshHello,
  encodeMesh,
  encodeMeshHello,
  MESH_VERSION,
  type MeshMessage,
} from '../../../src/core/wire/mesh.ts';
import { below, forSeeds, pick, randomBytes } from '../base/seeded.ts';

const encode = (messages: readonly MeshMessage[]): Uint8Array => {
  const writer = new ByteWriter(1);
  for (const message of messages) encodeMesh(writer, message);
  return writer.take();
};

const KINDS = [
  ...(['preVote', 'vote', 'preVoteReply', 'voteReply', 'append', 'appendReply', 'commit', 'heartbeat'] as const),
  ...(['heartbeatReply', 'timeoutNow', 'forward', 'refused', 'readIndex', 'readIndexReply', 'stateHash'] as const),
];

function randomMessage(random: () => number, kind: (typeof KINDS)[number] = pick(random, KINDS)): MeshMessage {
  const n = (): number => pick(random, [0, 1, 2 ** 32, below(random, 2 ** 52)]);
  const index = () => toIndex(n());
  const term = () => toTerm(n());
  const blob = (): Uint8Array => randomBytes(random, below(random, 50));
  const raft = (message: Record<string, unknown>): MeshMessage => ({
    kind: 'raft',
    message: { from: 'n1', to: 'n2', term: term(), kind, ...message } as unknown as Message,
  });
  switch (kind) {
    case 'preVote':
    case 'vote':
      return raft({ lastIndex: index(), lastTerm: term(), isTransfer: random() < 0.5 });
    case 'preVoteReply':
    case 'voteReply':
      return raft({ granted: random() < 0.5, lastIndex: index() });
    case 'append': {
      const prevIndex = index();
      const entries = Array.from({ length: below(random, 6) }, (_, i) => ({
        ...{ index: plus(prevIndex, i + 1), term: term(), data: blob() },
      }));
      return raft({ prevIndex, prevTerm: term(), commit: index(), entries });
    }
    case 'appendReply':
      return raft({ rejected: random() < 0.5, index: index(), hintIndex: index(), hintTerm: term() });
    case 'commit':
      return raft({ commit: index() });
    case 'heartbeat':
      return raft({ commit: index(), readRound: n(), matchedByAll: index(), held: index(), members: index() });
    case 'heartbeatReply':
      return raft({ readRound: n() });
    case 'timeoutNow':
      return raft({});
    case 'forward':
      return { kind, commands: Array.from({ length: below(random, 6) }, blob) };
    case 'refused':
      return {
        kind,
        code: below(random, 256),
        tokens: Array.from({ length: below(random, 6) }, () => below(random, 2 ** 32)),
      };
    case 'readIndex':
      return { kind, id: n() };
    case 'readIndexReply':
      return { kind, id: n(), index: n() };
    case 'stateHash':
      return { kind, index: index(), hash: below(random, 2 ** 32) };
    default:
      return unreachable(kind);
  }
}

test('every message comes back as it was sent, alone and in a batch', () => {
  for (const kind of KINDS) {
    forSeeds(50, (random) => {
      const message = randomMessage(random, kind);
      expect(decodeMesh(encode([message]), 'n1', 'n2')).toEqual([message]);
    });
  }
  forSeeds(200, (random) => {
    const batch = Array.from({ length: below(random, 10) }, () => randomMessage(random));
    expect(decodeMesh(encode(batch), 'n1', 'n2')).toEqual(batch);
  });
});

test('each kind has a number of its own, and they stay', () => {
  const codes = KINDS.map((kind) => encode([randomMessage(Math.random, kind)])[0]);
  expect(Object.fromEntries(KINDS.map((kind, i) => [kind, codes[i]]))).toEqual({
    ...{ preVote: 1, preVoteReply: 2, vote: 3, voteReply: 4, append: 5, appendReply: 6, commit: 7, heartbeat: 8 },
    ...{
      heartbeatReply: 9,
      timeoutNow: 10,
      forward: 16,
      refused: 17,
      readIndex: 18,
      readIndexReply: 19,
      stateHash: 40,
    },
  });
});

test('what can be large travels as bulk, all else is control', () => {
  for (const kind of KINDS) {
    const isBulk = kind === 'append' || kind === 'forward';
    expect(channelOf(randomMessage(Math.random, kind)), kind).toBe(isBulk ? 'bulk' : 'control');
  }
});

describe('the hello', () => {
  const hello = {
    mesh: '10.0.0.1:7421',
    membersIndex: 2 ** 40,
    life: 12,
    lineage: [2 ** 48, 7],
    began: { term: toTerm(3), lastTerm: toTerm(2), lastIndex: toIndex(2 ** 40) },
    version: MESH_VERSION,
    channel: 'bulk',
    cluster: 'prod',
    from: 'n1',
    to: 'n2',
    boot: 2 ** 53 - 1,
    dir: '6f9a',
    commands: 300,
  } as const;
  const encoded = (over: Partial<typeof hello> & { version?: number } = {}): Uint8Array => {
    const writer = new ByteWriter(1);
    encodeMeshHello(writer, { ...hello, ...over });
    return writer.take();
  };

  test('comes back as it was sent', () => {
    expect(decodeMeshHello(encoded())).toEqual(hello);
    expect(decodeMeshHello(encoded({ channel: 'control' as never }))).toEqual({ ...hello, channel: 'control' });
  });

  test('of another version says PROTOCOL_VERSION, and of another channel or protocol PROTOCOL_ERROR', () => {
    const codeOf = (bytes: Uint8Array): unknown => {
      try {
        return decodeMeshHello(bytes);
      } catch (error) {
        return isStoreError(error) ? error.code : error;
      }
    };
    expect(codeOf(encoded({ version: (MESH_VERSION + 1) as never }))).toBe('PROTOCOL_VERSION');
    expect(codeOf(encoded({ version: 1 as never }))).toBe('PROTOCOL_VERSION');
    const channel = encoded();
    channel[5] = 2;
    expect(codeOf(channel)).toBe('PROTOCOL_ERROR');
    expect(codeOf(Uint8Array.from([...encoded(), 0]))).toBe('PROTOCOL_ERROR');
    for (let cut = 0; cut < encoded().length; cut++) expect(codeOf(encoded().subarray(0, cut))).toBe('PROTOCOL_ERROR');
    forSeeds(2000, (random) => {
      const bytes = random() < 0.5 ? encoded() : randomBytes(random, below(random, 60));
      if (bytes.length > 0) bytes[below(random, bytes.length)] = below(random, 256);
      const code = codeOf(bytes);
      expect(typeof code === 'object' || code === 'PROTOCOL_ERROR' || code === 'PROTOCOL_VERSION', String(code)).toBe(
        true,
      );
      expect(code).not.toBeInstanceOf(Error);
    });
  });
});

describe('bytes that are made up, changed or cut', () => {
  const decode = (bytes: Uint8Array): void => {
    try {
      decodeMesh(bytes, 'n1', 'n2');
    } catch (error) {
      if (!isStoreError(error, 'PROTOCOL_ERROR')) throw error;
    }
  };

  test('are messages or PROTOCOL_ERROR, nothing else', () => {
    forSeeds(6000, (random) => {
      const batch = Array.from({ length: 1 + below(random, 4) }, () => randomMessage(random));
      const bytes = random() < 0.3 ? randomBytes(random, below(random, 120)) : encode(batch);
      for (let flips = below(random, 4); flips > 0 && bytes.length > 0; flips--) {
        bytes[below(random, bytes.length)] = pick(random, [0, 0xff, below(random, 256)]);
      }
      decode(bytes.subarray(0, random() < 0.5 ? bytes.length : below(random, bytes.length + 1)));
    });
  });

  test('that count further than 2^53 are no broken invariant of ours', () => {
    const append = new ByteWriter().u8(5).u64(1).u64(Number.MAX_SAFE_INTEGER).u64(1).u64(1).u32(1).u64(1).u32(0);
    expect(() => decodeMesh(append.view(), 'n1', 'n2')).toThrow(expect.objectContaining({ code: 'PROTOCOL_ERROR' }));
  });

  test('with counts of 2^32 and few bytes are refused at once', () => {
    const began = performance.now();
    for (let i = 0; i < 1000; i++) {
      for (const bytes of [
        new ByteWriter().u8(16).u32(0xffff_ffff).u32(0).view(),
        new ByteWriter().u8(17).u8(1).u32(0xffff_ffff).u32(7).view(),
        new ByteWriter().u8(5).u64(1).u64(1).u64(1).u64(1).u32(0xffff_ffff).u64(1).u32(0).view(),
        new ByteWriter().u8(16).u32(1).u32(0xffff_ffff).view(),
      ]) {
        expect(() => decodeMesh(bytes, 'n1', 'n2')).toThrow('cannot read');
      }
    }
    expect(performance.now() - began).toBeLessThan(2000);
  });

  test('cut anywhere inside a message are refused', () => {
    forSeeds(50, (random) => {
      const bytes = encode([randomMessage(random)]);
      for (let cut = 1; cut < bytes.length; cut++) {
        expect(() => decodeMesh(bytes.subarray(0, cut), 'n1', 'n2')).toThrow('cannot read');
      }
    });
  });
});

test('entries and commands are views of the batch, so that nothing is copied on the way in', () => {
  const bytes = encode([{ kind: 'forward', commands: [Uint8Array.of(1, 2, 3)] }]);
  const [message] = decodeMesh(bytes, 'n1', 'n2');
  expect(message?.kind === 'forward' && message.commands[0]?.buffer).toBe(bytes.buffer);
  expect(new ByteReader(bytes).u8()).toBe(16);
});
