import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { StoreError } from '../../src/core/base/errors.ts';
import { FakeStore, kvctl } from './fixtures/fake-kvctl.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ctlmesh-import-'));
});
afterEach(() => rmSync(dir, { recursive: true }));
const write = (text: string, name = 'rows.ndjson'): string => {
  const file = join(dir, name);
  writeFileSync(file, text);
  return file;
};
const rows = (count: number): string =>
  Array.from({ length: count }, (_, i) => `{"key":"k${String(i).padStart(3, '0')}","value":${i}}`).join('\n');

describe('the input', () => {
  test('NDJSON: text as it is, other JSON as JSON, bytes in base64', async () => {
    const store = new FakeStore();
    const file = write(
      '\n{"key":"a","value":"x"}\n{"value":{"n":1},"key":"b"}\n{"keyBase64":"Yw==","valueBase64":"/w==","revision":9}\n',
    );
    const { code, out, err } = await kvctl(['import', file, '--prefix', 'p/'], { store });
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/^3 rows imported in \d+\.\d\d s \(\d+ rows\/s\)\n$/);
    expect(store.rows.get('p/a')?.text()).toBe('x');
    expect(store.rows.get('p/b')?.text()).toBe('{"n":1}');
    expect([...(store.rows.get('p/c')?.value ?? [])]).toEqual([255]);
  });

  test('one JSON object, in one line or many: each value as JSON', async () => {
    const value = { 'text/html': { extensions: ['html'] }, plain: 'x' };
    for (const text of [JSON.stringify(value), JSON.stringify(value, null, 2)]) {
      const store = new FakeStore();
      expect((await kvctl(['import', write(text, 'o.json'), '--json'], { store })).out).toContain('"rows":2');
      expect(store.rows.get('text/html')?.json()).toEqual({ extensions: ['html'] });
      expect(store.rows.get('plain')?.text()).toBe('"x"');
    }
  });

  test('what scan --json prints is read back', async () => {
    const from = new FakeStore();
    from.set(Uint8Array.of(0xfe, 1), Uint8Array.of(0xff));
    from.set('a', 'line\nbreak');
    const to = new FakeStore();
    await kvctl(['import', '-'], { store: to, stdin: (await kvctl(['scan', '--json'], { store: from })).out });
    expect([...to.rows].map(([key, row]) => [key, [...row.value]])).toEqual(
      [...from.rows].map(([key, row]) => [key, [...row.value]]),
    );
  });

  test.each([
    ['{"key":"a","value":1}\n\n{"key":"b"}\n', ':3: a row needs "key" and "value"'],
    ['{"key":"a","value":1}\nnope\n', ':2: not a JSON object: nope'],
    ['{"key":"a","value":1,"tll":5}\n', ':1: unknown field "tll"; known: key,'],
    ['{"key":5,"value":1}\n', ':1: "key" must be a text'],
    ['{"key":"a","value":1,"ttlMs":-1}\n', ':1: "ttlMs" must be a whole number'],
    ['[1]\n', ': must be NDJSON rows or one JSON object; this is an array'],
    ['{"a":\n', ': neither NDJSON rows'],
  ])('%j is refused before the first write, with its line', async (text, expected) => {
    const store = new FakeStore();
    const file = write(text);
    const { code, err } = await kvctl(['import', file], { store });
    expect(code).toBe(2);
    expect(err).toContain(`kvctl: ${file}${expected}`);
    expect(store.puts).toEqual([]);
  });
});

