/**
 * Gauges: what waits for each actor of a node, and what its turns took, read from shared memory when somebody looks: the
 * same facts that the runtime has of any other actor's mailbox.
 */
import { unreachable } from '../core/base/assert.ts';
import { Control } from '../engine/lsm/shared/control.ts';
import { countOf } from './runtime/core/durations.ts';
import type { PortGauges } from './runtime/ports/port-actor.ts';
import { Ring } from './runtime/ring.ts';
import type { ActorName } from './shared.ts';
import { MEMTABLES, type Plumbing } from './topology.ts';

type Waiting = Pick<PortGauges, 'mailbox' | 'mailboxBytes' | 'limits'>;

export function gaugesOf(actor: ActorName, plumbing: Plumbing): PortGauges {
  const durations = plumbing.shared.meter(actor).read();
  return { ...waitingFor(actor, plumbing), handled: countOf(durations), handling: [{ kind: 'turn', durations }] };
}

function waitingFor(actor: ActorName, { shared, rings, tree }: Plumbing): Waiting {
  switch (actor) {
    case 'gateway':
      return ringsOf(rings.answers, rings.toGateway);
    case 'replication':
      return ringsOf(rings.inbox, rings.places);
    case 'wal-committer':
      return ringsOf(rings.records);
    case 'syncer':
      // One sync takes all that waits: it has no bound of its own.
      return counted(Math.max(0, shared.get('loggedLsn') - shared.get('syncedLsn')), Number.POSITIVE_INFINITY);
    case 'memtable':
      return ringsOf(rings.committed);
    case 'compactor':
      // Of these, one is written now.
      return counted(new Control(tree.control).gauge('frozenMemtables'), MEMTABLES - 1);
    case 'shipper':
      return ringsOf(rings.ledger);
    default:
      return unreachable(actor);
  }
}

/** Of several rings the bytes of the fullest: it is at its bound first. */
function ringsOf(...buffers: readonly SharedArrayBuffer[]): Waiting {
  const rings = buffers.map((buffer) => new Ring(buffer));
  const fullness = ({ usedBytes, capacityBytes }: Ring): number => usedBytes / capacityBytes;
  const fullest = rings.reduce((most, ring) => (fullness(ring) > fullness(most) ? ring : most));
  return {
    mailbox: rings.reduce((sum, { frames }) => sum + frames, 0),
    mailboxBytes: fullest.usedBytes,
    limits: { messagesMax: Number.POSITIVE_INFINITY, bytesMax: fullest.capacityBytes, policy: 'wait' },
  };
}

function counted(mailbox: number, messagesMax: number): Waiting {
  return { mailbox, mailboxBytes: 0, limits: { messagesMax, bytesMax: Number.POSITIVE_INFINITY, policy: 'wait' } };
}
