/** inspect wal: a line for each record, then how the log ends. */
import { basename } from 'node:path';
import { unreachable } from '../../core/base/assert.ts';
import { isStoreError } from '../../core/base/errors.ts';
import type { DataDir, LogEnding, readSegment, readWal } from '../../engine/tools/index.ts';
import type { Context } from './context.ts';

export interface WalFlags {
  readonly from: number;
  readonly limit?: number;
}

interface Found {
  readonly path: string;
  readonly isDir: boolean;
}

interface Line {
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
  readonly lsn: number;
  readonly kind: string;
  readonly term: number | null;
  readonly vote: string | null;
  readonly commit: number | null;
  readonly firstIndex: number | null;
  readonly lastIndex: number | null;
  readonly terms: readonly number[];
  readonly revertFrom: number | null;
  readonly syncedOffset: number;
}

export async function inspectWal(context: Context, found: Found, { from, limit }: WalFlags): Promise<number> {
  const lines = await linesOf(found);
  let shown = 0;
  let step = lines.next();
  for (; step.done !== true; step = lines.next()) {
    if (step.value.lsn < from) continue;
    if (shown === limit) {
      lines.return(undefined as never);
      context.note(`kvctl: ${shown} records shown; there are more`);
      return 0;
    }
    shown++;
    await (context.json ? context.out.json(step.value) : context.out.line(lineOf(step.value)));
  }
  const ending = step.value;
  await (context.json ? context.out.json({ ending }) : context.out.line(endingLine(ending)));
  return ending.state === 'damaged' ? 1 : 0;
}

async function linesOf({ path, isDir }: Found): Promise<Generator<Line, LogEnding, undefined>> {
  const tools = await import('../../engine/tools/index.ts');
  const { nodeDisk: disk } = tools;
  if (!isDir) return segmentLines(tools.readSegment(disk, path), basename(path));
  return logLines(
    tools.readWal(
      disk,
      walDirOf(path, () => tools.findDataDir(disk, path)),
    ),
  );
}

/** The log of a data directory, or the directory itself when it is one. */
function walDirOf(path: string, find: () => DataDir): string {
  try {
    return find().wal;
  } catch (error) {
    if (!isStoreError(error, 'BAD_REQUEST')) throw error;
    return path;
  }
}

type Records = ReturnType<typeof readWal>;
type Segment = ReturnType<typeof readSegment>;

function* logLines(records: Records): Generator<Line, LogEnding, undefined> {
  let step = records.next();
  for (; step.done !== true; step = records.next()) {
    const { file, offset, bytes, syncedOffset, record } = step.value;
    yield toLine(record, { file: basename(file), offset, bytes, syncedOffset });
  }
  return step.value;
}

function* segmentLines(records: Segment, file: string): Generator<Line, LogEnding, undefined> {
  let step = records.next();
  for (; step.done !== true; step = records.next()) {
    const { offset, bytes, syncedOffset, record } = step.value;
    yield toLine(record, { file, offset, bytes, syncedOffset });
  }
  return step.value;
}

type WalRecord =
  Records extends Generator<infer Info, LogEnding, undefined>
    ? Info extends { readonly record: infer Record }
      ? Record
      : never
    : never;

function toLine(record: WalRecord, place: Pick<Line, 'file' | 'offset' | 'bytes' | 'syncedOffset'>): Line {
  const { lsn, kind } = record;
  const hardState = record.kind === 'mark' ? undefined : record.hardState;
  const entries = record.kind === 'persist' ? record.entries : [];
  return {
    ...place,
    lsn,
    kind,
    term: hardState?.term ?? null,
    vote: hardState?.vote ?? null,
    commit: hardState?.commit ?? null,
    firstIndex: entries[0]?.index ?? (record.kind === 'base' ? record.prevIndex + 1 : null),
    lastIndex: entries.at(-1)?.index ?? null,
    terms: [...new Set(entries.map(({ term }) => term))],
    revertFrom: record.kind === 'persist' ? (record.revertFrom ?? null) : null,
  };
}

function lineOf(line: Line): string {
  const parts = [`${line.file} @${line.offset}`, `lsn ${line.lsn}`, line.kind];
  if (line.revertFrom !== null) parts.push(`reverts from ${line.revertFrom}`);
  if (line.kind === 'base') parts.push(`log begins behind ${(line.firstIndex ?? 1) - 1}`);
  else if (line.firstIndex !== null) {
    const terms = line.terms.length === 1 ? `term ${line.terms[0]}` : `terms ${line.terms.join(', ')}`;
    parts.push(`entries ${line.firstIndex}..${line.lastIndex} of ${terms}`);
  }
  if (line.term !== null) parts.push(`hard state: term ${line.term} vote "${line.vote}" commit ${line.commit}`);
  parts.push(`${line.bytes} bytes`, `synced to ${line.syncedOffset}`);
  return parts.join('  ');
}

function endingLine(ending: LogEnding): string {
  switch (ending.state) {
    case 'empty':
      return 'end: there is no segment';
    case 'whole':
      return `end: ${ending.file} @${ending.offset}, ${ending.isSealed ? 'closed cleanly' : 'not closed: in use, or its process died'}`;
    case 'torn':
      return `end: ${ending.file} @${ending.offset}, then ${ending.bytes} bytes of a write that was cut short (the next start cuts them off)`;
    case 'damaged':
      return `damage: ${ending.message}`;
    case 'gone':
      return `end: ${ending.file} was removed by its node while it was read; try again`;
    default:
      return unreachable(ending);
  }
}