describe('resuming', () => {
  test('goes on after the last leading row that is known to be stored', async () => {
    const store = new FakeStore();
    const file = write(rows(50));
    let calls = 0;
    // Answers in any order: every third row is slow, and row 20 fails for good.
    store.beforePut = async (key) => {
      if (++calls % 3 === 0) await sleep(2);
      if (key === 'k020') throw new StoreError('BAD_REQUEST', 'no');
    };
    const failed = await kvctl(['import', file, '--in-flight', '8'], { store });
    expect(failed.code).toBe(1);
    expect(failed.err).toContain('kvctl: 20 of 50 rows are stored; the same command goes on from there');
    expect(failed.err).toContain('kvctl: no (BAD_REQUEST; ');
    expect(store.inFlightSeen).toBeLessThanOrEqual(8);
    expect(store.inFlightSeen).toBeGreaterThan(1);
    expect(JSON.parse(readFileSync(`${file}.kvctl-import`, 'utf8'))).toMatchObject({
      rowsDone: 20,
      cluster: 'fake-cluster',
    });

    store.beforePut = () => {};
    store.puts.length = 0;
    const resumed = await kvctl(['import', file], { store });
    expect(resumed.err).toContain('going on after row 20');
    expect(resumed.out).toMatch(/^30 rows imported .*; 20 were stored by an earlier run\n$/);
    expect(store.puts[0]).toBe('k020');
    expect(store.rows.size).toBe(50);
    expect(existsSync(`${file}.kvctl-import`)).toBe(false);
  });

  test('a place that cannot be kept is told, and the reason of the failure with it', async () => {
    const store = new FakeStore();
    const file = write(rows(5));
    // A directory stands where the state would be written.
    mkdirSync(`${file}.kvctl-import.tmp`);
    store.beforePut = async (key) => {
      if (key === 'k003') throw new StoreError('BAD_REQUEST', 'no');
    };
    const failed = await kvctl(['import', file, '--in-flight', '1'], { store });
    expect(failed.code).toBe(1);
    expect(failed.err).toContain(`kvctl: cannot keep the place in ${file}.kvctl-import: `);
    expect(failed.err).toContain('kvctl: 3 of 5 rows are stored; the same command begins anew');
    expect(failed.err).toContain('kvctl: no (BAD_REQUEST; ');
  });

  test('begins anew when the file, the prefix or the cluster is another, or on --restart', async () => {
    const file = write(rows(5));
    const identity = async (): Promise<string> => {
      const store = new FakeStore();
      store.beforePut = (key) => {
        if (key.endsWith('k003')) throw new StoreError('BAD_REQUEST', 'no');
      };
      await kvctl(['import', file, '--in-flight', '1'], { store });
      return readFileSync(`${file}.kvctl-import`, 'utf8');
    };
    const sent = async (...flags: string[]): Promise<number> => {
      const store = new FakeStore();
      expect((await kvctl(['import', file, ...flags], { store })).code).toBe(0);
      return store.puts.length;
    };
    const state = await identity();
    expect(await sent()).toBe(2);
    writeFileSync(`${file}.kvctl-import`, state);
    expect(await sent('--restart')).toBe(5);
    writeFileSync(`${file}.kvctl-import`, state);
    expect(await sent('--prefix', 'p/')).toBe(5);
    writeFileSync(`${file}.kvctl-import`, state.replace('fake-cluster', 'another'));
    expect(await sent()).toBe(5);
    writeFileSync(`${file}.kvctl-import`, state);
    writeFileSync(file, `${rows(5)}\n`);
    expect(await sent()).toBe(5);
    writeFileSync(`${file}.kvctl-import`, 'garbage');
    expect(await sent()).toBe(5);
  });

  test('a failure that may pass is tried again', async () => {
    const store = new FakeStore();
    let failures = 2;
    store.beforePut = () => {
      if (failures-- > 0) throw new StoreError('OUTCOME_UNKNOWN', 'perhaps');
    };
    expect((await kvctl(['import', write(rows(3))], { store })).code).toBe(0);
    expect(store.rows.size).toBe(3);
  });

  test('rows of one key are stored in their order', async () => {
    const store = new FakeStore();
    store.beforePut = () => sleep(Math.random() * 5);
    const text = Array.from({ length: 40 }, (_, i) => `{"key":"k${i % 2}","value":${i}}`).join('\n');
    await kvctl(['import', write(text)], { store });
    expect([...store.rows.values()].map((row) => row.text()).sort()).toEqual(['38', '39']);
  });

  test('Ctrl-C waits for what is under way and keeps the place', async () => {
    const store = new FakeStore();
    const stop = new AbortController();
    store.beforePut = async () => {
      await sleep(1);
      if (store.puts.length === 10) stop.abort();
    };
    const file = write(rows(200));
    const { code, err } = await kvctl(['import', file, '--in-flight', '4'], { store, signal: stop.signal });
    expect(code).toBe(1);
    expect(err).toContain('the import was interrupted (CANCELLED; stopped as asked)');
    expect(store.inFlight).toBe(0);
    expect(JSON.parse(readFileSync(`${file}.kvctl-import`, 'utf8'))).toMatchObject({ rowsDone: store.puts.length });
  });
});
