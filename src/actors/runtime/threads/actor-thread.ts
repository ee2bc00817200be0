/**
 * Actor thread: a worker thread with actors in it, and this side's hold on it.
 *
 * comlink carries its control (start, stop, inspect; see ../thread.ts); what actors say goes over a link of its own. When
 * the thread ends, however it does, every actor in it has failed, and whoever waited for one of them is told.
 */
import { StoreError } from '../../../core/base/errors.ts';
import type { ActorSystem, SystemOptions } from '../core/system.ts';
import { type ActorReport, type Spec, shortOf, THREADS_MAX } from '../core/target.ts';
import { fromPlain, portPair, Thread } from '../thread.ts';
import type { HostArgs } from './actor-host.thread.ts';
import { handleShared } from './control.ts';
import { Link } from './link.ts';
import type { Control } from './ops.ts';
import { exportRef, importRef } from './refs.ts';
import { Posted } from './spin.ts';
import { Remote } from './remote.ts';
import { RemoteCell } from './remote-cell.ts';

export interface ActorThreadOptions {
  readonly system: ActorSystem;
  readonly name: string;
  /** Its number: part of its actors' ids. */
  readonly thread: number;
  readonly idBase: number;
  readonly native: boolean;
  readonly options: Pick<SystemOptions, 'actorsMax' | 'watchdog'>;
  readonly heapMiB: number | undefined;
  readonly linkTo: (thread: number) => Link | undefined;
  /** The last actor in it has ended. */
  readonly onEmpty: () => Promise<void>;
  /** It can be ended neither by a message nor by force. */
  readonly onHopeless: (error: StoreError) => void;
}

const STOP_DEADLINE_MS = 5_000;
const BEACON_WORDS = 3;
/** The thread's own ids begin behind those that this side gives it. */
const OWN_IDS = 2 ** 23;

export class ActorThread {
  readonly name: string;
  readonly link: Link;
  readonly beacon: Int32Array;
  readonly native: boolean;
  /** When it has ended; never rejects. */
  readonly ended: Promise<void>;
  readonly #options: ActorThreadOptions;
  readonly #thread: Thread<undefined>;
  readonly #cells = new Set<RemoteCell>();
  #ids: number;
  #closing: Promise<void> | undefined;
  #reports: Promise<readonly ActorReport[]> | undefined;

  constructor(options: ActorThreadOptions) {
    const { system, name, thread, idBase, native } = options;
    this.#options = options;
    this.name = name;
    this.native = native;
    this.#ids = idBase;
    const shared = new SharedArrayBuffer(BEACON_WORDS * Int32Array.BYTES_PER_ELEMENT);
    this.beacon = new Int32Array(shared);
    const [near, far] = portPair();
    const posted = Posted.create();
    const { log } = system.world;
    const args: HostArgs = {
      ...{ thread, name, idBase: idBase + OWN_IDS },
      ...{ beacon: shared, posted, options: options.options },
    };
    this.#thread = new Thread<undefined>({
      name,
      module: new URL(
        import.meta.url.endsWith('.ts') ? './actor-host.thread.ts' : './actor-host.thread.js',
        import.meta.url,
      ).href,
      args,
      ports: { actors: far },
      log,
      native,
      heapMiB: options.heapMiB,
      control: { begin: () => {}, end: () => {} },
    });
    this.link = new Link(near, new Posted(posted, 'near'), {
      clock: system.world.clock,
      deadLetters: system.deadLetters,
      find: (id) => system.find(id),
      exportRef,
      importRef: (value) => importRef(system, options.linkTo, value),
      taken: (id, count) => {
        const remote = system.find(id);
        if (remote instanceof Remote) remote.taken(count);
      },
      control: (control) => this.#handle(control),
    });
    this.ended = this.#watch();
    // What it fails with, it ends with.
    this.#thread.start().catch(() => this.#thread.terminate());
  }

  /** An incarnation in it. */
  incarnate(spec: Spec, incarnation: number): RemoteCell {
    this.#ids += 1;
    const id = this.#ids * THREADS_MAX + this.#options.thread;
    const cell = new RemoteCell(this.#options.system.world, spec, incarnation, id, {
      name: this.name,
      link: this.link,
      reports: () => this.#report(),
      stuck: (why) => this.stuck(why),
      leave: (gone) => this.#leave(gone),
    });
    this.#cells.add(cell);
    this.link.attach(cell);
    return cell;
  }

  get isClosing(): boolean {
    return this.#closing !== undefined;
  }

  /** Whose handler runs there now, as far as this side knows. */
  nameOf(short: number, kind: number): { readonly path: string; readonly kind: string } {
    const cell = [...this.#cells].find(({ id }) => shortOf(id) === short);
    return { path: cell?.path ?? `an actor in ${this.name}`, kind: cell?.table.byNumber[kind]?.kind ?? 'unknown' };
  }

  /** Something in it does not give it back. By force, if that is possible. */
  stuck(why: string): void {
    const error = new StoreError('DEADLINE_EXCEEDED', `thread ${this.name}: ${why}`);
    this.#options.system.world.log('error', 'actor.thread.stuck', {
      thread: this.name,
      message: why,
      native: this.native,
    });
    if (!this.native) {
      void this.#thread.terminate();
      return;
    }
    // Whoever stops must not wait for it: it is the process that has to go.
    this.#options.onHopeless(error);
    this.#closing ??= Promise.resolve();
    this.link.close(error);
  }

  /** Ends it by message; what does not end is ended by force, or is hopeless. May be called twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      await this.#thread.stop(STOP_DEADLINE_MS);
    } catch (error) {
      // Only one with native handles is not ended by force.
      this.#options.onHopeless(error as StoreError);
      return;
    }
    await this.ended;
  }

  async #watch(): Promise<void> {
    const failure = await this.#thread.ended;
    const reason = failure ?? new StoreError('ACTOR_STOPPED', `thread ${this.name} has ended`);
    if (!this.isClosing) {
      this.#options.system.world.log('error', 'actor.thread.died', { thread: this.name, message: reason.message });
    }
    this.#closing ??= Promise.resolve();
    this.link.close(reason);
  }

  #handle(control: Control): void {
    const { system } = this.#options;
    switch (control.kind) {
      case 'started': {
        const cell = system.find(control.id);
        if (cell instanceof RemoteCell) cell.hasStarted();
        return;
      }
      case 'failed':
        system.fail(fromPlain(control.failure, this.name));
        return;
      case 'dead-letters':
        system.deadLetters.addCounts(control.counts);
        return;
      case 'spawn':
        throw new StoreError('BAD_REQUEST', 'only the main thread starts actors in others');
      default:
        handleShared(system, this.link, control);
    }
  }

  async #leave(cell: RemoteCell): Promise<void> {
    this.#cells.delete(cell);
    if (this.#cells.size === 0) await this.#options.onEmpty();
  }

  /** One question for all who ask in a turn. */
  #report(): Promise<readonly ActorReport[]> {
    this.#reports ??= (async () => {
      try {
        // As actor-host.thread.ts says it; none, before it has started.
        const { actors = [] } = (await this.#thread.inspect()) as { readonly actors?: readonly ActorReport[] };
        return actors;
      } catch (error) {
        // It is busy or dying: there is nothing to show of it, and whoever looks at a tree wants the rest.
        this.#options.system.world.log('warn', 'actor.thread.silent', { thread: this.name, message: String(error) });
        return [];
      } finally {
        this.#reports = undefined;
      }
    })();
    return this.#reports;
  }
}
