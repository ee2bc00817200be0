import { describe, expect, test } from 'vitest';
import { InvariantViolation } from '../../../src/core/base/assert.ts';
import { ByteReader, ByteWriter, text, utf8 } from '../../../src/core/base/bytes.ts';
import { toIndex } from '../../../src/core/base/position.ts';
import { COMMAND_HEADER_BYTES, encodeClock, type Txn } from '../../../src/core/model/commands.ts';
import { COMMAND_LEVEL, levelOf } from '../../../src/core/model/command-levels.ts';
import { errorOfResult, TXN_ANSWER_BYTES_MAX } from '../../../src/core/model/machine.ts';
import { RESULT_BYTES_MAX, RESULTS_MAX } from '../../../src/core/model/sessions.ts';
import { below, forSeeds, pick, randomBytes } from '../base/seeded.ts';
import { Bench, changesOf, clock, command, del, op, openSession, ORIGIN, put, txn, when } from './model.ts';

const EMPTY = new Uint8Array(0);

describe('a put or a delete', () => {
  test('changes the state, makes one record and one answer, at the revision of its entry', () => {
    const bench = new Bench();
    const made = bench.apply(put('k', 'v', { token: 9, timeMs: 5 }));
    expect(made.answer).toEqual({ token: 9, code: 0, revision: 1, extra: EMPTY });
    expect(made.record).toMatchObject({ revision: 1, timeMs: 5 });
    expect(changesOf(made.record)).toEqual(['+k=v']);
    expect(bench.all()).toEqual([{ key: 'k', value: 'v', revision: 1, expiryMs: 0 }]);

    const gone = bench.apply(del('k', { token: 10 }));
    expect(gone.answer).toEqual({ token: 10, code: 0, revision: 2, extra: Uint8Array.of(1) });
    expect(changesOf(gone.record)).toEqual(['-k']);
    expect(bench.all()).toEqual([]);
  });

  test('of a key that is not there says so and changes nothing', () => {
    const bench = new Bench();
    const { answer, record } = bench.apply(del('k'));
    expect(answer?.extra).toEqual(Uint8Array.of(0));
    expect(record.changes).toEqual([]);
    expect(bench.table.usedBytes).toBe(new Bench().table.usedBytes);
  });

  test('is answered at the node that was asked and nowhere else', () => {
    const elsewhere = new Bench({ origin: ORIGIN + 1 });
    const made = elsewhere.apply(put('k', 'v'));
    expect(made.answer).toBeUndefined();
    expect(changesOf(made.record)).toEqual(['+k=v']);
  });
});

