/**
 * Flags of the demos: the same for all, so that whoever knows one knows the others.
 */
import { parseArgs } from 'node:util';

export interface DemoFlags {
  readonly json: boolean;
  readonly keep: boolean;
}

/** What was asked for; or, when that is help or a fault, said here: the exit code. */
export function demoFlags(name: string, help: string, argv: readonly string[]): DemoFlags | number {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: { json: { type: 'boolean' }, keep: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
    });
    if (values.help === true) {
      console.log(help);
      return 0;
    }
    return { json: values.json === true, keep: values.keep === true };
  } catch (error) {
    console.error(`${name}: ${(error as Error).message}\n\n${help}`);
    return 2;
  }
}
