/**
 * parseConfig: a value from outside → a config every part may trust, or every fault in it at once.
 *
 * Whoever fixes a config wants the whole list, not one fault a run; so shape and cross-checks both look at the
 * value as written, and nothing is started when either found something.
 */
import { resolve } from 'node:path';
import { StoreError } from '../core/base/errors.ts';
import { crossFaults } from './cross-checks.ts';
import { checkShape, type Shaped } from './schema.ts';
import type { ClusterConfig, ClusterConfigInput, ConfigFault, NodeConfig } from './types.ts';

/** Gives the config its type in an editor; checks nothing (that happens when it is loaded). */
export function defineCluster(config: ClusterConfigInput): ClusterConfigInput {
  return config;
}

export interface ParseOptions {
  /** Relative data directories start here: the directory of the config file. */
  readonly baseDir: string;
}

/** Throws CONFIG_INVALID with `data.faults`. */
export function parseConfig(value: unknown, options: ParseOptions): ClusterConfig {
  const { shaped, faults: shapeFaults } = checkShape(value);
  const faults = [...shapeFaults, ...crossFaults(value, options.baseDir)];
  if (shaped === undefined || faults.length > 0) throw configError(inFileOrder(faults, value));
  return resolved(shaped, options.baseDir);
}

/** CONFIG_INVALID: the faults in `data.faults`, and all of them in the text too, for callers that only print. */
export function configError(faults: readonly ConfigFault[], cause?: unknown): StoreError {
  const lines = faults.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
  return new StoreError('CONFIG_INVALID', lines.join('\n'), { data: { faults }, cause });
}

/** The faults a CONFIG_INVALID carries. */
export function configFaults(error: StoreError): readonly ConfigFault[] {
  const faults = error.data['faults'];
  return Array.isArray(faults) ? (faults as readonly ConfigFault[]) : [{ path: '', message: error.message }];
}

function resolved(shaped: Shaped, baseDir: string): ClusterConfig {
  const nodes = Object.entries(shaped.nodes).map(([id, node]): [string, NodeConfig] => [
    id,
    { ...node, dataDir: resolve(baseDir, node.dataDir) },
  ]);
  // The schema is made from the option table, so every field of ClusterConfig is there and of its type.
  return { ...shaped, nodes: Object.fromEntries(nodes) } as unknown as ClusterConfig;
}

/** Faults in the order a reader meets them in the file: by the place of the first two keys of their path. */
function inFileOrder(faults: readonly ConfigFault[], value: unknown): ConfigFault[] {
  const place = (path: string): number => {
    let at = 0;
    let here: unknown = value;
    for (const [depth, key] of path.split('.').entries()) {
      const keys = typeof here === 'object' && here !== null ? Object.keys(here) : [];
      const found = keys.indexOf(key);
      at += (found < 0 ? keys.length : found + 1) / 1000 ** depth;
      here = typeof here === 'object' && here !== null ? (here as Record<string, unknown>)[key] : undefined;
    }
    return at;
  };
  return faults
    .map((fault) => ({ fault, at: place(fault.path) }))
    .sort((a, b) => a.at - b.at)
    .map(({ fault }) => fault);
}
