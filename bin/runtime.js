/**
 * Runtime guard: runs one of our commands on a Node that can run it, whatever `node` the machine has.
 *
 * The source is TypeScript that Node runs as it is, which needs ^22.18 || ^24.12 || >=26. Many machines still have an
 * older one on the path, so the lockfile pins a runtime (devDependency `node`), and a command started on an old Node
 * starts itself again on the pinned one. Without it: exit 78 (bad configuration) and one line that says what to do.
 *
 * Old syntax throughout (no `?.`, no top-level await, no `node:` prefix): this file and the two that import it must
 * parse on Node 12 to be able to say that Node 12 is too old.
 */
import childProcess from 'child_process';
import fs from 'fs';
import nodeModule from 'module';
import os from 'os';
import path from 'path';
import url from 'url';

var NODE_RANGE = '^22.18 || ^24.12 || >=26';
var EXIT_INTERNAL = 70;
var EXIT_CONFIG = 78;
/** Set for the second start, so that a pinned runtime of the wrong version ends in a message and not in a loop. */
var RESTARTED = 'CTLMESH_RESTARTED';

/** The root of the checkout, or of the published package. */
var root = path.dirname(path.dirname(url.fileURLToPath(import.meta.url)));

/** Whether `version` ('v24.12.0') is in NODE_RANGE. */
export function isSupported(version) {
  var parts = version.replace(/^v/, '').split('.').map(Number);
  var major = parts[0];
  var minor = parts[1];
  return (major === 22 && minor >= 18) || (major === 24 && minor >= 12) || major >= 26;
}

/** Runs `main(process.argv)` of command `name` ('cluster' or 'kvctl'), here or on the pinned Node. */
export function run(name) {
  if (isSupported(process.version)) start(name);
  else restart();
}

/**
 * Where what Node made of our sources is kept, for the next start: half of a start is spent on that. For the command
 * line and for tests, which start often. Not for nodes: theirs costs 2.4 s of processor time without it and 1.1 with it,
 * but what runs out of the cache then runs slower (25 k puts/s instead of 30 k in the first half minute, of eight runs
 * each in turn), and a node runs for weeks. Nothing when there is no such place, as in a read-only image.
 */
export function compileCache() {
  var parent = path.dirname(root);
  var modules = path.basename(parent) === 'node_modules' ? parent : path.join(root, 'node_modules');
  return fs.existsSync(modules) ? path.join(modules, '.cache', 'ctlmesh') : undefined;
}

function keepCompiled() {
  var dir = compileCache();
  if (dir === undefined || process.env.NODE_COMPILE_CACHE !== undefined) return;
  // Says whether the place can be written to; does not throw.
  var result = nodeModule.enableCompileCache(dir);
  // Threads and processes that this one starts.
  if (result.status === nodeModule.constants.compileCacheStatus.ENABLED) process.env.NODE_COMPILE_CACHE = dir;
}

function start(name) {
  if (name === 'kvctl') keepCompiled();
  // A checkout has src and runs it; the published package has the compiled files and no src.
  var source = path.join(root, 'src', 'cli', name + '.ts');
  var file = fs.existsSync(source) ? source : path.join(root, 'cli', name + '.js');
  import(url.pathToFileURL(file).href)
    .then(function (command) {
      return command.main(process.argv);
    })
    .catch(function (error) {
      console.error((error && error.stack) || error);
      process.exitCode = EXIT_INTERNAL;
    });
}

function restart() {
  var pinned = pinnedNode();
  if (pinned === undefined || process.env[RESTARTED] !== undefined) {
    refuse(pinned);
    return;
  }
  var env = Object.assign({}, process.env);
  env[RESTARTED] = process.version;
  var child = childProcess.spawn(pinned, process.execArgv.concat(process.argv.slice(1)), {
    stdio: 'inherit',
    env: env,
  });
  forwardSignals(child);
  child.on('error', function () {
    refuse(undefined);
  });
  child.on('exit', function (code, signal) {
    if (signal === null) process.exit(code);
    // Die as the child did, so that a shell or supervisor sees the true cause. If the signal is one that this process
    // cannot die of (it was started with it ignored), the exit code says the same in the shell's way.
    process.exitCode = 128 + os.constants.signals[signal];
    FORWARDED.forEach(function (name) {
      process.removeAllListeners(name);
    });
    process.kill(process.pid, signal);
  });
}

/** The runtime that `npm ci` installed, if it did. */
function pinnedNode() {
  var places = [path.join('node', 'bin', 'node'), path.join('.bin', 'node')];
  for (var i = 0; i < places.length; i++) {
    var file = path.join(root, 'node_modules', places[i]);
    if (fs.existsSync(file)) return file;
  }
  return undefined;
}

var FORWARDED = ['SIGINT', 'SIGHUP', 'SIGTERM'];

/**
 * Passes signals on, each once. Two stops are not the same as one: the second means "now, without draining".
 *
 * SIGTERM is sent by a process to a process, so it has reached only this one: pass it on, always.
 * SIGINT and SIGHUP come as a rule from a terminal (Ctrl-C, a closed window), and the kernel gives them to the whole
 * foreground process group: the child has its own already, and this process only has to outlive it. Without a terminal
 * they were sent by a process too, and are passed on. (A child in a process group of its own would make this uniform,
 * but such a child is in the background of its terminal and could not read from it; kvctl has to.)
 */
function forwardSignals(child) {
  var hasTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  FORWARDED.forEach(function (name) {
    process.on(name, function () {
      if (name === 'SIGTERM' || !hasTerminal) child.kill(name);
    });
  });
}

function refuse(pinned) {
  var advice =
    pinned === undefined
      ? 'install it from https://nodejs.org, or run `npm ci` here (not with --ignore-scripts), which brings its own'
      : 'the one in node_modules is not it either: run `npm ci` again';
  console.error('ctlmesh needs Node ' + NODE_RANGE + ' and this is ' + process.version + '; ' + advice);
  process.exitCode = EXIT_CONFIG;
}
