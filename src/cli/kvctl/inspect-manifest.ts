/** inspect manifest: the levels of a tree, table by table; with --edits how they came to be. */
import type { ReadManifest } from '../../engine/tools/index.ts';
import { showBytes } from './bytes.ts';
import type { Context } from './context.ts';
import { UsageError } from './errors.ts';
import { internalKey } from './inspect-sst.ts';

type Edit = ReadManifest['edits'][number]['edit'];
type FileMeta = ReadManifest['state']['levels'][number][number];

export async function inspectManifest(
  context: Context,
  { path, isDir }: { readonly path: string; readonly isDir: boolean },
  withEdits: boolean,
): Promise<number> {
  if (!isDir) throw new UsageError(`${path} is a file: name the directory in which CURRENT lies`);
  const { findDataDir, nodeDisk: disk, readManifest } = await import('../../engine/tools/index.ts');
  const { tree } = findDataDir(disk, path);
  const manifest = readManifest(disk, tree);
  if (manifest === undefined) {
    context.note(`kvctl: there is no CURRENT in ${tree}`);
    return 1;
  }
  if (context.json) await tellJson(context, manifest, withEdits);
  else await tell(context, manifest, withEdits);
  return 0;
}

async function tellJson(context: Context, manifest: ReadManifest, withEdits: boolean): Promise<void> {
  const { path, state, edits, bytes, tornBytes } = manifest;
  if (withEdits) {
    for (const { offset, edit } of edits) await context.out.json({ offset, edit: { ...edit, ...tablesOf(edit) } });
  }
  for (const [level, files] of state.levels.entries()) {
    for (const file of files) await context.out.json({ level, ...fileJson(file) });
  }
  const { comparator, nextFile, lastSequence } = state;
  await context.out.json({ manifest: path, edits: edits.length, bytes, tornBytes, comparator, nextFile, lastSequence });
}

async function tell(context: Context, manifest: ReadManifest, withEdits: boolean): Promise<void> {
  const { path, state, edits, bytes, tornBytes } = manifest;
  const { out } = context;
  if (withEdits) for (const { offset, edit } of edits) await out.line(`@${offset}\t${editLine(edit)}`);
  for (const [level, files] of state.levels.entries()) {
    if (files.length === 0) continue;
    const total = files.reduce((sum, { fileBytes }) => sum + fileBytes, 0);
    await out.line(`level ${level}: ${files.length} tables, ${showBytes(total)}`);
    for (const { number, fileBytes, smallest, largest } of files) {
      await out.line(`  ${number}\t${showBytes(fileBytes)}\t${internalKey(smallest)} .. ${internalKey(largest)}`);
    }
  }
  const torn = tornBytes === 0 ? '' : `; ${tornBytes} bytes of an edit that was cut short`;
  await out.line(`${path}: ${edits.length} edits, ${showBytes(bytes)}${torn}`);
  await out.line(`flushed revision ${state.lastSequence}, next file ${state.nextFile}`);
}

const fileJson = ({ number, fileBytes, smallest, largest }: FileMeta): Record<string, unknown> => ({
  number,
  fileBytes,
  smallest: internalKey(smallest),
  largest: internalKey(largest),
});

/** Keys as text. */
const tablesOf = (edit: Edit): Record<string, unknown> => ({
  ...(edit.newFiles && { newFiles: edit.newFiles.map(({ level, file }) => ({ level, ...fileJson(file) })) }),
  ...(edit.compactPointers && {
    compactPointers: edit.compactPointers.map(({ level, key }) => ({ level, key: internalKey(key) })),
  }),
});

function editLine(edit: Edit): string {
  const parts: string[] = [];
  for (const { level, number } of edit.deletedFiles ?? []) parts.push(`-${number} (level ${level})`);
  for (const { level, file } of edit.newFiles ?? []) {
    parts.push(`+${file.number} (level ${level}, ${showBytes(file.fileBytes)})`);
  }
  if (edit.lastSequence !== undefined) parts.push(`flushed ${edit.lastSequence}`);
  if (edit.nextFile !== undefined) parts.push(`next file ${edit.nextFile}`);
  return parts.join('  ');
}
