/**
 * Messages between the gateway and replication: the first byte of a ring frame, and what follows it.
 *
 *   to replication   propose   (length u32 | command)*
 *                    read      id u32                       asks for a read index
 *                    member    token u32 | JSON               a MemberRequest (core/wire/members.ts)
 *                    fleetAsk     id u32 | JSON               a FleetAsk for all peers (core/wire/fleet.ts)
 *                    fleetAnswer  id u32 | to string | JSON   a FleetAnswer for one
 *   to the gateway   refused   code u8 | token u32*          not proposed: nothing happened to these
 *                    read      id u32 | index u64            0: could not be confirmed
 *                    leader    term u64 | leader number u32  who leads has changed (0: nobody)
 *                    doubt     (nothing)                    what was on its way to the leader may be lost
 *                    member    token u32 | code u8 | JSON   0: a MembersReply; else { message }
 *                    fleetPeers   id u32 | JSON             { asked: ids, away: { id, awayMs }[] }: who was asked
 *                    fleetAsk     id u32 | from string | JSON   a peer's FleetAsk
 *                    fleetAnswer  id u32 | from string | JSON   a peer's FleetAnswer
 *                    members   JSON { known }               the members have changed. `known` only grows: the place of a
 *                                                           node in it is the leader number, from 1
 *
 * Answers of applied commands come from the memtable in a ring of their own (core/model/machine.ts).
 */

export const TO_REPLICATION: Readonly<Record<'propose' | 'read' | 'member' | 'fleetAsk' | 'fleetAnswer', number>> = {
  propose: 1,
  read: 2,
  member: 3,
  fleetAsk: 4,
  fleetAnswer: 5,
};
export const TO_GATEWAY: Readonly<
  Record<
    'refused' | 'read' | 'leader' | 'doubt' | 'member' | 'members' | 'fleetPeers' | 'fleetAsk' | 'fleetAnswer',
    number
  >
> = {
  refused: 1,
  read: 2,
  leader: 3,
  doubt: 4,
  member: 5,
  members: 6,
  fleetPeers: 7,
  fleetAsk: 8,
  fleetAnswer: 9,
};
