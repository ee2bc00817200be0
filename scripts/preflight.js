/**
 * Preflight: stops `npm test` with a sentence when node_modules is not what `npm ci` makes.
 *
 * The pinned Node (devDependency `node`) is fetched by an install script. After `npm ci --ignore-scripts` it is not
 * there, npm falls back to the system's Node without a word, and the first thing seen would be a syntax error
 * somewhere in the sources. It is a call in the test script and not a `pretest` hook, because with ignore-scripts set
 * npm does not run hooks either. Old syntax, because the system's Node may be the one that runs it.
 */
import childProcess from 'child_process';
import fs from 'fs';
import path from 'path';
import url from 'url';
import { isSupported } from '../bin/runtime.js';

var root = path.dirname(path.dirname(url.fileURLToPath(import.meta.url)));
var pinned = path.join(root, 'node_modules', '.bin', 'node');

function problem() {
  if (!fs.existsSync(path.join(root, 'node_modules', 'vitest'))) return 'the dependencies are not installed';
  if (!fs.existsSync(pinned)) return 'node_modules/.bin/node is missing (was it installed with --ignore-scripts?)';
  var answer = childProcess.spawnSync(pinned, ['--version'], { encoding: 'utf8' });
  if (answer.status !== 0) return 'node_modules/.bin/node does not run on this machine';
  if (!isSupported(answer.stdout.trim())) return 'node_modules/.bin/node is ' + answer.stdout.trim();
  return undefined;
}

var found = problem();
if (found !== undefined) {
  console.error(
    'ctlmesh: cannot test here: ' + found + '.\nRun `npm ci` (with install scripts allowed) and try again.',
  );
  process.exitCode = 78;
}
