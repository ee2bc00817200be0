/**
 * Layers: which part of src may import which. Imports point one way:
 *
 *   cli → node.ts → net → actors → engine → core        client → core        config → core        level → engine/store
 *   reflector → net, client, actors/reflector           testing → core/base, actors/runtime/core
 *
 * Everything below is a table of what is allowed, turned into rules; what is not in it is forbidden. A new arrow is a
 * line here with its reason, in the same commit as the import. Type-only imports count: a type is knowledge too.
 *
 * TypeScript 7 has no JavaScript API yet, so the sources are parsed with swc. (`tsPreCompilationDeps` stays off: it
 * asks for the old compiler; swc reports type-only imports without it, and test/repo/layers.test.ts proves it.)
 */

/** Layer → the layers it may import besides itself. */
const layers = {
  core: [],
  engine: ['core'],
  actors: ['engine', 'core'],
  // Doors turn bytes into commands and errors into answers, in core's words.
  // net → engine: net/replication.thread.ts puts that thread together: the mesh's sockets and the WAL meet there.
  // net → client/control-types: the executive's routes ask what the SDK asks; node.ts hands them its own client.
  net: ['actors', 'engine', 'core', 'client/control-types'],
  client: ['core'],
  // The embedded engine in the level world's dress; it has nothing to do with a node.
  level: ['engine/store', 'core'],
  // Checkers of histories: they judge a store, and so know nothing of ours. And the actor runtime in virtual time: of the
  // runtime only its core, which has no threads.
  testing: ['core/base', 'actors/runtime/core'],
  // A replica without a cluster, for others' unit tests: the model makes its records, rows are given as the SDK takes them.
  'testing-ldb': ['core', 'engine/ldb', 'client/control-types', 'client/mutations'],
  // config is parsed once, at the top; the parts below get the few values that concern them.
  config: ['core'],
  // The assembly names every part once: config → engine → actors → net, and back down in reverse.
  // node.ts → client: the embedded node speaks to its own gateway through the SDK, over an in-process transport.
  node: ['net', 'actors', 'engine', 'core', 'client', 'config'],
  // A replica's rows over HTTP.
  sidecar: ['net/http', 'engine/ldb', 'core'],
  // A second assembly: the SDK's ledger → actors/reflector → an LDB, with a door of its own.
  // reflector → actors/relay, gateway/readers: it feeds others, those that may be fed. → engine/disk: copies of the LDB.
  // → actors/runtime: its parts are actors of a system of its own.
  reflector: [
    'net',
    'sidecar',
    'actors/reflector',
    'actors/ldb-changes',
    'actors/relay',
    'actors/gateway/readers',
    'actors/runtime',
    'engine/ldb',
    'engine/disk',
    'core',
    'client',
  ],
  // The public surface re-exports what users may have.
  index: ['node', 'net', 'actors', 'engine', 'core', 'client', 'config'],
  // cli → client: kvctl is a user of the SDK. cli → engine/ldb: `kvctl ldb` reads a local replica file.
  // cli → actors/reflector, reflector: `kvctl ldb follow` and `kvctl reflector` run one, fed by the SDK.
  // cli → engine/tools: backup, restore, inspect, repair and scrub work on the files of a data directory.
  // cli → testing: `kvctl history check`.
  cli: [
    'node',
    'index',
    'client',
    'config',
    'engine/ldb',
    'engine/tools',
    'actors/reflector',
    'reflector',
    'sidecar',
    'testing',
    'core',
  ],
};

/** Inside core: raft and model do not know each other (to raft a command is bytes); base is below all. */
const coreParts = {
  base: [],
  raft: ['base'],
  model: ['base'],
  // wire → raft: the mesh carries Raft's messages, and names their types; clients ask for changes of its members.
  // wire → raft/witness: a node's hello introduces its life.
  wire: ['base', 'model', 'raft/types', 'raft/membership', 'raft/witness'],
};

/** Inside engine: wal, lsm and ldb are strangers, introduced at engine's root. */
const engineParts = {
  disk: [],
  wal: ['disk'],
  lsm: ['disk'],
  ldb: ['disk'],
  // tools → all of a data directory's parts: a backup is a manifest, its tables and the log that goes on from them.
  // tools → snapshot: a directory that is half a snapshot is refused.
  tools: ['disk', 'wal', 'lsm', 'state', 'snapshot'],
  // A snapshot is a tree's files, and a log that begins behind it.
  snapshot: ['disk', 'wal', 'lsm'],
  // Damaged files are kept under another name; lsm knows how a file gets one.
  repair: ['disk', 'lsm'],
};

