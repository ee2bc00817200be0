/**
 * Mutants of relays, and of those who choose whom they follow.
 */
import { type Mutant, one } from './mutant.ts';

const RELAY = 'src/actors/relay.ts';
const UPSTREAMS = 'src/reflector/upstreams.ts';

/** Want minutes of virtual time, or two relays that wish for each other: left to the night. */
export const RARE_RELAYS: readonly string[] = ['relay-cuts-down', 'relay-forgets-path'];

export const RELAYS: readonly Mutant[] = [
  one(
    'relay-passes-on-early',
    2,
    'a relay passes records on whose transaction is under way',
    RELAY,
    'this.#shipper?.look();\n',
    'this.#shipper?.look();\n    for (const records of this.#state?.takeFresh() ?? []) this.#shipper?.append(records);\n    this.#shipper?.pumpAll();\n',
  ),
  one(
    'relay-forgets-path',
    12,
    'a relay says who it is, and not whom it follows: a circle is not seen',
    RELAY,
    'return [this.#world.id, ...this.#above];',
    'return [this.#world.id];',
  ),
  one(
    'relay-cuts-down',
    24,
    'a relay that has a part gives that part to who asks for more',
    RELAY,
    'if (isSameFilter(given, asked)) return given;',
    'if (given !== asked) return given;',
  ),
  one(
    'switch-resumes-too-high',
    2,
    'with another upstream a replica goes on one revision after the next',
    UPSTREAMS,
    'client.ledger({ ...at, ...who })',
    'client.ledger({ ...at, fromRevision: (at.fromRevision + (index > 0 ? 1 : 0)) as never, ...who })',
  ),
];
