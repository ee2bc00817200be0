/**
 * A local replica: read it from any process, with the cluster up or down. Fill it first:
 *
 *   npx kvctl ldb follow --ldb data/ldb          (keeps running)
 *   node examples/ldb.ts [DIRECTORY]
 */
import { openLdb, StoreError } from 'ctlmesh/ldb';

const dir = process.argv[2] ?? 'data/ldb';

try {
  const ldb = openLdb(dir);
  console.log(`revision ${ldb.revision} of cluster ${ldb.cluster}, ${ldb.lagMs()} ms old, ${ldb.count()} rows`);
  console.log('get:', ldb.get('flags/new-ui')?.text());
  for (const row of ldb.range({ prefix: 'flags/' })) console.log(`range: ${row.keyText()} = ${row.text()}`);

  // All reads of one turn of the event loop see one state. Ask for a bound on its age where it matters.
  const fresh = ldb.get('flags/new-ui', { maxStalenessMs: 60_000 });
  console.log('not older than a minute:', fresh?.text());
  ldb.close();
} catch (error) {
  if (!(error instanceof StoreError)) throw error;
  console.error(`${error.code}: ${error.message}`);
  process.exitCode = 1;
}
