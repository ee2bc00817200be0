/**
 * Retention against its definition: whoever may read sees the same before and after.
 */
import { expect, test } from 'vitest';
import { encodeEnvelope } from '../../../../src/engine/lsm/sstable/envelope.ts';
import { makeInternalKey, TYPE_PUT, TYPE_TOMBSTONE } from '../../../../src/engine/lsm/sstable/keys.ts';
import { BURY, DROP, Retention, type RetentionRules } from '../../../../src/engine/lsm/tree/retention.ts';
import { ByteWriter } from '../../../../src/core/base/bytes.ts';
import { ArrayCursor, latin, type Row } from './sources.ts';

type Kind = 'put' | 'expired' | 'tombstone';

interface Version {
  readonly revision: number;
  readonly kind: Kind;
}

const EXPIRED_BEFORE_MS = 1000;

function rowOf(key: string, { revision, kind }: Version): Row {
  const value = new ByteWriter(16);
  if (kind !== 'tombstone') encodeEnvelope(value, kind === 'expired' ? EXPIRED_BEFORE_MS : 0, latin(`v${revision}`));
  return {
    key: makeInternalKey(latin(key), revision, kind === 'tombstone' ? TYPE_TOMBSTONE : TYPE_PUT),
    value: value.take(),
  };
}

/** What is left of `versions` (newest first). */
function retain(rules: RetentionRules, versions: readonly Version[], isDeepest: boolean): Version[] {
  const cursor = new ArrayCursor(versions.map((version) => rowOf('k', version)));
  const retention = new Retention(rules, () => isDeepest);
  const kept: Version[] = [];
  cursor.first();
  for (const version of versions) {
    const decision = retention.decide(cursor);
    if (decision === BURY) kept.push({ revision: version.revision, kind: 'tombstone' });
    else if (decision !== DROP) kept.push(version);
    cursor.next();
  }
  expect(retention.dropped).toBe(versions.length - kept.length);
  return kept;
}

/** What a reader finds; `isLate`: in whose time all has expired that can. */
function read(versions: readonly Version[], revision: number, isLate: boolean): string {
  const found = versions.find((version) => version.revision <= revision);
  if (found === undefined || found.kind === 'tombstone') return 'nothing';
  if (found.kind === 'expired' && isLate) return 'nothing';
  return `v${found.revision}`;
}

const KINDS: readonly Kind[] = ['put', 'expired', 'tombstone'];
const TOP = 6;

/** Every choice of up to three versions at revisions 1, 3 and 5: readers may stand on them and between. */
function* allVersions(): Generator<Version[]> {
  const choices: readonly (Kind | undefined)[] = [undefined, ...KINDS];
  for (const a of choices) {
    for (const b of choices) {
      for (const c of choices) {
        const all = [
          { revision: 5, kind: c },
          { revision: 3, kind: b },
          { revision: 1, kind: a },
        ];
        yield all.filter((version): version is Version => version.kind !== undefined);
      }
    }
  }
}

function* subsets(below: number): Generator<number[]> {
  for (let bits = 0; bits < 2 ** below; bits++) {
    yield Array.from({ length: below }, (_, i) => i).filter((i) => (bits & (1 << i)) !== 0);
  }
}

test('every reader sees the same before and after: all versions, floors, snapshots, depths', () => {
  let cases = 0;
  for (const versions of allVersions()) {
    for (let floor = 0; floor <= TOP; floor++) {
      for (const snapshots of subsets(floor)) {
        // Expired for everybody is only what nobody may still look at in an earlier time.
        for (const expiredBeforeMs of snapshots.length === 0 ? [0, EXPIRED_BEFORE_MS] : [0]) {
          for (const deeper of [[], ...KINDS.map((kind) => [{ revision: 0.5, kind }])] as const) {
            const rules = { floor, snapshots, expiredBeforeMs, trims: [] };
            const kept = retain(rules, versions, deeper.length === 0);
            cases++;
            const readers = [...snapshots, ...Array.from({ length: TOP - floor + 1 }, (_, i) => floor + i)];
            for (const revision of readers) {
              const isLate = expiredBeforeMs > 0;
              const before = read([...versions, ...deeper], revision, isLate);
              const after = read([...kept, ...deeper], revision, isLate);
              if (before === after) continue;
              const context = JSON.stringify({ versions, floor, snapshots, expiredBeforeMs, deeper, kept });
              expect(after, `at revision ${revision}: ${context}`).toBe(before);
            }
          }
        }
      }
    }
  }
  expect(cases).toBeGreaterThan(10_000);
});

