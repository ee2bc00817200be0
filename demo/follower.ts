/** `kvctl ldb follow` and `kvctl reflector`, in a process that ends with the one that forked it. */
import { main } from '../src/cli/kvctl.ts';

/** kvctl ends a commit that is under way, but while it waits for nodes that are gone it does not listen for long. */
const STOP_MS = 1_000;

process.on('disconnect', () => {
  process.kill(process.pid, 'SIGTERM');
  setTimeout(() => process.exit(1), STOP_MS);
});
await main(process.argv);
