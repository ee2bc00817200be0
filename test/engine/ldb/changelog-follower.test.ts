/**
 * The changelog as another process reads it: written by the reflector's own Changelog, on a real disk, while it is followed.
 */
import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { nodeDisk } from '../../../src/engine/disk/node-disk.ts';
import type { LdbChange } from '../../../src/engine/ldb/changes.ts';
import { type FollowChangelogOptions, followChangelog } from '../../../src/engine/ldb/index.ts';
import { Changelog } from '../../../src/reflector/changelog.ts';
import { below, forSeeds, pick } from '../../core/base/seeded.ts';

let dir: string;
let path: string;
let stop: AbortController;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ctlmesh-changelog-'));
  path = join(dir, 'changes');
  stop = new AbortController();
});
afterEach(() => {
  stop.abort();
  rmSync(dir, { recursive: true, force: true });
});

const open = (bounds: { readonly maxBytes?: number; readonly keep?: number } = {}): Changelog =>
  new Changelog({
    ...{ disk: nodeDisk, path, ...bounds },
    onFailure: (error) => {
      throw error;
    },
  });
const keyAt = (revision: number, key = 'k'): LdbChange => ({ kind: 'key', revision, key: Buffer.from(key) });
const follow = (options: FollowChangelogOptions = {}): AsyncGenerator<LdbChange> =>
  followChangelog(path, { pollMs: 1, signal: stop.signal, ...options });
const shown = (change: LdbChange): string =>
  change.kind === 'out-of-sync' ? `lost ${change.revision}` : `${change.kind} ${change.revision}`;

/** The next ones, as `kind revision`. */
async function take(loop: AsyncGenerator<LdbChange>, count: number): Promise<string[]> {
  const taken: string[] = [];
  while (taken.length < count) {
    const { value, done } = await loop.next();
    if (done === true) break;
    taken.push(shown(value));
  }
  return taken;
}

describe('a loop', () => {
  test('over all of it goes on over rotations, and misses nothing while it keeps up', async () => {
    const log = open({ maxBytes: 120, keep: 2 });
    const loop = follow();
    const first = loop.next();
    log.begin(7);
    // There was no file when it began: it has all of it, and is told where that begins.
    expect(shown((await first).value as LdbChange)).toBe('lost 7');
    for (let revision = 8; revision <= 40; revision++) {
      log.append([keyAt(revision)], revision);
      expect(await take(loop, 1)).toEqual([`key ${revision}`]);
    }
    log.close();
  });

  test('from now on, without what was there; and with the changes that it wants, and no others', async () => {
    const log = open();
    log.begin(0);
    log.append([keyAt(1)], 1);
    const all = follow();
    const flags = follow({ prefix: 'flags/' });
    const [one, other] = [all.next(), flags.next()];
    // It has looked, and waits.
    await new Promise((resolve) => setImmediate(resolve));
    log.append([keyAt(2, 'a'), keyAt(2, 'flags/x'), { kind: 'row', revision: 3, family: 'f', table: 't', key: [] }], 3);
    expect([shown((await one).value as LdbChange), shown((await other).value as LdbChange)]).toEqual([
      'key 2',
      'key 2',
    ]);
    expect(await take(all, 2)).toEqual(['key 2', 'row 3']);
    log.append([keyAt(4, 'flags/y')], 4);
    expect(await take(flags, 1)).toEqual(['key 4']);
    stop.abort();
    expect(await all.next()).toEqual({ done: true, value: undefined });
    log.close();
  });

  test('goes on behind a revision; when the files do not reach back so far, it says so first', async () => {
    const log = open({ maxBytes: 100, keep: 2 });
    log.begin(10);
    for (let revision = 11; revision <= 13; revision++) log.append([keyAt(revision)], revision);
    expect(await take(follow({ after: 10 }), 3)).toEqual(['key 11', 'key 12', 'key 13']);
    expect(await take(follow({ after: 12 }), 1)).toEqual(['key 13']);
    // The changelog began behind it.
    expect(await take(follow({ after: 9 }), 2)).toEqual(['lost 10', 'key 11']);
    for (let revision = 14; revision <= 40; revision++) log.append([keyAt(revision)], revision);
    const late = await take(follow({ after: 12 }), 3);
    const oldest = Number(late[0]?.split(' ')[1]);
    expect(late).toEqual([`lost ${oldest}`, `key ${oldest}`, `key ${oldest + 1}`]);
    expect(oldest).toBeGreaterThan(20);
    log.close();
  });

  test('that was too slow for what is kept is told once, and goes on with what is there', async () => {
    const log = open({ maxBytes: 60, keep: 1 });
    log.begin(0);
    const loop = follow({ after: 0 });
    log.append([keyAt(1)], 1);
    expect(await take(loop, 1)).toEqual(['key 1']);
    for (let revision = 2; revision <= 20; revision++) log.append([keyAt(revision)], revision);
    const seen = await take(loop, 3);
    const [lost, ...rest] = seen;
    const at = Number(lost?.split(' ')[1]);
    expect(at).toBeGreaterThan(2);
    expect([lost, ...rest]).toEqual([`lost ${at}`, `key ${at}`, `key ${at + 1}`]);
    log.close();
  });
});

