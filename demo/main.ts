/**
 * `npm run demo`: the main job on real input, with processes that are killed.
 *
 *   three node processes and one process that keeps a local replica (LDB)
 *   import    every media type of the npm package mime-db, as rows
 *   read      the same rows from the LDB, each compared with the source
 *   write     without a pause; in the middle of it the leader gets a SIGKILL, and is started again later
 *   check     every acknowledged write is on the cluster and in the LDB, once; all nodes hold the same rows
 *
 * Exit codes: 0 all of it held; 1 something was lost, or not served; 2 bad command line; 130 Ctrl-C.
 */
import { mkdirSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { Demo } from './demo.ts';
import { type DemoFlags, demoFlags } from './flags.ts';
import { root } from './processes.ts';
import { Screen } from './screen.ts';

const TIME_MS_MAX = 58_000;

const HELP = `npm run demo [-- OPTIONS]

Three nodes and a local replica on this machine: imports mime-db, kills the leader
in the middle of writes, and checks that nothing was lost.

  --json    print one JSON object with the results, and nothing else on stdout
  --keep    keep the data directories and the nodes' logs
  --help`;

async function run(flags: DemoFlags): Promise<number> {
  // On the disk of the checkout: /tmp may be memory, where a sync costs nothing and proves nothing.
  const parent = join(root, 'data');
  mkdirSync(parent, { recursive: true });
  const dir = mkdtempSync(join(parent, 'demo-'));
  const screen = new Screen(flags.json);
  const demo = new Demo(dir, screen);
  const ended = Promise.withResolvers<number>();
  const stop = (code: number, why: string): void => {
    screen.end();
    console.error(why);
    ended.resolve(code);
  };
  process.once('SIGINT', () => stop(130, 'demo: stopped as asked'));
  process.once('SIGTERM', () => stop(143, 'demo: stopped as asked'));
  const watchdog = setTimeout(
    () => stop(1, `demo: not done after ${TIME_MS_MAX / 1000} s: ${screen.doing}`),
    TIME_MS_MAX,
  );
  const whole = demo.run().then(
    () => 0,
    (error: unknown) => {
      // What goes wrong while everything is being stopped is no news.
      if (demo.isStopping) return 1;
      screen.end();
      console.error(`demo: ${screen.doing}: ${error instanceof Error ? error.message : String(error)}`);
      return 1;
    },
  );
  const code = await Promise.race([whole, ended.promise]);
  clearTimeout(watchdog);
  const isFailure = code === 1;
  await demo.close({ keepFiles: flags.keep || isFailure });
  if (flags.keep || isFailure) console.error(`demo: data and logs are in ${dir}`);
  if (flags.json && demo.summary !== undefined) console.log(JSON.stringify(demo.summary));
  return code;
}

const flags = demoFlags('demo', HELP, process.argv.slice(2));
process.exit(typeof flags === 'number' ? flags : await run(flags));
