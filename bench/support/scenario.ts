/**
 * What a scenario is: one question, the rows that answer it, and the targets that the rows are held against.
 */
import type { Cleanup } from './cleanup.ts';

/** Who made a row. `floor` is the machine itself: what nobody can beat on it. */
export type System = 'ctlmesh' | 'etcd' | 'lmdb' | 'classic-level' | 'postMessage' | 'comlink' | 'floor';

export interface Row {
  readonly variant: string;
  readonly system: System;
  /** Operations under way at once; null where operations come at a rate of their own. */
  readonly inFlight: number | null;
  readonly opsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  /** Whatever else this scenario measures, by its JSON name. */
  readonly more?: Readonly<Record<string, number | string>>;
}

export interface Target {
  readonly what: string;
  readonly unit: string;
  readonly measured: number;
  readonly wanted: number;
  readonly is: 'at least' | 'at most';
}

export interface BenchOptions {
  readonly json: boolean;
  readonly markdown: boolean;
  /** Run the other stores too. */
  readonly peers: boolean;
  /** Measured time of each variant. */
  readonly seconds: number;
  /** Only these numbers in flight, where a scenario has several. */
  readonly inFlight: readonly number[] | undefined;
  /** How often `failover` takes the leader away, each way. */
  readonly kills: number | undefined;
  /** How much data `bootstrap` has. */
  readonly mb: number | undefined;
  /** Where nodes write V8 CPU profiles when they stop. */
  readonly profile: string | undefined;
  /** Parent of the data directories. */
  readonly dir: string | undefined;
}

/** A scenario's hold on the run. */
export interface Bench {
  readonly options: BenchOptions;
  /** Run when the scenario has ended, however it ended. */
  readonly cleanup: Cleanup;
  /** A directory on a real disk, gone afterwards. */
  readonly dir: string;
  row(row: Row): void;
  target(target: Target): void;
  /** How the figures came about: part of the table, not of the JSON. */
  note(text: string): void;
  /** For who waits; stderr. */
  progress(text: string): void;
}

export interface Scenario {
  readonly name: string;
  /** One sentence for the list. */
  readonly summary: string;
  run(bench: Bench): Promise<void>;
}

/** A fault of the surroundings, not of the code: told in one line. */
export class BenchError extends Error {
  override readonly name = 'BenchError';
}

export const isReached = ({ is, measured, wanted }: Target): boolean =>
  is === 'at least' ? measured >= wanted : measured <= wanted;
