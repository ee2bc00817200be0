/**
 * A reader of a local replica, as an application has one: it only has the directory. Notes when each revision
 * that it saw was there first.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type LdbReader, openLdb } from '../../src/engine/ldb/index.ts';
import { isStoreError } from '../../src/core/base/errors.ts';
import { type Say, serve } from '../support/child.ts';

export type LdbReaderTo =
  | { readonly kind: 'open'; readonly dir: string }
  /** Forget what was seen, and look from now on. */
  | { readonly kind: 'begin' }
  /** Go on until this revision was seen, but not for longer. */
  | { readonly kind: 'end'; readonly revision: number; readonly deadlineMs: number };

export type LdbReaderFrom =
  | { readonly kind: 'opened' }
  | { readonly kind: 'begun' }
  /** In order; only the revisions at which a look found something new. */
  | { readonly kind: 'sights'; readonly sights: readonly { readonly revision: number; readonly seenNs: number }[] };

const LOOK_EVERY_MS = 1;

let sights: { revision: number; seenNs: number }[] = [];

serve(async (message: LdbReaderTo, say: Say<LdbReaderFrom>) => {
  switch (message.kind) {
    case 'open':
      void look(await open(message.dir));
      say({ kind: 'opened' });
      break;
    case 'begin':
      sights = [];
      say({ kind: 'begun' });
      break;
    case 'end': {
      const untilMs = performance.now() + message.deadlineMs;
      while ((sights.at(-1)?.revision ?? 0) < message.revision && performance.now() < untilMs) await sleep(5);
      say({ kind: 'sights', sights });
      break;
    }
  }
});

/** Once the reflector has made it. */
async function open(dir: string): Promise<LdbReader> {
  for (;;) {
    while (!existsSync(join(dir, 'data.mdb'))) await sleep(20);
    try {
      return openLdb(dir);
    } catch (error) {
      if (!isStoreError(error, 'LDB_MISSING')) throw error;
      await sleep(20);
    }
  }
}

async function look(ldb: LdbReader): Promise<never> {
  let seen = 0;
  for (;;) {
    ldb.refresh();
    const { revision } = ldb;
    if (revision > seen) {
      seen = revision;
      sights.push({ revision, seenNs: Number(process.hrtime.bigint()) });
    }
    await sleep(LOOK_EVERY_MS);
  }
}
