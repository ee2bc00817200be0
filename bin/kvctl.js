#!/usr/bin/env node
/**
 * `kvctl`: the command line of the store. The work is in src/cli/kvctl.ts; see bin/runtime.js for the old syntax.
 */
import { run } from './runtime.js';

run('kvctl');
