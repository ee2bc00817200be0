import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

/** In a process of its own: the test runner has an `import` of its own, and what is tested is node's. */
function load(file: string): { readonly dataDir?: string; readonly message?: string } {
  const module = new URL('../../src/config/index.ts', import.meta.url).href;
  const code = `
    const { loadConfig } = await import(${JSON.stringify(module)});
    const answer = await loadConfig(process.argv[1]).then((c) => ({ dataDir: c.nodes.n1.dataDir }), (e) => ({ message: e.message }));
    console.log(JSON.stringify(answer));`;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', code, file], { encoding: 'utf8' });
  return JSON.parse(child.stdout) as { dataDir?: string; message?: string };
}

describe('loadConfig', () => {
  let dir = '';
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'ctlmesh-config-'));
  });
  afterAll(() => rmSync(dir, { recursive: true }));
  const write = (name: string, text: string): string => {
    const file = join(dir, name);
    writeFileSync(file, text);
    return file;
  };
  const NODES =
    '{ "nodes": { "n1": { "client": "ws://h:1", "peer": "ws://h:2", "http": "http://h:3", "dataDir": "d" } } }';

  test.each([
    ['good.ts', `const a: object = ${NODES};\nexport default a;`],
    ['good.mjs', `export default ${NODES};`],
    ['good.json', NODES],
  ])('%s loads, and its directories start at the file', (name, text) => {
    expect(load(write(name, text))).toEqual({ dataDir: join(dir, 'd') });
  });

  test.each<[string, string, string]>([
    ['syntax.ts', 'export default {\n  nodes: {\n', ':2 cannot be parsed: Unexpected token'],
    ['syntax.json', '{ "nodes": ', ' cannot be parsed: Unexpected end of JSON input'],
    ['none.mjs', 'export const x = 1;', " has no default export; write 'export default defineCluster({ … })'"],
    ['throws.ts', 'const a: number = 1;\nthrow new TypeError(`boo ${a}`);', ':2 threw TypeError: boo 1'],
    [
      'imports.mjs',
      "import x from 'not-there';\nexport default x;",
      " imports what cannot be found: Cannot find package 'not-there'",
    ],
  ])('%s is one sentence that names the file', (name, text, expected) => {
    const file = write(name, text);
    const { message = '' } = load(file);
    expect(message.startsWith(`${file}${expected}`), message).toBe(true);
    expect(message).not.toContain('\n');
  });

  test('a file that is not there, and one of another kind', () => {
    expect(load(join(dir, 'gone.ts')).message).toBe(`${join(dir, 'gone.ts')} does not exist`);
    expect(load(join(dir, 'x.yaml')).message).toContain('a config file ends in .ts');
  });
});
