/**
 * How far a snapshot is that is on its way into an LDB, for people who wait for it.
 */
import { type SnapshotMark, readMark } from './arriving.ts';
import { openIncomingTable, openToRead } from './environment.ts';
import { viewOf } from './row-view.ts';

/**
 * Of the LDB in `dir`; undefined: none is, or nothing of it is there yet. LDB_MISSING, LDB_CORRUPT. `besideWriter`: this process
 * writes it.
 */
export async function arrivingIn(
  dir: string,
  { besideWriter = false }: { readonly besideWriter?: boolean } = {},
): Promise<Pick<SnapshotMark, 'revision' | 'rows' | 'bytes'> | undefined> {
  const env = openToRead(dir, besideWriter);
  try {
    const incoming = openIncomingTable(env);
    const mark = incoming && readMark(viewOf(incoming));
    return mark && { revision: mark.revision, rows: mark.rows, bytes: mark.bytes };
  } finally {
    await env.close();
  }
}
