/**
 * Returning: a node whose directory counts for nothing any more asks the others to be let in with another one, as
 * src/node/repair.ts has it: the steps on its disk are production's, the words go through whichever node is up. Who is
 * refused gets an empty disk, and waits to be added.
 */
import { isStoreError, type StoreError } from '../../src/core/base/errors.ts';
import type { Reply } from '../../src/core/wire/client.ts';
import { decodeMembersReply, type MemberRequest } from '../../src/core/wire/members.ts';
import type { Repair } from '../../src/engine/repair/record.ts';
import type { NodeDir } from '../../src/node/open-dir.ts';
import { acceptRepair, inPlaceOf, planRepair } from '../../src/node/repair-steps.ts';
import { ask, PATIENCE_MS } from './errand.ts';
import type { NodeWorld } from './node-world.ts';
import { dirOn } from './presence.ts';
import type { SimNode } from './node.ts';
import type { MemoryDisk } from '../../src/engine/disk/memory-disk.ts';

const AGAIN_MS = 300;

export class Returning {
  readonly #node: SimNode;
  readonly #world: NodeWorld;
  /** What is asked for; another one once it is over. */
  #current: { readonly platter: MemoryDisk } | undefined;

  constructor(node: SimNode, world: NodeWorld) {
    this.#node = node;
    this.#world = world;
  }

  get isUnderWay(): boolean {
    return this.#current !== undefined && this.#current.platter === this.#platter;
  }

  get #platter(): MemoryDisk {
    return this.#node.storage.platter;
  }

  get #dir(): NodeDir {
    return dirOn(this.#node, this.#platter, this.#world);
  }

  begin(damage: StoreError): void {
    const current = { platter: this.#platter };
    this.#current = current;
    let repair: Repair;
    try {
      repair = planRepair(this.#dir, damage);
    } catch (error) {
      if (isStoreError(error)) this.#refused(error);
      else this.#later(current, () => this.begin(damage));
      return;
    }
    this.#ask(current, repair);
  }

  #ask(current: object, repair: Repair): void {
    const { chance, nodes } = this.#world;
    const again = (): void => this.#later(current, () => this.#ask(current, repair));
    const up = nodes().filter((node) => node !== this.#node && node.life !== undefined);
    if (up.length === 0) return again();
    const node = chance.of(up);
    this.#say(node, current, { op: 'list' }, again, (list) => {
      const { members } = decodeMembersReply(list.extra.slice());
      const directories = inPlaceOf(members.find(({ id }) => id === this.#node.name)?.dir, repair);
      this.#say(node, current, { op: 'readmit', id: this.#node.name, ...directories }, again, () =>
        this.#accepted(repair),
      );
    });
  }

  /** One request: its answer, or `again` once, unless it is refused for good. */
  #say(
    node: SimNode,
    current: object,
    request: MemberRequest,
    again: () => void,
    then: (reply: Reply & { readonly error: undefined }) => void,
  ): void {
    const { queue, trace } = this.#world;
    let isOpen = true;
    trace.note(queue.nowMs, `asks ${request.op}`, this.#node.name);
    ask(this.#world, node, request, (reply) => {
      if (!isOpen || this.#current !== current) return;
      isOpen = false;
      if (reply.error === undefined) then(reply);
      else if (reply.error.retry === 'never' && reply.error.code !== 'CLOSED') this.#refused(reply.error);
      else again();
    });
    queue.after(PATIENCE_MS, () => {
      if (!isOpen || this.#current !== current) return;
      isOpen = false;
      again();
    });
  }

  #accepted(repair: Repair): void {
    const { queue, trace } = this.#world;
    trace.note(queue.nowMs, 'accepted', this.#node.name);
    const current = this.#current;
    if (current === undefined || !this.isUnderWay) return;
    try {
      acceptRepair(this.#dir, repair);
    } catch (error) {
      if (isStoreError(error)) throw error;
      // Its disk fails: it is asked for again, and told the same.
      this.#later(current, () => this.#ask(current, repair));
      return;
    }
    this.#current = undefined;
    this.#node.start();
  }

  #refused({ code, message }: StoreError): void {
    const { queue, trace } = this.#world;
    const { name } = this.#node;
    trace.note(queue.nowMs, `not repaired: ${code}`, name);
    trace.say(queue.nowMs, name, () => message);
    const { isUnderWay } = this;
    this.#current = undefined;
    if (isUnderWay) this.#node.wipe(true);
  }

  #later(current: object, work: () => void): void {
    this.#world.queue.after(AGAIN_MS * (0.5 + this.#world.chance.random()), () => {
      if (this.#current === current && this.isUnderWay) work();
    });
  }
}
