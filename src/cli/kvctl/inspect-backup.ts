/** inspect backup: which sets there are, and whether they are whole. */
import { isStoreError } from '../../core/base/errors.ts';
import { showBytes } from './bytes.ts';
import type { Context } from './context.ts';
import { UsageError } from './errors.ts';
import { progress } from './progress.ts';

export async function inspectBackup(
  context: Context,
  { path, isDir }: { readonly path: string; readonly isDir: boolean },
  isVerified: boolean,
): Promise<number> {
  if (!isDir) throw new UsageError(`${path} is a file: name the backup directory`);
  const { listSets, nodeDisk: disk, readSet, verifySet } = await import('../../engine/tools/index.ts');
  const numbers = listSets(disk, path);
  if (numbers.length === 0) {
    context.note(`kvctl: ${path} holds no backup`);
    return 1;
  }
  let isWhole = true;
  for (const number of numbers) {
    try {
      const set = readSet(disk, path, number);
      const bytes = set.files.reduce((sum, file) => sum + file.bytes, 0);
      if (isVerified) {
        const bar = progress(context, `reading set ${number}`);
        let done = 0;
        try {
          await verifySet(disk, path, set, (count) => bar.step((done += count), bytes));
        } finally {
          bar.stop();
        }
      }
      if (context.json) {
        const { files, owner, ...facts } = set;
        await context.out.json({ ...facts, ...owner, files: files.length, bytes });
        continue;
      }
      const whose = set.owner === null ? 'store' : `${set.owner.cluster}/${set.owner.node}`;
      const verified = isVerified ? '\twhole' : '';
      await context.out.line(
        `${number}\t${set.createdAt}\t${whose}\trevision ${set.lastIndex}\t${set.files.length} files\t${showBytes(bytes)}${verified}`,
      );
    } catch (error) {
      if (!isStoreError(error) || error.code === 'CANCELLED') throw error;
      isWhole = false;
      await (context.json
        ? context.out.json({ number, damage: error.message })
        : context.out.line(`${number}\t${error.message}`));
    }
  }
  return isWhole ? 0 : 1;
}