describe('every index makes one record', () => {
  test('also a no-op, a clock, a refusal and bytes that are no command', () => {
    const bench = new Bench();
    const entries = [
      EMPTY,
      clock(10),
      txn({ conditions: [when.exists('no')] }),
      del('no'),
      Uint8Array.of(1, 2),
      put('k', 'v'),
    ];
    const records = entries.map((entry) => bench.apply(entry).record);
    expect(records.map((record) => record.revision)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(records.map((record) => record.changes.length)).toEqual([0, 0, 0, 0, 0, 1]);
  });

  test('and log time in it never goes back', () => {
    const bench = new Bench();
    const stamps = [5, 9, 3, Number.NaN, 9, 10].map((timeMs) => bench.apply(clock(timeMs)).record.timeMs);
    expect(stamps).toEqual([5, 9, 9, 9, 9, 10]);
  });

  test('and an entry is applied once, in its order', () => {
    const bench = new Bench();
    bench.apply(put('k', 'v'));
    for (const index of [0, 1, 3]) {
      expect(() => bench.machine.apply(toIndex(index), put('k', 'w'))).toThrow(InvariantViolation);
    }
    expect(bench.get('k')).toBe('v');
  });

  test('a clock made by the encoder advances time and is answered to nobody', () => {
    const writer = new ByteWriter();
    encodeClock(writer);
    const bench = new Bench({ origin: 0 });
    expect(bench.apply(writer.take())).toMatchObject({ answer: undefined, record: { timeMs: 0, changes: [] } });
  });
});

describe('a txn', () => {
  const cases: readonly [string, Txn['conditions'], boolean][] = [
    ['no condition', [], true],
    ['the right revision', [when.revision('a', 1)], true],
    ['an older revision', [when.revision('b', 2)], false],
    ['revision 0 of an absent key', [when.revision('x', 0)], true],
    ['revision 0 of a present key', [when.revision('a', 0)], false],
    ['the last revision of a deleted key', [when.revision('gone', 4)], false],
    ['revision 0 of a deleted key', [when.revision('gone', 0)], true],
    ['a key that exists', [when.exists('a')], true],
    ['a key that does not', [when.exists('x')], false],
    ['a deleted key', [when.exists('gone')], false],
    ['the value it has', [when.value('a', 'A')], true],
    ['another value', [when.value('a', 'B')], false],
    ['an empty value of an absent key', [when.value('x', '')], false],
    ['an empty value that is there', [when.value('empty', '')], true],
    ['all of several', [when.exists('a'), when.value('b', 'B3')], true],
    ['one of several', [when.exists('a'), when.value('b', 'nope')], false],
  ];
  test.each(cases)('on %s takes the right branch', (_name, conditions, holds) => {
    const bench = new Bench();
    for (const entry of [
      put('a', 'A'),
      put('b', 'B2'),
      put('b', 'B3'),
      put('gone', 'x'),
      del('gone'),
      put('empty', ''),
    ]) {
      bench.apply(entry);
    }
    const made = bench.apply(txn({ conditions, then: [op.put('t', 'then')], otherwise: [op.put('t', 'else')] }));
    expect(bench.get('t')).toBe(holds ? 'then' : 'else');
    expect(made.answer).toMatchObject({ code: 0, revision: 7, extra: Uint8Array.of(holds ? 1 : 0, 0) });
    expect(changesOf(made.record)).toEqual([`+t=${holds ? 'then' : 'else'}`]);
  });

  test('does its operations in order, all at one revision, and answers each', () => {
    const bench = new Bench();
    bench.apply(put('old', 'o', { timeMs: 1000, ttlMs: 500 }));
    const { record, answer } = bench.apply(
      txn({
        then: [op.get('old'), op.delete('old'), op.get('old'), op.put('new', 'n'), op.get('new'), op.delete('no')],
      }),
    );
    expect(changesOf(record)).toEqual(['-old', '+new=n']);
    const reader = new ByteReader(answer!.extra);
    expect(reader.u8()).toBe(1);
    const got = (): unknown => {
      expect(reader.u8()).toBe(2);
      const found = reader.u8();
      const key = reader.string();
      return found === 0 ? [key] : [key, reader.varint(), reader.f64(), reader.string()];
    };
    expect(got()).toEqual(['old', 1, 1500, 'o']);
    expect([reader.u8(), reader.u8()]).toEqual([1, 1]);
    expect(got()).toEqual(['old']);
    expect(reader.u8()).toBe(0);
    expect(got()).toEqual(['new', 2, 0, 'n']);
    expect([reader.u8(), reader.u8()]).toEqual([1, 0]);
    reader.end();
    expect(bench.all()).toEqual([{ key: 'new', value: 'n', revision: 2, expiryMs: 0 }]);
  });

  test('whose gets would answer with too much is refused and changes nothing', () => {
    const bench = new Bench();
    const half = 'x'.repeat(TXN_ANSWER_BYTES_MAX / 4);
    bench.apply(put('big', half));
    const gets = (count: number): Txn['then'] => Array.from({ length: count }, () => op.get('big'));
    const tooMuch = bench.apply(txn({ then: [op.put('k', 'v'), ...gets(4)] }));
    expect(errorOfResult(tooMuch.answer!.code)).toBe('TXN_TOO_LARGE');
    expect(tooMuch.record.changes).toEqual([]);
    expect(bench.get('k')).toBeUndefined();
    // What the txn itself puts counts as well, and what it deletes does not.
    const own = bench.apply(txn({ then: [op.put('own', half), ...Array.from({ length: 5 }, () => op.get('own'))] }));
    expect(errorOfResult(own.answer!.code)).toBe('TXN_TOO_LARGE');
    expect(bench.apply(txn({ then: [op.put('k', 'v'), ...gets(3)] })).answer!.extra.length).toBeGreaterThan(
      half.length * 3,
    );
    expect(bench.apply(txn({ then: [op.delete('big'), ...gets(128)] })).answer!.code).toBe(0);
  });
});

describe('a session', () => {
  const open = (bench: Bench, ttlMs = 10_000, timeMs = 0): number => {
    const { answer } = bench.apply(openSession(ttlMs, { timeMs }));
    expect(answer).toMatchObject({ code: 0 });
    return answer!.revision;
  };

  test('gives a repeated write its first answer and does nothing', () => {
    const bench = new Bench();
    const session = open(bench);
    const first = bench.apply(put('k', 'one', { session, seq: 1, token: 5 }));
    const again = bench.apply(put('k', 'one', { session, seq: 1, token: 6 }));
    expect(first.answer).toMatchObject({ token: 5, code: 0, revision: 2 });
    expect(again.answer).toMatchObject({ token: 6, code: 0, revision: 2 });
    expect(again.record).toMatchObject({ revision: 3, changes: [] });

    const found = bench.apply(del('k', { session, seq: 2 }));
    const foundAgain = bench.apply(del('k', { session, seq: 2 }));
    expect(foundAgain.answer).toEqual(found.answer);
    expect(foundAgain.answer?.extra).toEqual(Uint8Array.of(1));
  });

  test('knows a repeated write also when other writes came between, in any order', () => {
    forSeeds(30, (random) => {
      const bench = new Bench();
      const session = open(bench);
      const firsts = new Map<number, number>();
      for (let i = 0; i < 200; i++) {
        const seq = 1 + below(random, 40);
        const { answer, record } = bench.apply(put(`k${seq}`, `${i}`, { session, seq }));
        const first = firsts.get(seq);
        expect(answer!.code).toBe(0);
        expect(answer!.revision).toBe(first ?? record.revision);
        expect(record.changes.length).toBe(first === undefined ? 1 : 0);
        if (first === undefined) firsts.set(seq, record.revision);
      }
    });
  });

  test('gives a failed txn its first answer too, though it would now succeed', () => {
    const bench = new Bench();
    const session = open(bench);
    const attempt = txn({ conditions: [when.exists('k')], then: [op.put('t', 'v')] }, { session, seq: 1 });
    expect(bench.apply(attempt).answer?.extra).toEqual(Uint8Array.of(0));
    bench.apply(put('k', 'v'));
    expect(bench.apply(attempt).answer?.extra).toEqual(Uint8Array.of(0));
    expect(bench.get('t')).toBeUndefined();
  });

  test('refuses a write whose answer was acknowledged: it is a late copy', () => {
    const bench = new Bench();
    const session = open(bench);
    bench.apply(put('k', '1', { session, seq: 1 }));
    bench.apply(put('k', '2', { session, seq: 2, acked: 1 }));
    const late = bench.apply(put('k', '1', { session, seq: 1 }));
    expect(errorOfResult(late.answer!.code)).toBe('BAD_REQUEST');
    expect(late.record.changes).toEqual([]);
    expect(bench.get('k')).toBe('2');
    // A smaller acked later takes nothing back, and one far ahead is no loop of that length.
    bench.apply(put('k', '3', { session, seq: 3, acked: 0 }));
    expect(errorOfResult(bench.apply(put('k', '1', { session, seq: 1 })).answer!.code)).toBe('BAD_REQUEST');
    const far = Number.MAX_SAFE_INTEGER;
    expect(errorOfResult(bench.apply(put('k', '4', { session, seq: 4, acked: far })).answer!.code)).toBe('BAD_REQUEST');
    expect(bench.machine.sessions.get(session)?.results.size).toBe(0);
  });

  test('keeps at most so many answers, refuses the next write undone, and takes it once there is room', () => {
    const bench = new Bench();
    const session = open(bench);
    for (let seq = 1; seq <= RESULTS_MAX; seq++) bench.apply(put('k', 'v', { session, seq }));
    const seq = RESULTS_MAX + 1;
    const refused = bench.apply(put('new', 'v', { session, seq }));
    expect(errorOfResult(refused.answer!.code)).toBe('OVERLOADED');
    expect(refused.record.changes).toEqual([]);
    expect(bench.apply(put('k', 'v', { session, seq: 7 })).answer).toMatchObject({ code: 0, revision: session + 7 });
    const taken = bench.apply(put('new', 'v', { session, seq, acked: 10 }));
    expect(taken.answer).toMatchObject({ code: 0, revision: taken.record.revision });
  });

  test('keeps at most so many bytes of answers, and counts them down when they are acknowledged', () => {
    const bench = new Bench();
    const session = open(bench);
    bench.apply(put('big', 'x'.repeat(1024 * 1024)));
    const get = (seq: number, acked = 0): Uint8Array =>
      txn({ then: [op.get('big'), op.get('big')] }, { session, seq, acked });
    let seq = 1;
    while (errorOfResult(bench.apply(get(seq)).answer!.code) !== 'OVERLOADED') seq++;
    expect(seq - 1).toBe(RESULT_BYTES_MAX / (2 * 1024 * 1024));
    expect(bench.apply(get(seq, 1)).answer!.code).toBe(0);
    expect(errorOfResult(bench.apply(get(seq + 1)).answer!.code)).toBe('OVERLOADED');
    // By both ways of forgetting: one by one, and all that are older.
    expect(bench.apply(put('k', 'v', { session, seq: 1_000_001, acked: 1_000_000 })).answer!.code).toBe(0);
    for (let more = 0; more < 8; more++) expect(bench.apply(get(1_000_002 + more)).answer!.code).toBe(0);
  });

  test('that is silent for its time to live is forgotten at the same entry everywhere, by log time alone', () => {
    const bench = new Bench();
    const quiet = open(bench, 5000, 100_000);
    const busy = open(bench, 5000, 100_000);
    bench.apply(command('keepAlive', { session: busy, timeMs: 104_000 }));
    expect(
      errorOfResult(bench.apply(put('k', 'v', { session: quiet, seq: 1, timeMs: 105_000 })).answer!.code),
    ).toBeUndefined();
    bench.apply(clock(110_500));
    for (const session of [quiet, busy]) {
      const late = bench.apply(put('k', 'late', { session, seq: 2 }));
      expect(errorOfResult(late.answer!.code)).toBe('SESSION_EXPIRED');
      expect(late.record.changes).toEqual([]);
    }
    expect(bench.machine.sessions.size).toBe(0);
    expect(errorOfResult(bench.apply(command('keepAlive', { session: quiet })).answer!.code)).toBe('SESSION_EXPIRED');
  });

  test('that was never opened, or was closed, runs nothing', () => {
    const bench = new Bench();
    const session = open(bench);
    expect(errorOfResult(bench.apply(put('k', 'v', { session: 999, seq: 1 })).answer!.code)).toBe('SESSION_EXPIRED');
    expect(bench.apply(command('closeSession', { session })).answer!.code).toBe(0);
    expect(errorOfResult(bench.apply(put('k', 'v', { session, seq: 1 })).answer!.code)).toBe('SESSION_EXPIRED');
    expect(bench.all()).toEqual([]);
  });
});

describe('expiry', () => {
  test('deletes at the first entry whose time has come, at its revision', () => {
    const bench = new Bench();
    bench.apply(put('k', 'v', { timeMs: 1000, ttlMs: 500 }));
    expect(bench.machine.nextExpiryMs).toBe(1500);
    expect(bench.apply(clock(1499)).record.changes).toEqual([]);
    expect(bench.get('k')).toBe('v');
    const { record } = bench.apply(clock(1500));
    expect(changesOf(record)).toEqual(['-k']);
    expect(bench.get('k')).toBeUndefined();
    expect(bench.machine.nextExpiryMs).toBe(Number.POSITIVE_INFINITY);
  });

  test('comes before the command of the entry: a condition sees the key gone', () => {
    const bench = new Bench();
    bench.apply(put('k', 'v', { timeMs: 1000, ttlMs: 500 }));
    const made = bench.apply(
      txn(
        { conditions: [when.exists('k')], then: [op.put('t', 'y')], otherwise: [op.put('t', 'n')] },
        { timeMs: 2000 },
      ),
    );
    expect(changesOf(made.record)).toEqual(['-k', '+t=n']);
  });

  test('of an overwritten value never takes the new one', () => {
    const bench = new Bench();
    bench.apply(put('k', 'short', { timeMs: 1000, ttlMs: 100 }));
    bench.apply(put('k', 'long', { timeMs: 1000, ttlMs: 10_000 }));
    bench.apply(put('j', 'short', { timeMs: 1000, ttlMs: 100 }));
    bench.apply(put('j', 'for ever', { timeMs: 1000 }));
    expect(bench.apply(clock(5000)).record.changes).toEqual([]);
    expect(changesOf(bench.apply(clock(50_000)).record)).toEqual(['-k']);
    expect(bench.all()).toMatchObject([{ key: 'j', value: 'for ever', expiryMs: 0 }]);
  });

  test('passes over a key that was deleted, and one that was deleted and put again', () => {
    const bench = new Bench();
    for (const key of ['a', 'b']) bench.apply(put(key, 'v', { timeMs: 1000, ttlMs: 100 }));
    bench.apply(del('a'));
    bench.apply(del('b'));
    bench.apply(put('b', 'again'));
    expect(bench.apply(clock(5000)).record.changes).toEqual([]);
    expect(bench.get('b')).toBe('again');
  });

  test('and a put or delete of the same key in one entry make one change', () => {
    const bench = new Bench();
    for (const key of ['a', 'b', 'c']) bench.apply(put(key, 'v', { timeMs: 1000, ttlMs: 100 }));
    const made = bench.apply(txn({ then: [op.put('a', 'new', 50), op.delete('b')] }, { timeMs: 1100 }));
    expect(changesOf(made.record)).toEqual(['-b', '-c', '+a=new@1150']);
    expect(made.answer?.extra).toEqual(Uint8Array.of(1, 0, 1, 0));
    expect(bench.all()).toMatchObject([{ key: 'a', value: 'new', revision: 4, expiryMs: 1150 }]);
    expect(bench.table.liveKeys).toBe(1);
    expect(changesOf(bench.apply(clock(1150)).record)).toEqual(['-a']);
  });

  test('takes at most 1024 keys per entry, and the rest with the next, though time stands still or goes back', () => {
    const bench = new Bench();
    for (let i = 0; i < 2500; i++) bench.apply(put(`k${i}`, 'v', { timeMs: 1000, ttlMs: 100 }));
    const counts = [5000, 5000, 10].map((timeMs) => bench.apply(clock(timeMs)).record.changes.length);
    expect(counts).toEqual([1024, 1024, 452]);
    expect(bench.all()).toEqual([]);
  });

  test('goes by time, then by revision', () => {
    forSeeds(20, (random) => {
      const bench = new Bench();
      const keys = Array.from({ length: 200 }, (_, i) => ({ key: `k${i}`, ttlMs: 1 + below(random, 20) }));
      for (const { key, ttlMs } of keys) bench.apply(put(key, 'v', { ttlMs }));
      const expected = keys.toSorted((a, b) => a.ttlMs - b.ttlMs).map(({ key }) => `-${key}`);
      const gone: string[] = [];
      for (let timeMs = 0; timeMs <= 20; timeMs += 1 + below(random, 4))
        gone.push(...changesOf(bench.apply(clock(timeMs)).record));
      gone.push(...changesOf(bench.apply(clock(21)).record));
      expect(gone).toEqual(expected);
    });
  });
});

describe('bytes that are no command', () => {
  const whole = [
    put('key', 'value', { ttlMs: 300 }),
    del('key'),
    txn({ conditions: [when.value('key', 'v')], then: [op.put('key', 'w')], otherwise: [op.delete('key')] }),
    openSession(5000),
    put('key', 'value', { session: 2, seq: 4, acked: 1 }),
  ];

  test.each(whole.map((bytes, i) => [i, bytes] as const))(
    'cut anywhere, command %i is refused and changes nothing',
    (_i, bytes) => {
      for (let cut = 1; cut < bytes.length; cut++) {
        const bench = new Bench({ arenaBytes: 64 * 1024 });
        bench.apply(put('key', 'v'));
        bench.apply(openSession(5000));
        const before = bench.all();
        const { answer, record } = bench.apply(bytes.subarray(0, cut));
        expect(record, `cut at ${cut}`).toMatchObject({ revision: 3, changes: [] });
        expect(bench.all()).toEqual(before);
        expect(bench.machine.sessions.size).toBe(1);
        if (cut >= COMMAND_HEADER_BYTES) expect(errorOfResult(answer!.code)).toBe('BAD_REQUEST');
        else expect(answer).toBeUndefined();
        // The machine goes on.
        expect(bench.apply(put('next', 'v')).record.revision).toBe(4);
      }
    },
  );

  test('of an unknown kind or operation are refused and change nothing', () => {
    const bench = new Bench();
    for (const kind of [0, 8, 128, 255]) {
      const bytes = put('k', 'v');
      bytes[0] = kind;
      expect(errorOfResult(bench.apply(bytes).answer!.code)).toBe('BAD_REQUEST');
    }
    const strange = command('txn', {}, (writer) =>
      writer.varint(0).varint(2).u8(0).varint(0).string('k').string('v').u8(9).varint(0),
    );
    expect(errorOfResult(bench.apply(strange).answer!.code)).toBe('BAD_REQUEST');
    expect(bench.all()).toEqual([]);
  });

  test.each([
    ['command', (bytes: Uint8Array) => bytes.with(0, 9)],
    ['control command', () => command('control', { session: 300, seq: 2 ** 30, acked: 7 }, (w) => w.u8(17).u8(0))],
  ])('a %s of a later version is never passed over: the machine stops before it, and says so', (_what, make) => {
    const bench = new Bench();
    bench.apply(put('key', 'v'));
    const saved = bench.all();
    const later = make(put('k', 'v', { timeMs: 5000 }));
    for (let i = 0; i < 2; i++) {
      expect(() => bench.apply(later)).toThrow(
        expect.objectContaining({ code: 'DIR_FOREIGN', message: expect.stringContaining('entry 2 of the log') }),
      );
    }
    expect([bench.machine.applied, bench.machine.timeMs, bench.all()]).toEqual([1, 0, saved]);
  });

  test('of any kind never stop the machine, and two machines make the same of them', () => {
    forSeeds(300, (random) => {
      const machines = [new Bench({ arenaBytes: 64 * 1024 }), new Bench({ arenaBytes: 64 * 1024 })];
      for (let i = 0; i < 20; i++) {
        const entry = random() < 0.5 ? randomBytes(random, below(random, 60)) : pick(random, whole).slice();
        if (entry.length > 0 && random() < 0.7) entry[below(random, entry.length)] = below(random, 256);
        // A later version's is another matter.
        if (levelOf(entry) > COMMAND_LEVEL) entry[0] = 0;
        const [a, b] = machines.map((bench) => bench.apply(entry));
        expect(a).toEqual(b);
        expect(a!.record.revision).toBe(i + 1);
      }
      expect(machines[0]!.all()).toEqual(machines[1]!.all());
    });
  });
});

// ── against a model ─────────────────────────────────────────────────────────────────────────────────────────────

interface Row {
  readonly value: string;
  readonly revision: number;
  readonly expiryMs: number;
}

/** The state as a map; log time; which (session, seq) ran. */
class Model {
  readonly rows = new Map<string, Row>();
  timeMs = 0;
  revision = 0;

  step(timeMs: number, act: (changes: Map<string, Row | undefined>) => void): Map<string, Row | undefined> {
    this.revision++;
    this.timeMs = Math.max(this.timeMs, timeMs);
    const changes = new Map<string, Row | undefined>();
    for (const [key, row] of this.rows) {
      if (row.expiryMs !== 0 && row.expiryMs <= this.timeMs) {
        this.rows.delete(key);
        changes.set(key, undefined);
      }
    }
    act(changes);
    return changes;
  }

  put(changes: Map<string, Row | undefined>, key: string, value: string, ttlMs: number): void {
    const row = { value, revision: this.revision, expiryMs: ttlMs === 0 ? 0 : this.timeMs + ttlMs };
    this.rows.set(key, row);
    changes.set(key, row);
  }

  delete(changes: Map<string, Row | undefined>, key: string): boolean {
    if (!this.rows.delete(key)) return false;
    changes.set(key, undefined);
    return true;
  }
}

test('any run of commands leaves what a map would hold, records that replay to it, and the same bytes twice', () => {
  forSeeds(60, (random) => {
    const bench = new Bench();
    const twin = new Bench();
    const model = new Model();
    const replica = new Map<string, Row>();
    const sessions: number[] = [];
    const keyOf = (): string => `k${below(random, 12)}`;
    let timeMs = 1_000_000;
    for (let i = 0; i < 150; i++) {
      timeMs += pick(random, [0, 0, 1, 40, -300]);
      const { entry, act } = randomEntry(random, { timeMs, keyOf, model, sessions });
      const changes = model.step(timeMs, act);
      const made = bench.apply(entry);
      // The twin's node restarts now and then; nothing may show it.
      if (below(random, 20) === 0) twin.restart();
      const madeAgain = twin.apply(entry);
      expect(madeAgain.recordBytes).toEqual(made.recordBytes);
      expect(madeAgain.answer).toEqual(made.answer);

      expect(made.record).toMatchObject({ revision: model.revision, timeMs: model.timeMs });
      const told = new Map(
        made.record.changes.map((change) => [
          text(change.key),
          change.kind === 'delete'
            ? undefined
            : { value: text(change.value), revision: made.record.revision, expiryMs: change.expiryMs },
        ]),
      );
      expect(told.size, 'a key stands once in a record').toBe(made.record.changes.length);
      expect(told).toEqual(changes);
      for (const [key, row] of told) {
        if (row === undefined) replica.delete(key);
        else replica.set(key, row);
      }
    }
    const rows = [...model.rows].map(([key, row]) => ({ key, ...row })).sort((a, b) => (a.key < b.key ? -1 : 1));
    expect(bench.all()).toEqual(rows);
    expect(new Map(replica)).toEqual(model.rows);
    expect(bench.table.liveKeys).toBe(model.rows.size);
  });
});

function randomEntry(
  random: () => number,
  world: { timeMs: number; keyOf: () => string; model: Model; sessions: number[] },
): { entry: Uint8Array; act: (changes: Map<string, Row | undefined>) => void } {
  const { timeMs, keyOf, model } = world;
  const key = keyOf();
  const value = `${below(random, 4)}`;
  const ttlMs = random() < 0.4 ? 1 + below(random, 200) : 0;
  switch (below(random, 5)) {
    case 0:
      return { entry: clock(timeMs), act: () => {} };
    case 1:
      return { entry: del(key, { timeMs }), act: (changes) => model.delete(changes, key) };
    case 2: {
      const other = keyOf();
      const conditions = [
        pick(random, [
          when.exists(other),
          when.value(other, value),
          when.revision(other, below(random, 2) * model.revision),
        ]),
      ];
      const then = other === key ? [op.delete(key)] : [op.put(key, value, ttlMs), op.delete(other)];
      const otherwise = [op.put(key, 'else')];
      return {
        entry: txn({ conditions, then, otherwise }, { timeMs }),
        act: (changes) => {
          const row = model.rows.get(other);
          const [condition] = conditions;
          const holds =
            condition!.kind === 'exists'
              ? row !== undefined
              : condition!.kind === 'value'
                ? row?.value === text(condition!.value)
                : (row?.revision ?? 0) === condition!.revision;
          for (const operation of holds ? then : otherwise) {
            if (operation.kind === 'put')
              model.put(changes, text(operation.key), text(operation.value), operation.ttlMs);
            else model.delete(changes, text(operation.key));
          }
        },
      };
    }
    default:
      return { entry: put(key, value, { timeMs, ttlMs }), act: (changes) => model.put(changes, key, value, ttlMs) };
  }
}

test('keys and values kept past the entry do not change when its bytes are used again', () => {
  const bench = new Bench();
  const entry = put('key', 'value', { timeMs: 1000, ttlMs: 100 });
  bench.apply(entry);
  entry.fill(0xee);
  expect(bench.get('key')).toBe('value');
  expect(changesOf(bench.apply(clock(1100)).record)).toEqual(['-key']);
  expect(bench.table.newest(utf8('key'))).toBeUndefined();
});