/** Each outside thing has one home. */
const homes = [
  // config, cli and node.ts read the config file. testing-ldb has temporary directories.
  { thing: 'node:fs', of: builtin('fs'), in: ['engine/disk', 'config', 'cli', 'node', 'testing-ldb'] },
  { thing: 'node:worker_threads', of: builtin('worker_threads'), in: ['actors/runtime'] },
  { thing: 'comlink', of: npm('comlink'), in: ['actors/runtime'] },
  { thing: 'abstract-level', of: npm('abstract-level'), in: ['level'] },
  { thing: 'lmdb', of: npm('lmdb'), in: ['engine/ldb'] },
  // Checksums of what is on a disk; core has its own, slower and without a native part.
  { thing: '@node-rs/crc32', of: npm('@node-rs/crc32'), in: ['engine/disk'] },
  { thing: 'ws', of: npm('ws'), in: ['net', 'client'] },
  { thing: 'aws4fetch', of: npm('aws4fetch'), in: ['reflector'] },
  { thing: 'fastify', of: npm('fastify'), in: ['net'] },
];

/** The path of a part: a folder, or a file of that name at the root of src. */
function at(part) {
  return `^src/${part}(/|\\.ts$)`;
}

function builtin(name) {
  return `^(node:)?${name}(/|$)`;
}

/** A package, found in node_modules or (not installed) named only. */
function npm(name) {
  return `(^|/node_modules/|^node_modules/)${name}(/|$)`;
}

function arrows(kind, folder, table) {
  return Object.entries(table).map(([from, allowed]) => ({
    name: `${kind}-${from}`,
    comment: `${folder}${from} may import ${allowed.length === 0 ? 'nothing but itself' : allowed.join(', ')}`,
    severity: 'error',
    from: { path: at(`${folder}${from}`) },
    to: { path: `^src/${folder}`, pathNot: [at(`${folder}${from}`), ...allowed.map((part) => at(`${folder}${part}`))] },
  }));
}

export default {
  forbidden: [
    ...arrows('layer', '', layers),
    ...arrows('core', 'core/', coreParts),
    ...arrows('engine', 'engine/', engineParts).map((rule) => ({
      ...rule,
      comment: 'wal, lsm and ldb are strangers, introduced at engine’s root',
    })),
    ...homes.map((home) => ({
      name: `home-of-${home.thing}`,
      comment: `${home.thing} is imported in ${home.in.join(', ')} only`,
      severity: 'error',
      from: { path: '^src/', pathNot: home.in.map(at) },
      to: { path: home.of },
    })),
    {
      name: 'core-is-pure',
      comment: 'core has no outside: no node:, no package; it is given a clock, a disk, a random number',
      severity: 'error',
      from: { path: at('core') },
      to: { pathNot: '^src/' },
    },
    {
      name: 'testing-is-pure',
      comment: 'testing has no outside either: its users are on other machines, with other stores',
      severity: 'error',
      from: { path: at('testing') },
      to: { pathNot: '^src/' },
    },
    {
      name: 'client-runs-in-browsers',
      comment: 'client uses no node: module and no package but ws',
      severity: 'error',
      from: { path: at('client') },
      to: { pathNot: ['^src/', npm('ws')] },
    },
    {
      name: 'a-layer-for-each-file',
      comment: 'a file of src that is in no layer: give it a line in the table',
      severity: 'error',
      from: { path: '^src/', pathNot: Object.keys(layers).map(at) },
      to: {},
    },
    {
      name: 'no-circles',
      comment: 'two files that need each other are one file, or miss a third',
      severity: 'error',
      from: { path: '^src/' },
      to: { circular: true },
    },
    {
      name: 'src-stands-alone',
      comment: 'src imports nothing of test, bench, demo or scripts',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(test|bench|demo|scripts)/' },
    },
    {
      name: 'resolvable',
      comment: 'an import that leads nowhere',
      severity: 'error',
      from: { path: '^src/' },
      to: { couldNotResolve: true },
    },
  ],
  options: {
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    detectProcessBuiltinModuleCalls: true,
  },
};
