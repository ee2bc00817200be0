/**
 * Start of the simulator's command line: plants the bug that `--mutant NAME` names, before anything of production is
 * loaded, and goes on with main.ts. `--mutants` lists them.
 */
import { parseArgs } from 'node:util';
import { MUTANTS } from './mutants.ts';
import { plant } from './mutate.ts';

const { values } = parseArgs({
  options: { mutant: { type: 'string' }, mutants: { type: 'boolean', default: false } },
  strict: false,
});

if (values.mutants === true) {
  for (const { name, what } of MUTANTS) process.stdout.write(`${name}: ${what}\n`);
} else {
  if (typeof values.mutant === 'string') plant(values.mutant);
  await import('./main.ts');
}