describe('what a crash leaves', () => {
  test('a line without its end waits for it, and one that is cut off and written anew comes once', async () => {
    const log = open();
    log.begin(0);
    log.append([keyAt(1)], 1);
    log.close();
    const loop = follow({ after: 0 });
    expect(await take(loop, 1)).toEqual(['key 1']);
    appendFileSync(path, '{"revision":2,"ke');
    const next = loop.next();
    await new Promise((resolve) => setImmediate(resolve));
    // The reflector starts again: it cuts the line off, and tells its last commit again.
    const again = open();
    expect(again.after).toBe(1);
    again.append([keyAt(2), keyAt(2, 'other')], 2);
    expect(shown((await next).value as LdbChange)).toBe('key 2');
    expect(await take(loop, 1)).toEqual(['key 2']);
    again.close();
  });

  test('lines that are told again come once; those that a power cut took away are told again', async () => {
    const log = open();
    log.begin(0);
    for (let revision = 1; revision <= 5; revision++) log.append([keyAt(revision)], revision);
    const loop = follow({ after: 0 });
    expect(await take(loop, 5)).toEqual([1, 2, 3, 4, 5].map((revision) => `key ${revision}`));
    truncateSync(path, 40);
    const next = loop.next();
    await new Promise((resolve) => setImmediate(resolve));
    const again = open();
    for (let revision = 1; revision <= 6; revision++) again.append([keyAt(revision)], revision);
    expect([shown((await next).value as LdbChange), ...(await take(loop, 1))]).toEqual(['key 5', 'key 6']);
    again.close();
  });

  test.each([
    ['no JSON', '{"revision":'],
    ['no change', '{"revision":2,"key":[1]}'],
    ['longer than any', `{"revision":2,"key":"${'x'.repeat(200_000)}"}`],
  ])('a line that is %s is told as something that is missing, once', async (_what, line) => {
    writeFileSync(path, ['{"revision":0,"outOfSync":true}', line, line, '{"revision":3,"key":"c"}', ''].join('\n'));
    expect(await take(follow({ after: 0 }), 2)).toEqual(['lost 3', 'key 3']);
  });

  test('a file that is away in the middle of a rotation is waited for', async () => {
    const log = open();
    log.begin(0);
    log.append([keyAt(1)], 1);
    const loop = follow({ after: 0 });
    expect(await take(loop, 1)).toEqual(['key 1']);
    renameSync(path, `${path}.1`);
    const fresh = follow();
    const [next, other] = [loop.next(), fresh.next()];
    await new Promise((resolve) => setImmediate(resolve));
    writeFileSync(path, '{"revision":2,"key":"b"}\n');
    expect([shown((await next).value as LdbChange), shown((await other).value as LdbChange)]).toEqual([
      'key 2',
      'key 2',
    ]);
    log.close();
  });
});

test('whatever the writer and the loop do, nothing is missing that was not said to be', async () => {
  const seeds: (() => Promise<void>)[] = [];
  // Each syncs a real disk some dozen times.
  forSeeds(Number(process.env['CTLMESH_SEEDS'] ?? 5), (random) => {
    seeds.push(async () => {
      rmSync(dir, { recursive: true, force: true });
      nodeDisk.mkdir(dir);
      const bounds = { maxBytes: 50 + below(random, 400), keep: below(random, 4) };
      let log = open(bounds);
      log.begin(0);
      const loop = followChangelog(path, { after: 0, pollMs: 0, signal: stop.signal });
      let written = 0;
      let known = 0;
      const look = async (): Promise<void> => {
        const { value } = await loop.next();
        const change = value as LdbChange;
        if (change.kind === 'out-of-sync') known = Math.max(known, change.revision - 1);
        else {
          expect(change.revision, 'the next one, or the same again').toBeLessThanOrEqual(known + 1);
          known = Math.max(known, change.revision);
        }
      };
      for (let step = 0; step < 60; step++) {
        const what = pick(random, ['write', 'write', 'write', 'look', 'look', 'restart'] as const);
        if (what === 'write') {
          for (let more = below(random, 6); more >= 0; more--) log.append([keyAt(++written), keyAt(written)], written);
        } else if (what === 'look') {
          if (known < written) await look();
        } else {
          log.close();
          log = open(bounds);
          // What was told last is told again, in part.
          if (written > 0 && random() < 0.5) log.append([keyAt(written)], written);
        }
      }
      while (known < written) await look();
      await loop.return(undefined);
      log.close();
    });
  });
  for (const run of seeds) await run();
}, 600_000);
