/**
 * ctlmesh/level: the embedded engine behind the interface of abstract-level, in place of classic-level.
 *
 * ```ts
 * import { CtlmeshLevel } from 'ctlmesh/level';
 * const db = new CtlmeshLevel<string, unknown>('data/db', { valueEncoding: 'json' });
 * await db.put('a', { n: 1 });
 * for await (const [key, value] of db.iterator({ gte: 'a' })) … ;
 * await db.close();
 * ```
 */
// oxlint-disable-next-line import/no-default-export -- level databases are commonly swapped by changing one import
export { CtlmeshLevel, CtlmeshLevel as default } from './level.ts';
export { LevelError } from './errors.ts';
export type {
  BatchOperation,
  BatchOptions,
  ClearOptions,
  DatabaseOptions,
  DelOptions,
  IteratorOptions,
  KeyIteratorOptions,
  OpenOptions,
  PutOptions,
  ValueIteratorOptions,
} from './options.ts';