test('what nobody can tell from its absence goes: at most one version per reader stays, and none that says "nothing"', () => {
  for (const versions of allVersions()) {
    for (let floor = 0; floor <= TOP; floor++) {
      for (const snapshots of subsets(floor)) {
        const rules = { floor, snapshots, expiredBeforeMs: 0, trims: [] };
        const kept = retain(rules, versions, true);
        const readers = [...snapshots, ...Array.from({ length: TOP - floor + 1 }, (_, i) => floor + i)];
        const seen = new Set(readers.map((revision) => versions.find((version) => version.revision <= revision)));
        for (const version of kept) {
          expect(seen.has(version), `somebody reads ${JSON.stringify(version)} at floor ${floor}`).toBe(true);
        }
        const oldest = kept.at(-1);
        const isAloneAndOld = oldest !== undefined && oldest.revision <= Math.min(floor, snapshots[0] ?? floor);
        if (isAloneAndOld) expect(oldest.kind, 'a tombstone that hides nothing is gone').not.toBe('tombstone');
      }
    }
  }
});

test('what has expired for everybody is gone at the bottom, and a tombstone above it', () => {
  const rules = { floor: 9, snapshots: [], expiredBeforeMs: EXPIRED_BEFORE_MS, trims: [] };
  const versions: Version[] = [
    { revision: 5, kind: 'expired' },
    { revision: 3, kind: 'put' },
  ];
  expect(retain(rules, versions, true)).toEqual([]);
  expect(retain(rules, versions, false)).toEqual([{ revision: 5, kind: 'tombstone' }]);
  expect(retain({ ...rules, expiredBeforeMs: EXPIRED_BEFORE_MS - 1 }, versions, true)).toEqual([versions[0]]);
  expect(retain({ ...rules, floor: 4 }, versions, true), 'above the floor it still hides').toEqual([
    { revision: 5, kind: 'tombstone' },
    versions[1],
  ]);
});

test('of two versions in one revision the first is the one there is', () => {
  const rules = { floor: 0, snapshots: [], expiredBeforeMs: 0, trims: [] };
  const versions: Version[] = [
    { revision: 5, kind: 'tombstone' },
    { revision: 5, kind: 'put' },
    { revision: 4, kind: 'put' },
  ];
  expect(retain(rules, versions, true)).toEqual([versions[0], versions[2]]);
});

test('a trim takes all versions below its revision of the keys with its prefix, whoever reads, and no others', () => {
  const trims = [{ prefix: latin('k'), belowRevision: 4 }];
  const rules = { floor: 0, snapshots: [], expiredBeforeMs: 0, trims };
  const versions: Version[] = [
    { revision: 5, kind: 'put' },
    { revision: 4, kind: 'put' },
    { revision: 3, kind: 'tombstone' },
    { revision: 1, kind: 'put' },
  ];
  expect(retain(rules, versions, false)).toEqual([versions[0], versions[1]]);
  const others = { ...rules, trims: [{ prefix: latin('kk'), belowRevision: 9 }] };
  expect(retain(others, versions, false)).toEqual(versions);
});

test('it tells where a new key begins, also when one is the beginning of the other', () => {
  const retention = new Retention({ floor: 9, snapshots: [], expiredBeforeMs: 0, trims: [] }, () => false);
  const keys = ['', 'a', 'a', 'a\0', 'a'.repeat(100), 'a'.repeat(100), 'b'];
  const begins = keys.map((key, i) => {
    const cursor = new ArrayCursor([rowOf(key, { revision: 20 - i, kind: 'put' })]);
    cursor.first();
    retention.decide(cursor);
    return retention.isNewKey;
  });
  expect(begins).toEqual([true, true, false, true, true, false, true]);
});
