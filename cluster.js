/**
 * `node cluster.js --config cluster.config.ts`: starts the nodes of a config. The work is in src/cli/cluster.ts; this
 * file and bin/runtime.js are in old syntax, so that an old Node gets as far as finding a newer one.
 */
import { run } from './bin/runtime.js';

run('cluster');
