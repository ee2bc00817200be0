/**
 * The layer rules catch what they forbid: each is given one file that breaks it, and some are given one that may.
 *
 * A rule that never fires looks just like a tidy code base (a parser that sees no TypeScript, a path pattern with a
 * slip), so the rules are proved on planted imports before they are believed about src.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cruise, type IConfiguration, type ICruiseResult } from 'dependency-cruiser';
import { expect, test } from 'vitest';
import { root } from './repo.ts';

const { default: config } = (await import(join(root, '.dependency-cruiser.mjs'))) as { default: IConfiguration };
const forbidden = config.forbidden ?? [];

/** Breaks of rules: the rule, the file and what it says. Every target exists. */
const FORBIDDEN: readonly (readonly [rule: string, file: string, source: string])[] = [
  ['layer-core', 'core/base/a.ts', `import { x } from '../../engine/wal/x.ts';`],
  ['layer-core', 'core/base/a.ts', `import type { X } from '../../net/x.ts';`],
  ['layer-engine', 'engine/wal/a.ts', `export { x } from '../../actors/x.ts';`],
  ['layer-actors', 'actors/a.ts', `import { type X } from '../net/x.ts';`],
  ['layer-actors', 'actors/a.ts', `import { x } from '../client/x.ts';`],
  ['layer-net', 'net/a.ts', `import '../config/x.ts';`],
  ['layer-net', 'net/a.ts', `const x = await import('../node.ts');`],
  ['layer-net', 'net/a.ts', `import type { X } from '../client/x.ts';`],
  ['layer-client', 'client/a.ts', `let x: import('../net/x.ts').X;`],
  ['layer-level', 'level/a.ts', `import { x } from '../engine/lsm/x.ts';`],
  ['layer-level', 'level/a.ts', `import { x } from '../actors/x.ts';`],
  ['layer-testing', 'testing/a.ts', `import { x } from '../core/model/x.ts';`],
  ['layer-testing', 'testing/a.ts', `import type { X } from '../client/x.ts';`],
  ['layer-net', 'net/a.ts', `import { x } from '../testing/x.ts';`],
  ['layer-testing', 'testing/a.ts', `import { x } from '../actors/runtime/x.ts';`],
  ['testing-is-pure', 'testing/a.ts', `import { readFileSync } from 'node:fs';`],
  ['layer-testing-ldb', 'testing-ldb/a.ts', `import { x } from '../client/x.ts';`],
  ['layer-config', 'config/a.ts', `import { x } from '../node.ts';`],
  ['layer-node', 'node.ts', `export type { X } from './cli/x.ts';`],
  ['layer-index', 'index.ts', `export * from './cli/x.ts';`],
  ['layer-sidecar', 'sidecar/a.ts', `import { x } from '../client/x.ts';`],
  ['layer-reflector', 'reflector/a.ts', `import { x } from '../actors/x.ts';`],
  ['layer-reflector', 'reflector/a.ts', `import { x } from '../cli/x.ts';`],
  ['layer-cli', 'cli/a.ts', `import { x } from '../engine/wal/x.ts';`],
  ['layer-cli', 'cli/a.ts', `import { x } from '../net/x.ts';`],
  ['engine-tools', 'engine/tools/a.ts', `import { x } from '../ldb/x.ts';`],
  ['core-base', 'core/base/a.ts', `import { x } from '../model/x.ts';`],
  ['core-raft', 'core/raft/a.ts', `import type { X } from '../model/x.ts';`],
  ['core-model', 'core/model/a.ts', `import { x } from '../raft/x.ts';`],
  ['core-model', 'core/model/a.ts', `import { x } from '../wire/x.ts';`],
  ['core-wire', 'core/wire/a.ts', `import { x } from '../raft/x.ts';`],
  ['engine-wal', 'engine/wal/a.ts', `import { x } from '../lsm/x.ts';`],
  ['engine-lsm', 'engine/lsm/a.ts', `import { x } from '../ldb/x.ts';`],
  ['engine-ldb', 'engine/ldb/a.ts', `import { x } from '../wal/x.ts';`],
  ['engine-disk', 'engine/disk/a.ts', `import { x } from '../wal/x.ts';`],
  ['engine-repair', 'engine/repair/a.ts', "import { x } from '../wal/x.ts';"],
  ['engine-snapshot', 'engine/snapshot/a.ts', `import { x } from '../ldb/x.ts';`],
  ['home-of-node:fs', 'engine/wal/a.ts', `import { readFileSync } from 'node:fs';`],
  ['home-of-node:fs', 'net/a.ts', `import { readFile } from 'node:fs/promises';`],
  ['home-of-node:worker_threads', 'actors/a.ts', `import { Worker } from 'node:worker_threads';`],
  ['home-of-comlink', 'actors/a.ts', `import * as comlink from 'comlink';`],
  ['home-of-abstract-level', 'engine/store/a.ts', `import { AbstractLevel } from 'abstract-level';`],
  ['home-of-lmdb', 'engine/lsm/a.ts', `import { open } from 'lmdb';`],
  ['home-of-@node-rs/crc32', 'engine/lsm/a.ts', `import { crc32c } from '@node-rs/crc32';`],
  ['home-of-ws', 'actors/a.ts', `import { WebSocket } from 'ws';`],
  ['home-of-fastify', 'actors/a.ts', `import { fastify } from 'fastify';`],
  ['home-of-aws4fetch', 'net/a.ts', `import { AwsClient } from 'aws4fetch';`],
  ['core-is-pure', 'core/raft/a.ts', `import { hrtime } from 'node:process';`],
  ['core-is-pure', 'core/model/a.ts', `import { z } from 'zod';`],
  ['client-runs-in-browsers', 'client/a.ts', `import { once } from 'node:events';`],
  ['a-layer-for-each-file', 'helpers.ts', `import { x } from './core/base/x.ts';`],
  ['no-circles', 'net/a.ts', `export * from './a.ts';`],
  ['src-stands-alone', 'net/a.ts', `import { x } from '../../test/x.ts';`],
  ['resolvable', 'net/a.ts', `import { x } from './nowhere.ts';`],
];

