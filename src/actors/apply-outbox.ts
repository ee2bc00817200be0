/**
 * ApplyOutbox: committed entries on their way to the memtable, in frames that its ring has room for. The memtable is
 * woken once per turn, after what takes longer was begun.
 */
import { assert } from '../core/base/assert.ts';
import { ByteWriter } from '../core/base/bytes.ts';
import type { Entry } from '../core/raft/types.ts';
import type { Bell } from './runtime/bell.ts';
import type { RingWriter } from './runtime/ring.ts';
import type { PutStages } from './put-stages.ts';

/** Kept free in the ring: the largest entry (4 MiB and a little), and as much skipped at its end. */
const ROOM_BYTES = 10 * 1024 * 1024;
const FRAME_BYTES = 512 * 1024;

export class ApplyOutbox {
  readonly #ring: RingWriter;
  readonly #memtable: Bell;
  readonly #stages: PutStages;
  readonly #encode = new ByteWriter(256 * 1024);
  #hasHanded = false;

  constructor(ring: RingWriter, memtable: Bell, stages: PutStages) {
    this.#ring = ring;
    this.#memtable = memtable;
    this.#stages = stages;
  }

  /** Bytes of entries that may be handed over now; none when that is 0 or less. */
  get room(): number {
    return this.#ring.freeBytes - ROOM_BYTES;
  }

  hand(entries: readonly Entry[]): void {
    if (this.#stages.isArmed) this.#stages.reached('committed', entries.at(-1)?.index ?? 0);
    this.#encode.reset();
    for (const entry of entries) {
      this.#encode.u64(entry.index).u32(entry.data.length).raw(entry.data);
      if (this.#encode.length >= FRAME_BYTES) this.#send();
    }
    this.#send();
    this.#hasHanded = true;
  }

  /** Wakes the memtable, if something was handed over since. */
  ring(): void {
    if (this.#hasHanded) this.#memtable.ring();
    this.#hasHanded = false;
  }

  #send(): void {
    if (this.#encode.length === 0) return;
    assert(this.#ring.write(this.#encode.view()), 'the apply budget is the room in the ring');
    this.#encode.reset();
  }
}
