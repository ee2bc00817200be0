/**
 * Vitest: three projects, told apart by what they need of the machine.
 *
 *   unit   test/** but the two below: many files at once
 *   repo   test/repo: the repository itself (layers, tidiness, the package as published); some build, so one at a time
 *   e2e    test/e2e: real processes, ports and disks; one file at a time, after all else (CI has two cores, and an
 *          election that had to wait for a core would prove nothing)
 */
import { defineConfig, type ViteUserConfig } from 'vitest/config';
import { compileCache, isSupported } from './bin/runtime.js';

if (!isSupported(process.version)) {
  // Workers run on the Node that vitest runs on; only npm puts the pinned one first on the path.
  throw new Error(`tests need a newer Node than ${process.version}: use \`npm test\` or \`npx vitest\``);
}

// For the threads and processes that tests start.
const cacheDir = compileCache();
if (cacheDir !== undefined) process.env['NODE_COMPILE_CACHE'] ??= cacheDir;

const SECOND_MS = 1000;

const config: ViteUserConfig = defineConfig({
  test: {
    pool: 'forks',
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/repo/**', 'test/e2e/**'],
          testTimeout: 30 * SECOND_MS,
          hookTimeout: 30 * SECOND_MS,
          // The default leaves a core idle; on two that is half of them.
          maxWorkers: '100%',
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'repo',
          include: ['test/repo/**/*.test.ts'],
          testTimeout: 180 * SECOND_MS,
          hookTimeout: 180 * SECOND_MS,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 120 * SECOND_MS,
          hookTimeout: 60 * SECOND_MS,
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});

export default config;
