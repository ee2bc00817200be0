/** inspect sst: the parts of a table, what it says of itself, and its entries. */
import type { TableEntry, TableFacts } from '../../engine/tools/index.ts';
import { showBytes } from './bytes.ts';
import type { Context } from './context.ts';
import { field, visible } from './output.ts';

export interface SstFlags {
  readonly keys?: boolean;
  readonly limit?: number;
  readonly nodeKeys?: boolean;
}

export async function inspectSst(context: Context, found: { readonly path: string }, flags: SstFlags): Promise<number> {
  const { inspectTable, isNodeTable, nodeDisk: disk, tableEntries } = await import('../../engine/tools/index.ts');
  const { path } = found;
  const facts = inspectTable(disk, path);
  await (context.json ? context.out.json(factsJson(facts)) : tellFacts(context, facts));
  if (flags.keys === true) {
    let shown = 0;
    for (const entry of tableEntries(disk, path, flags.nodeKeys ?? isNodeTable(disk, path))) {
      if (shown === flags.limit) {
        context.note(`kvctl: ${shown} entries shown; there are more`);
        break;
      }
      shown++;
      await (context.json ? context.out.json(entryJson(entry)) : context.out.line(entryLine(entry)));
    }
  }
  return facts.damage === undefined ? 0 : 1;
}

/** An internal key as `key @revision`. */
export function internalKey(key: Uint8Array): string {
  return `${visible(key.subarray(0, -8))} @${revisionIn(key)}`;
}

function revisionIn(key: Uint8Array): number {
  const trailer = new DataView(key.buffer, key.byteOffset + key.length - 8, 8);
  return Number(trailer.getBigUint64(0, true) >> 8n);
}

function factsJson({ fileBytes, footer, properties, check, damage }: TableFacts): Record<string, unknown> {
  return {
    fileBytes,
    footer,
    properties: properties ?? null,
    blocks: check === undefined ? null : { data: check.dataBlocks, dataBytes: check.dataBytes },
    indexBytes: check?.indexBytes ?? null,
    filterBytes: check?.filterBytes ?? null,
    smallest: check === undefined ? null : internalKey(check.smallest),
    largest: check === undefined ? null : internalKey(check.largest),
    damage: damage?.message ?? null,
  };
}

async function tellFacts(context: Context, facts: TableFacts): Promise<void> {
  const { fileBytes, footer, properties, check, damage } = facts;
  const { out } = context;
  await out.line(`file        ${showBytes(fileBytes)} (${fileBytes} bytes)`);
  await out.line(`metaindex   at ${footer.metaindex.offset}, ${footer.metaindex.size} bytes`);
  await out.line(`index       at ${footer.index.offset}, ${footer.index.size} bytes`);
  if (check !== undefined) {
    const mean = Math.round(check.dataBytes / check.dataBlocks);
    await out.line(
      `blocks      ${check.dataBlocks} of data, ${showBytes(check.dataBytes)}, ${mean} bytes each as stored`,
    );
    await out.line(`filter      ${check.filterBytes === 0 ? 'none' : `${check.filterBytes} bytes`}`);
    await out.line(`first key   ${internalKey(check.smallest)}`);
    await out.line(`last key    ${internalKey(check.largest)}`);
  }
  if (properties === undefined) await out.line('properties  none');
  else for (const [name, value] of Object.entries(properties)) await out.line(`${name.padEnd(18)} ${value}`);
  if (damage !== undefined) await out.line(`damage      ${damage.message}`);
}

function entryJson(entry: TableEntry): Record<string, unknown> {
  const { keyspace, key, about, revision, type, expiryMs, valueBytes } = entry;
  return {
    ...(keyspace === undefined ? {} : { keyspace }),
    ...field('key', key),
    ...(about === undefined ? {} : { about }),
    revision,
    type,
    ...(expiryMs === 0 ? {} : { expiryMs }),
    valueBytes,
  };
}

function entryLine({ keyspace, key, about, revision, type, expiryMs, valueBytes }: TableEntry): string {
  const parts = [visible(key), `@${revision}`, type, `${valueBytes} bytes`];
  if (expiryMs !== 0) parts.push(`expires ${new Date(expiryMs).toISOString()}`);
  if (about !== undefined) parts.push(`of revision ${about}`);
  if (keyspace !== undefined) parts.unshift(keyspace);
  return parts.join('\t');
}
