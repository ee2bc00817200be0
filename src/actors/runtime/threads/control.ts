/**
 * Control: what either side of a link may ask of an actor on the other, and how it hears of its end.
 */
import { Cell } from '../core/cell.ts';
import type { ActorSystem } from '../core/system.ts';
import type { Target } from '../core/target.ts';
import type { Link } from './link.ts';
import { type Control, plainReason, reasonFrom } from './ops.ts';
import { Remote } from './remote.ts';

export type SharedControl = Exclude<Control, { readonly kind: 'spawn' | 'started' | 'dead-letters' | 'failed' }>;

export function handleShared(system: ActorSystem, link: Link, control: SharedControl): void {
  const target = system.find(control.id);
  switch (control.kind) {
    case 'end':
      // On behalf of its supervisor, who may start it again.
      if (target instanceof Cell) void target.end(control.options);
      return;
    case 'stop':
      void target?.stop(control.options);
      return;
    case 'kill':
      target?.kill();
      return;
    case 'watch':
      if (target === undefined) link.control({ kind: 'ended', id: control.id, reason: { kind: 'stopped' } });
      else tellEnd(link, target);
      return;
    case 'ended':
      if (target instanceof Remote) target.hasEnded(reasonFrom(control.reason, target.path));
  }
}

/** Tells the other side when it has ended. */
export function tellEnd(link: Link, target: Target): void {
  target.watch(({ reason }) => link.control({ kind: 'ended', id: target.id, reason: plainReason(reason) }));
}
