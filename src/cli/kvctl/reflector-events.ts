/**
 * What a reflector does, for whoever runs it: lines for a person, an object per event for a program.
 */
import type { ClientEvent } from '../../client/types.ts';
import { unreachable } from '../../core/base/assert.ts';
import type { ReflectorNews } from '../../reflector/options.ts';
import type { Context } from './context.ts';
import { showBytes } from './bytes.ts';
import { showMs } from './duration.ts';

/** Progress lines, at most. */
const PROGRESS_EVERY_MS = 5_000;

type PartNews = ReflectorNews & { readonly kind: 'part' };
type OnEvent = (event: ReflectorNews) => void;

/** A reader that has left must not end the replica. */
export function onReflectorEvent(context: Context): OnEvent {
  return context.json ? (event) => void context.out.json(event).catch(() => {}) : printProgress(context);
}

/** Connections that come and go, on stderr. */
export function noteConnection(context: Context): (event: ClientEvent) => void {
  return (event) => {
    if (event.kind === 'connected') context.note(`connected to ${event.node} (${event.url})`);
    else if (event.kind === 'disconnected') context.note(`lost ${event.url}: ${event.reason}; connecting again`);
  };
}

/** What a person wants to see: beginnings, trouble, and now and then how far it is (the log's clock never rests). */
function printProgress(context: Context): OnEvent {
  let records = 0;
  let saidAtMs = Number.NEGATIVE_INFINITY;
  const say = (line: string): void => {
    context.out.line(`${new Date().toISOString()} ${line}`).catch(() => {});
  };
  return (event) => {
    switch (event.kind) {
      case 'following':
        saidAtMs = Number.NEGATIVE_INFINITY;
        return say(`following after revision ${event.revision}`);
      case 'snapshot':
        if (event.state === 'begin') {
          saidAtMs = performance.now();
          const before = event.entries === 0 ? '' : `, going on behind ${event.entries} rows`;
          return say(`taking a snapshot at revision ${event.revision}${before}`);
        }
        return say(`snapshot taken: revision ${event.revision}, ${event.entries} rows`);
      case 'arrived': {
        const nowMs = performance.now();
        if (nowMs - saidAtMs < PROGRESS_EVERY_MS) return;
        saidAtMs = nowMs;
        const about = event.about === undefined ? '' : ` of about ${event.about}`;
        return say(`of the snapshot ${event.entries}${about} rows, ${showBytes(event.bytes)}`);
      }
      case 'given-up':
        return say(
          `a snapshot of revision ${event.revision}, with ${event.entries} rows, is not gone on with: ${event.reason}`,
        );
      case 'damaged':
        // Why, says the retry behind it.
        return say('what came is not what was sent: nothing of it is applied');
      case 'retry':
        return say(`${event.reason}; trying again in ${showMs(event.delayMs)}`);
      case 'applied': {
        records += event.records;
        const nowMs = performance.now();
        if (nowMs - saidAtMs < PROGRESS_EVERY_MS) return;
        // The very first entries are an election's, and bear no time.
        const lag = event.timeMs === 0 ? '' : `, lag ${showMs(Math.max(0, Date.now() - event.timeMs))}`;
        say(`at revision ${event.revision} (+${records})${lag}`);
        saidAtMs = nowMs;
        records = 0;
        return;
      }
      case 'diverged': {
        const cure =
          event.cure === 'snapshot' ? 'taking a snapshot' : 'one was taken for that a short while ago, so going on';
        return say(`another state than the cluster's at revision ${event.revision}: ${cure}`);
      }
      case 'bootstrap':
        return bootstrapped(event, say);
      case 'copy':
        if (event.state === 'failed') return say(`no copy could be put away: ${event.reason}`);
        return say(`copy ${event.name} put away: ${showBytes(event.storedBytes)} of ${showBytes(event.bytes)}`);
      case 'changelog-failed':
        return say(`the changelog cannot be written, and will say that it is out of sync: ${event.reason}`);
      case 'part':
        return say(PART_NEWS[event.state](event));
      case 'freshness':
        return say(event.isFresh ? 'fresh' : `older than it may be: lag ${showMs(event.lagMs)}`);
      default:
        unreachable(event);
    }
  };
}

const PART_NEWS: Readonly<Record<PartNews['state'], (news: PartNews) => string>> = {
  failed: ({ part, reason }) => `its part "${part}" broke, and comes back: ${reason}`,
  back: ({ part }) => `its part "${part}" is back`,
  warned: ({ part, reason }) => `${part === '' ? '' : `its part "${part}": `}${reason}`,
};

/** Each tenth of it, and its end. */
function bootstrapped(event: ReflectorNews & { readonly kind: 'bootstrap' }, say: (line: string) => void): void {
  switch (event.state) {
    case 'chunk': {
      const tenth = Math.ceil(event.count / 10);
      if (event.number % tenth === 0) say(`filling it from a copy: chunk ${event.number + 1} of ${event.count}`);
      return;
    }
    case 'end':
      return say(`filled from a copy: revision ${event.revision}, ${showBytes(event.bytes)}`);
    case 'failed':
      return say(`not filled from a copy (${event.reason}); taking all from the ledger`);
    default:
      unreachable(event);
  }
}
