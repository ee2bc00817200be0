/** A reading thread of the snapshots test: takes snapshots, looks whether what they name is kept, releases them. */
import { isStoreError } from '../../../../src/core/base/errors.ts';
import { Control } from '../../../../src/engine/lsm/shared/control.ts';
import { type Snapshot, Snapshots } from '../../../../src/engine/lsm/shared/snapshots.ts';
import { work } from './crew.ts';

export interface SnapshotsArgs {
  readonly control: SharedArrayBuffer;
  readonly snapshots: SharedArrayBuffer;
  /** Word `revision % length` is the revision while its state is kept, and -1 once it is dropped. */
  readonly states: SharedArrayBuffer;
}

work((args, seat) => {
  const { control: words, snapshots: memory, states: kept } = args as SnapshotsArgs;
  const control = new Control(words);
  const snapshots = new Snapshots(memory, control);
  const states = new Int32Array(kept);
  const open: Snapshot[] = [];
  const take = (round: number): Snapshot | undefined => {
    if (round % 3 !== 0) return snapshots.take();
    // Just at, above or below the floor, which is where one may come too late.
    const revision = control.floor + ((round * 5 + seat) % 5) - 2;
    if (revision < 0 || revision > control.visible) return undefined;
    try {
      return snapshots.takeAt(revision);
    } catch (error) {
      if (isStoreError(error, 'COMPACTED') && (error.data['oldestRevision'] as number) > revision) return undefined;
      throw error;
    }
  };
  return (round) => {
    const snapshot = take(round);
    if (snapshot !== undefined) open.push(snapshot);
    for (const { revision } of open) {
      if (states[revision % states.length] !== revision) return `revision ${revision} was dropped while it was held`;
    }
    while (open.length > round % 9) open.splice(round % open.length, 1)[0]?.release();
    return undefined;
  };
});