/** Imports that are fine: the next layer down, and each extra arrow. */
const ALLOWED: readonly (readonly [file: string, source: string])[] = [
  ['core/wire/a.ts', `import { x } from '../model/x.ts'; import { y } from '../base/x.ts';`],
  [
    'engine/engine.ts',
    `import { x } from './wal/x.ts'; import { y } from './lsm/x.ts'; import { z } from './ldb/x.ts';`,
  ],
  ['engine/disk/a.ts', `import { readSync } from 'node:fs';`],
  ['engine/disk/a.ts', `import { crc32c } from '@node-rs/crc32';`],
  ['engine/lsm/a.ts', `import { x } from '../disk/x.ts';`],
  ['level/a.ts', `import { AbstractLevel } from 'abstract-level'; import { x } from '../engine/store/x.ts';`],
  ['engine/ldb/a.ts', `import { open } from 'lmdb';`],
  ['actors/runtime/a.ts', `import { Worker } from 'node:worker_threads'; import * as comlink from 'comlink';`],
  ['net/a.ts', `import { x } from '../actors/x.ts'; import { WebSocket } from 'ws';`],
  ['client/a.ts', `import { x } from '../core/base/x.ts'; import { WebSocket } from 'ws';`],
  ['testing/a.ts', `import { x } from '../core/base/x.ts'; import { y } from '../actors/runtime/core/x.ts';`],
  ['cli/a.ts', `import { x } from '../testing/x.ts';`],
  ['config/load.ts', `import { existsSync } from 'node:fs'; import { x } from '../core/base/x.ts';`],
  ['node.ts', `import { x } from './client/x.ts'; import { y } from './net/x.ts';`],
  ['cli/a.ts', `import { x } from '../engine/tools/x.ts';`],
  [
    'engine/tools/a.ts',
    `import { x } from '../wal/x.ts'; import { y } from '../lsm/x.ts'; import { z } from '../disk/x.ts';`,
  ],
  ['cli/a.ts', `import { x } from '../client/x.ts'; import { y } from '../engine/ldb/x.ts'; import '../node.ts';`],
];

/** Runs the rules over a small src of its own and gives the names of those broken. */
async function brokenRules(file: string, source: string): Promise<string[]> {
  mkdirSync(join(root, '.cache'), { recursive: true });
  const baseDir = mkdtempSync(join(root, '.cache', 'layers-'));
  try {
    const files: Record<string, string> = { 'test/x.ts': X, 'src/node.ts': X };
    for (const part of PARTS) files[`src/${part}/x.ts`] = X;
    files[`src/${file}`] = source;
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(baseDir, path)), { recursive: true });
      writeFileSync(join(baseDir, path), text);
    }
    const options = { ...config.options, baseDir, validate: true, ruleSet: { forbidden } };
    const { output } = await cruise(['src'], options);
    return (output as ICruiseResult).summary.violations.map((violation) => violation.rule.name);
  } finally {
    rmSync(baseDir, { recursive: true });
  }
}

const X = 'export type X = 1; export const x = 1;';
const PARTS =
  'core/base core/raft core/model core/wire engine/disk engine/wal engine/lsm engine/ldb engine/store engine/tools'
    .concat(' actors actors/runtime actors/runtime/core net client config cli level testing')
    .split(' ');

test.each(FORBIDDEN)('%s stops %s saying %s', async (rule, file, source) => {
  expect(await brokenRules(file, source)).toContain(rule);
});

test.each(ALLOWED)('%s may say %s', async (file, source) => {
  expect(await brokenRules(file, source)).toEqual([]);
});

test('every rule has an import that proves it', () => {
  const proved = new Set(FORBIDDEN.map(([rule]) => rule));
  expect(forbidden.map((rule) => String(rule.name)).filter((name) => !proved.has(name))).toEqual([]);
});
