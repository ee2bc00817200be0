/**
 * loadConfig: a config file → a config. TypeScript and JavaScript by native import, JSON by JSON; a file that
 * does not load is one sentence that says why, never a stack trace.
 */
import { dirname, extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isStoreError } from '../core/base/errors.ts';
import { configError, parseConfig } from './parse.ts';
import type { ClusterConfig } from './types.ts';

const EXTENSIONS: readonly string[] = ['.ts', '.mts', '.js', '.mjs', '.json'];

/** Throws CONFIG_INVALID with `data.faults`. */
export async function loadConfig(path: string): Promise<ClusterConfig> {
  const file = resolve(path);
  return parseConfig(await readDefaultExport(file), { baseDir: dirname(file) });
}

async function readDefaultExport(file: string): Promise<unknown> {
  const extension = extname(file);
  if (!EXTENSIONS.includes(extension))
    throw unloadable(`a config file ends in ${EXTENSIONS.join(', ')}; this is ${file}`);
  const url = pathToFileURL(file).href;
  let module: Readonly<Record<string, unknown>>;
  try {
    const attributes: ImportCallOptions = extension === '.json' ? { with: { type: 'json' } } : {};
    module = (await import(/* @vite-ignore */ url, attributes)) as Readonly<Record<string, unknown>>;
  } catch (cause) {
    if (isStoreError(cause)) throw cause;
    throw unloadable(whyNot(file, url, cause), cause);
  }
  if (!Object.hasOwn(module, 'default')) {
    throw unloadable(`${file} has no default export; write 'export default defineCluster({ … })'`);
  }
  return module['default'];
}

const unloadable = (message: string, cause?: unknown): Error => configError([{ path: '', message }], cause);

function whyNot(file: string, url: string, cause: unknown): string {
  if (!(cause instanceof Error)) return `${file} threw ${String(cause)}`;
  const { code, url: missing } = cause as Error & { readonly code?: string; readonly url?: string };
  if (code === 'ENOENT' || (code === 'ERR_MODULE_NOT_FOUND' && missing === url)) return `${file} does not exist`;
  if (code === 'ERR_MODULE_NOT_FOUND') return `${file} imports what cannot be found: ${oneLine(cause.message)}`;
  if (code === 'EISDIR' || code === 'ERR_UNSUPPORTED_DIR_IMPORT') return `${file} is a directory`;
  if (cause instanceof SyntaxError || cause.name === 'SyntaxError') {
    return `${file}${lineOf(cause, url)} cannot be parsed: ${oneLine(cause.message.replaceAll(`${file}: `, ''))}`;
  }
  return `${file}${lineOf(cause, url)} threw ${cause.name}: ${oneLine(cause.message)}`;
}

/** ':12' when the stack knows the line in this very file. */
function lineOf(cause: Error, url: string): string {
  const stack = cause.stack ?? '';
  for (const name of [url, url.replace('file://', '')]) {
    const at = stack.indexOf(`${name}:`);
    const line = at < 0 ? undefined : /^\d+/.exec(stack.slice(at + name.length + 1))?.[0];
    if (line !== undefined) return `:${line}`;
  }
  return '';
}

const oneLine = (text: string): string =>
  text
    .trim()
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join(' ');
