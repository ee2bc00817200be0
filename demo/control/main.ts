/**
 * `npm run demo:control`: control data as its users have it. Real tables from the npm package mime-db and the time zones of
 * this Node go over HTTP into three nodes, any of them; each of three hosts keeps a replica, one of them of one family only,
 * and reads its rows there.
 *
 *   declare   two families, three tables and a writer, each at another node
 *   load      batches of rows, in turn at all nodes; the position is in the writer's cookie
 *   compare   every row of every replica, and of every node, with the source
 *   measure   reads in a replica; the time from an answer until each replica shows the row
 *   refuse    what must be refused: another secret, a stale cookie, a row of the wrong shape
 *
 * Exit codes: 0 all of it held; 1 something did not; 2 bad command line; 130 Ctrl-C.
 */
import { mkdirSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { type DemoFlags, demoFlags } from '../flags.ts';
import { root } from '../processes.ts';
import { Screen } from '../screen.ts';
import { ControlDemo } from './demo.ts';

const TIME_MS_MAX = 120_000;

const HELP = `npm run demo:control [-- OPTIONS]

Three nodes and three local replicas on this machine: loads real tables over HTTP, and
shows rows, rates, lag and local reads.

  --json    print one JSON object with the results, and nothing else on stdout
  --keep    keep the data directories and the nodes' logs
  --help`;

async function run(flags: DemoFlags): Promise<number> {
  // On the disk of the checkout: /tmp may be memory, where a sync costs nothing and proves nothing.
  const parent = join(root, 'data');
  mkdirSync(parent, { recursive: true });
  const dir = mkdtempSync(join(parent, 'demo-control-'));
  const screen = new Screen(flags.json);
  const demo = new ControlDemo(dir, screen);
  const ended = Promise.withResolvers<number>();
  const stop = (code: number, why: string): void => {
    if (demo.isStopping) return;
    screen.end();
    if (why !== '') console.error(`demo:control: ${why} (while ${screen.doing})`);
    demo.close({ keepFiles: flags.keep || code === 1 }).then(() => ended.resolve(code), ended.reject);
  };
  process.on('SIGINT', () => stop(130, 'stopped'));
  process.on('SIGTERM', () => stop(143, 'stopped'));
  const late = setTimeout(() => stop(1, `not done after ${TIME_MS_MAX / 1000} s`), TIME_MS_MAX);
  demo.run().then(
    () => stop(0, ''),
    (error: unknown) => stop(1, error instanceof Error ? error.message : String(error)),
  );
  const code = await ended.promise;
  clearTimeout(late);
  if (flags.json) console.log(JSON.stringify({ ok: code === 0, ...demo.facts }));
  if (flags.keep || code === 1) console.error(`demo:control: data and logs are in ${dir}`);
  return code;
}

const flags = demoFlags('demo:control', HELP, process.argv.slice(2));
process.exitCode = typeof flags === 'number' ? flags : await run(flags);
