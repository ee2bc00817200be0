/**
 * Refs between threads: a ref leaves as a token and arrives as a ref that speaks over the link. What it points to is
 * watched from then on, so that it fails at once when that has ended.
 */
import { mailboxLimits } from '../core/mailbox.ts';
import { Ref } from '../core/ref.ts';
import type { ActorSystem } from '../core/system.ts';
import type { KindTable, Table } from '../core/table.ts';
import { type Target, threadOf } from '../core/target.ts';
import type { Link } from './link.ts';
import type { RefToken } from './ops.ts';
import { Remote } from './remote.ts';

export function exportRef(value: unknown): unknown {
  if (!(value instanceof Ref)) return value;
  const { id, path, incarnation, table, limits } = value.target;
  return { id, path, incarnation, kinds: table.byNumber, limits } satisfies RefToken;
}

/** `linkTo` gives the link to a thread; undefined when that is gone. */
export function importRef(system: ActorSystem, linkTo: (thread: number) => Link | undefined, value: unknown): unknown {
  if (!isToken(value)) return value;
  const target = system.find(value.id) ?? remoteOf(system, linkTo, value);
  const here = (): Target => target;
  return new Ref(system.world, here, here);
}

function remoteOf(system: ActorSystem, linkTo: (thread: number) => Link | undefined, token: RefToken): Target {
  const thread = threadOf(token.id);
  const link = thread === system.world.thread ? undefined : linkTo(thread);
  const table = tableFrom(token.kinds);
  const identity = { ...token, table, limits: mailboxLimits(token.limits) };
  if (link === undefined || link.isClosed) return new Gone(identity);
  const remote = new Remote(identity, link, system.world);
  system.world.join(remote);
  link.attach(remote);
  remote.watch(() => system.world.leave(remote));
  link.control({ kind: 'watch', id: token.id });
  return remote;
}

const isToken = (value: unknown): value is RefToken =>
  typeof value === 'object' && value !== null && 'id' in value && 'kinds' in value;

function tableFrom(kinds: readonly KindTable[]): Table {
  const byKind = Object.create(null) as Record<string, KindTable>;
  for (const kind of kinds) byKind[kind.kind] = kind;
  return { byKind, byNumber: kinds };
}

/** Somebody who had ended before the ref to it arrived. */
class Gone implements Target {
  readonly id: number;
  readonly path: string;
  readonly incarnation: number;
  readonly table: Table;
  readonly limits: Target['limits'];

  constructor({
    id,
    path,
    incarnation,
    table,
    limits,
  }: Pick<Target, 'id' | 'path' | 'incarnation' | 'table' | 'limits'>) {
    this.id = id;
    this.path = path;
    this.incarnation = incarnation;
    this.table = table;
    this.limits = limits;
  }

  offer(): 'ended' {
    return 'ended';
  }

  watch(listener: Parameters<Target['watch']>[0]): () => void {
    listener({ path: this.path, incarnation: this.incarnation, reason: { kind: 'stopped' } });
    return () => {};
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  kill(): void {
    // It has ended.
  }
}
