/**
 * CommandGate: what a leader lets into the log: commands that every member can apply (core/model/command-levels.ts).
 *
 * What a member knows it says whenever it connects; it counts as that until it says otherwise, also while it is away. One
 * that was not met since this node started counts as the oldest: so what every version knows always goes, and what is new
 * waits until all have been seen.
 *
 * Bound: one number for each peer that was let in.
 */
import { COMMAND_LEVEL, FIRST_LEVEL, levelOf } from '../core/model/command-levels.ts';
import type { NodeId } from '../core/raft/types.ts';
import type { LogFunction } from './runtime/thread.ts';

export interface CommandGateWorld {
  /** The other members. */
  readonly peers: () => readonly NodeId[];
  readonly log?: LogFunction | undefined;
  /** Default: those of this version. */
  readonly levels?: { readonly own: number; readonly of: (command: Uint8Array) => number };
}

export interface Sorted {
  readonly may: readonly Uint8Array[];
  readonly mayNot: readonly Uint8Array[];
}

const NONE: readonly Uint8Array[] = [];
const LEVELS: NonNullable<CommandGateWorld['levels']> = { own: COMMAND_LEVEL, of: levelOf };

export class CommandGate {
  readonly #world: CommandGateWorld;
  readonly #levels: NonNullable<CommandGateWorld['levels']>;
  readonly #met = new Map<NodeId, number>();
  /** Nothing is told twice as long as nobody was met in between. */
  #isTold = false;

  constructor(world: CommandGateWorld) {
    this.#world = world;
    this.#levels = world.levels ?? LEVELS;
  }

  /** A peer was let in, and knows commands up to `level`. */
  met(peer: NodeId, level: number): void {
    this.#isTold = false;
    this.#met.set(peer, level);
  }

  /** `mayNot`: some member could not apply it. */
  sort(commands: readonly Uint8Array[]): Sorted {
    const { of } = this.#levels;
    // Most are old enough for anybody; who the members are is not looked at for them.
    if (commands.every((command) => of(command) <= FIRST_LEVEL)) return { may: commands, mayNot: NONE };
    const known = this.#knownToAll();
    const mayNot = commands.filter((command) => of(command) > known);
    if (mayNot.length === 0) return { may: commands, mayNot };
    this.#tell(known);
    return { may: commands.filter((command) => of(command) <= known), mayNot };
  }

  #levelOf(peer: NodeId): number {
    return this.#met.get(peer) ?? FIRST_LEVEL;
  }

  #knownToAll(): number {
    return this.#world.peers().reduce((least, peer) => Math.min(least, this.#levelOf(peer)), this.#levels.own);
  }

  #tell(level: number): void {
    if (this.#isTold) return;
    this.#isTold = true;
    const { log, peers } = this.#world;
    const oldest = peers().filter((peer) => this.#levelOf(peer) === level);
    const notMet = oldest.filter((peer) => !this.#met.has(peer));
    log?.('warn', 'command.too-new', { level, own: this.#levels.own, oldest, notMet });
  }
}
