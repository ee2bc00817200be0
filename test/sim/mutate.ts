/**
 * Mutate: has one production module, or a few, loaded with a planted bug (mutants.ts). The source is changed between the
 * disk and Node's own stripping of types; the file is not touched.
 *
 * The model that nodes are compared with (reference.ts) is loaded unchanged, as modules of its own: a bug in what entries
 * mean would otherwise be in both, and show nowhere.
 */
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { MUTANTS, type Mutant } from './mutants.ts';

const ROOT = new URL('../../', import.meta.url);
/** Marks what only the reference loads. */
const PURE = '?pure';
const MODEL = new URL('src/core/model/', ROOT).href;
const REFERENCE = new URL('test/sim/reference.ts', ROOT).href;

function mutantOf(name: string): Mutant {
  if (name === 'none') return { name, seed: 1, what: 'no bug', edits: [] };
  const mutant = MUTANTS.find((other) => other.name === name);
  if (mutant === undefined) throw new Error(`--mutant is one of ${MUTANTS.map((other) => other.name).join(', ')}`);
  return mutant;
}

/** The files that a mutant changes, changed. Throws when one does not hold what is to be replaced, or holds it twice. */
export function sourcesOf({ name, edits }: Mutant): ReadonlyMap<string, string> {
  const sources = new Map<string, string>();
  for (const { file, find, replace } of edits) {
    const { href } = new URL(file, ROOT);
    const source = sources.get(href) ?? readFileSync(new URL(href), 'utf8');
    const parts = source.split(find);
    if (parts.length !== 2) {
      throw new Error(`mutant ${name}: ${file} holds this ${parts.length - 1} times, and should once: ${find}`);
    }
    sources.set(href, parts.join(replace));
  }
  return sources;
}

/** From now on modules are loaded as the mutant has them: before any of them is imported. */
export function plant(name: string): void {
  const sources = sourcesOf(mutantOf(name));
  registerHooks({
    resolve(specifier, context, next) {
      const resolved = next(specifier, context);
      const from = context.parentURL;
      const isOfReference = from === REFERENCE || from?.endsWith(PURE) === true;
      return isOfReference && resolved.url.startsWith(MODEL) ? { ...resolved, url: resolved.url + PURE } : resolved;
    },
    load(url, context, next) {
      const source = sources.get(url);
      const loaded = next(url, context);
      return source === undefined ? loaded : { ...loaded, source };
    },
  });
}
