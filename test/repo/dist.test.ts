/**
 * The package as users get it: built, packed, installed somewhere else, imported by plain Node and by TypeScript.
 *
 * A checkout cannot show what a package lacks: a file that was not copied, an export that points at source, a
 * declaration that only resolves beside its .ts file.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { outcome, root, run, tool } from './repo.ts';

const ENTRIES = [
  'src/index.ts',
  'src/client/index.ts',
  'src/engine/ldb/index.ts',
  'src/level/index.ts',
  'src/cli/cluster.ts',
  'src/cli/kvctl.ts',
];
const missing = ENTRIES.filter((entry) => !existsSync(join(root, entry)));
const why = missing.length === 0 ? '' : ` (skipped: no ${missing.join(', ')} yet)`;

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

describe.skipIf(missing.length > 0)(`the published package${why}`, () => {
  let project: string;
  let installed: string;
  let packed: Packed;

  beforeAll(() => {
    project = mkdtempSync(join(tmpdir(), 'ctlmesh-dist-'));
    installed = join(project, 'node_modules', 'ctlmesh');
    run(process.execPath, ['scripts/build.ts']);
    const pack = ['pack', '--json', '--pack-destination', project, join(root, 'dist')];
    const answer = JSON.parse(run('npm', pack, { cwd: project })) as Packed[] | Record<string, Packed>;
    packed = Object.values(answer)[0] as Packed;
    writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
    const install = ['install', '--prefer-offline', '--no-audit', '--no-fund', `./${packed.filename}`];
    run('npm', install, { cwd: project });
  });

  afterAll(() => rmSync(project, { recursive: true, force: true }));

  /** Runs a module in the project; gives what it prints. */
  const evaluate = (source: string): string => {
    const file = join(project, 'main.js');
    writeFileSync(file, source);
    return run(process.execPath, [file], { cwd: project }).trim();
  };

  test.each([
    ['ctlmesh', ['defineCluster', 'startNode']],
    ['ctlmesh/actors', ['ask', 'createSystem', 'defineActor', 'stream', 'tell']],
    ['ctlmesh/client', ['connect']],
    ['ctlmesh/ldb', ['openLdb']],
    ['ctlmesh/level', ['CtlmeshLevel', 'default']],
    ['ctlmesh/testing', ['checkLinearizable', 'checkListAppend', 'checkWatch', 'checkLdb', 'parseHistory']],
    ['ctlmesh/testing/ldb', ['TestLdb']],
  ])('%s gives %j', (name, functions) => {
    const types = evaluate(`
      const entry = await import('${name}');
      console.log(${JSON.stringify(functions)}.map((name) => typeof entry[name]).join());
    `);
    expect(types).toBe(functions.map(() => 'function').join());
  });

  test('what is not exported cannot be reached', () => {
    const code = evaluate(
      `console.log(await import('ctlmesh/core/base/errors.js').then(() => 'reached', (e) => e.code));`,
    );
    expect(code).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED');
  });

  test('TypeScript finds the types of every entry', () => {
    writeFileSync(
      join(project, 'main.ts'),
      `import { defineCluster, startNode } from 'ctlmesh';
       import { connect } from 'ctlmesh/client';
       import { openLdb } from 'ctlmesh/ldb';
       import { CtlmeshLevel } from 'ctlmesh/level';
       type NotAny<T> = 0 extends 1 & T ? never : T;
       export const all: [NotAny<typeof defineCluster>, NotAny<typeof startNode>, NotAny<typeof connect>, NotAny<typeof openLdb>] =
         [defineCluster, startNode, connect, openLdb];
       export const level = async (db: CtlmeshLevel<string, number>): Promise<number | undefined> => {
         await db.put('a', 1, { ttlMs: 5, sync: true });
         // @ts-expect-error: the type of a value is known.
         await db.put('a', '1');
         return db.get('a');
       };`,
    );
    // Types of Node are the user's own dependency; ours are at hand.
    const compilerOptions = {
      module: 'nodenext',
      target: 'es2023',
      lib: ['es2023', 'esnext.disposable', 'dom'],
      strict: true,
      noEmit: true,
      skipLibCheck: false,
      types: ['node'],
      typeRoots: [join(root, 'node_modules/@types')],
    };
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['main.ts'] }));
    const done = outcome(tool('tsc'), ['-p', project], { cwd: project });
    expect(done.stdout).toBe('');
    expect(done.status).toBe(0);
  });

  test('the storage engine runs: its threads are found, and what they write can be read', () => {
    const printed = evaluate(`
      import { CtlmeshLevel } from 'ctlmesh/level';
      const dir = ${JSON.stringify(join(project, 'level'))};
      const value = 'compressible '.repeat(100);
      let db = new CtlmeshLevel(dir);
      await db.batch(Array.from({ length: 2000 }, (_, i) => ({ type: 'put', key: 'k' + i, value: value + i })));
      await db.compact(); // In a thread.
      await db.close();
      db = new CtlmeshLevel(dir);
      console.log((await db.get('k1999')) === value + 1999, (await db.keys().all()).length);
      await db.close();
    `);
    expect(printed).toBe('true 2000');
    const tables = readdirSync(join(project, 'level')).filter((name) => name.endsWith('.ldb'));
    const bytes = tables.reduce((sum, name) => sum + statSync(join(project, 'level', name)).size, 0);
    expect(bytes).toBeGreaterThan(0);
    expect(bytes).toBeLessThan(2000 * 1300 * 0.5); // Compressed.
  });

  test('actors run in threads of their own', () => {
    writeFileSync(
      join(project, 'echo-actor.mjs'),
      `import { ask, defineActor } from 'ctlmesh/actors';
       export const echo = defineActor({
         name: 'echo',
         module: import.meta.url,
         protocol: { where: ask({}, undefined) },
         start: () => ({}),
         on: { where: async () => (await import('node:worker_threads')).isMainThread },
       });`,
    );
    const printed = evaluate(`
      import { createSystem } from 'ctlmesh/actors';
      import { echo } from './echo-actor.mjs';
      const system = createSystem();
      const refs = [await system.spawn(echo), await system.spawn(echo, { thread: 'own' })];
      console.log((await Promise.all(refs.map((ref) => ref.ask({ kind: 'where' })))).join(' '));
      await system.stop();
    `);
    expect(printed).toBe('true false');
  });

  test('kvctl and cluster.js answer --help', () => {
    expect(run(join(project, 'node_modules/.bin/kvctl'), ['--help'], { cwd: project })).toMatch(/kvctl/);
    expect(run(process.execPath, [join(installed, 'cluster.js'), '--help'], { cwd: project })).toMatch(/--config/);
  });

  test('the browser bundle needs nothing but a browser', () => {
    const source = readFileSync(join(installed, 'browser/client.js'), 'utf8');
    expect(source).not.toMatch(/['"`]node:/);
    expect(source).not.toMatch(/\brequire\(/);
    expect(source).not.toMatch(/^\s*import\b.*\bfrom\b/m);
  });

  test('browsers get the bundle, and it has connect', () => {
    const program = `const { connect } = await import('ctlmesh/client');
      console.log(typeof connect, import.meta.resolve('ctlmesh/client').split('/').slice(-2).join('/'));`;
    writeFileSync(join(project, 'browser.js'), program);
    const printed = run(process.execPath, ['--conditions=browser', join(project, 'browser.js')], { cwd: project });
    expect(printed.trim()).toBe('function browser/client.js');
  });

  test('it carries its licence and its manual, and no source, test or build file', () => {
    const paths = packed.files.map((file) => file.path);
    expect(paths).toEqual(
      expect.arrayContaining(['LICENSE', 'README.md', 'package.json', 'cluster.js', 'bin/kvctl.js']),
    );
    expect(paths.filter((path) => /(^|\/)(src|test|node_modules)\/|(?<!\.d)\.ts$|tsbuildinfo/.test(path))).toEqual([]);
    const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as Record<string, unknown>;
    expect(manifest).not.toHaveProperty('private');
    expect(manifest).not.toHaveProperty('devDependencies');
    expect(manifest).not.toHaveProperty('scripts');
  });
});
