/**
 * Tests of real processes that take half a minute and more: they run with `npm run test:long` (CTLMESH_LONG=1, once a
 * night), so that the others are done in the time that a change can wait.
 */
import { test } from 'vitest';

export const long: typeof test | typeof test.skip = process.env['CTLMESH_LONG'] === undefined ? test.skip : test;
