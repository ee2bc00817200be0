/**
 * What the launcher prints: its own lines as they are, a node's lines with the node's name before them.
 *
 * Node logs arrive as pino's NDJSON and leave as one line for people; a line that is not JSON (a crash's stack)
 * is passed on as it came. Colours only on a terminal, and not under NO_COLOR.
 */
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { styleText } from 'node:util';
import { prettyFactory } from 'pino-pretty';

type Colour = 'cyan' | 'magenta' | 'yellow' | 'green' | 'blue' | 'red' | 'gray';
const COLOURS: readonly Colour[] = ['cyan', 'magenta', 'yellow', 'green', 'blue', 'red', 'gray'];

export interface Terminal extends Writable {
  readonly isTTY?: boolean;
}

/** Colours are for terminals; https://no-color.org turns them off. */
export function wantsColour(stream: Terminal, env: Readonly<Record<string, string | undefined>>): boolean {
  return stream.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
}

/** Pino's options for one line per record, the same under the launcher and in the foreground. */
export const LINE_OPTIONS = {
  translateTime: 'SYS:HH:MM:ss.l',
  ignore: 'pid,hostname,node',
  singleLine: true,
} as const;

export class Console {
  readonly #stdout: Terminal;
  readonly #stderr: Terminal;
  readonly #colour: boolean;
  readonly #prefixes: ReadonlyMap<string, string>;
  readonly #pretty: (line: string) => string;

  constructor(options: {
    readonly stdout: Terminal;
    readonly stderr: Terminal;
    readonly env: Readonly<Record<string, string | undefined>>;
    readonly nodes: readonly string[];
  }) {
    this.#stdout = options.stdout;
    this.#stderr = options.stderr;
    this.#colour = wantsColour(options.stdout, options.env);
    const width = Math.max(...options.nodes.map((id) => id.length));
    this.#prefixes = new Map(options.nodes.map((id, i) => [id, this.#prefix(id, width, i)]));
    this.#pretty = prettyFactory({ ...LINE_OPTIONS, colorize: this.#colour }) as (line: string) => string;
    // Whoever read our output may leave (`| head`); the cluster goes on without them.
    for (const stream of [this.#stdout, this.#stderr]) stream.on('error', () => {});
  }

  /** A line of the launcher's own. */
  say(line: string, style?: 'good' | 'bad'): void {
    const colour = style === 'good' ? 'green' : 'red';
    this.#stdout.write(
      `${this.#colour && style !== undefined ? styleText(colour, line, { validateStream: false }) : line}\n`,
    );
  }

  /** A fault: to stderr. */
  complain(line: string): void {
    this.#stderr.write(`${this.#colour ? styleText('red', line, { validateStream: false }) : line}\n`);
  }

  /** Passes on what a node process writes, line by line, until it ends. */
  follow(id: string, output: Readable, to: 'stdout' | 'stderr'): void {
    const prefix = this.#prefixes.get(id) ?? `${id} | `;
    const stream = to === 'stdout' ? this.#stdout : this.#stderr;
    createInterface({ input: output, crlfDelay: Number.POSITIVE_INFINITY }).on('line', (line) => {
      if (line !== '') stream.write(`${prefix}${this.#line(line)}\n`);
    });
  }

  #line(line: string): string {
    if (!line.startsWith('{')) return line;
    return this.#pretty(line).replace(/\n+$/, '');
  }

  #prefix(id: string, width: number, position: number): string {
    const name = `${id.padEnd(width)} |`;
    const colour = COLOURS[position % COLOURS.length] as Colour;
    return `${this.#colour ? styleText(colour, name, { validateStream: false }) : name} `;
  }
}
