/**
 * A history, recorded and checked: four clients on a store that forgets writes now and then.
 *
 *   node examples/history.ts
 *
 * The store is a few lines here; in its place goes the one that you test. Its kind of fault is found by no client alone.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import { checkLinearizable, type HistoryEvent, HistoryRecorder, parseHistory } from 'ctlmesh/testing';

async function historyOf(forgets: (write: number) => boolean): Promise<HistoryEvent[]> {
  const events: HistoryEvent[] = [];
  const recorder = new HistoryRecorder({ write: (event) => events.push(event) });
  let stored: number | null = null;
  let writes = 0;
  const client = async (): Promise<void> => {
    for (let i = 0; i < 25; i++) {
      const value = ++writes;
      const put = recorder.invoke('write', { key: 'x', value });
      await breathe();
      if (!forgets(value)) stored = value;
      await breathe();
      put.ok();
      const get = recorder.invoke('read', { key: 'x' });
      await breathe();
      get.ok(stored);
    }
  };
  await Promise.all([client(), client(), client(), client()]);
  return events;
}

const good = checkLinearizable(parseHistory(await historyOf(() => false)));
console.log(`a store that keeps what it is told: ${good.verdict}, ${good.checkedOps} operations`);

const bad = checkLinearizable(parseHistory(await historyOf((write) => write > 80)));
console.log(`one that forgets: ${bad.verdict}\n${bad.violation?.text}`);
