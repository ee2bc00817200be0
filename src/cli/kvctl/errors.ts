/** What a failed command says: one line, what happened, the code for programs, and what to do now. */
import { type ErrorCode, isStoreError, type Retry, type StoreError } from '../../core/base/errors.ts';

/** The command line, a script or an input file is wrong: exit 2. */
export class UsageError extends Error {
  override readonly name: string = 'UsageError';
}

/** The reader of our output has gone (`| head`): nothing is wrong. */
export class OutputClosed extends Error {
  override readonly name: string = 'OutputClosed';
}

const BY_RETRY: Readonly<Record<Retry, string>> = {
  elsewhere: 'another node may serve it: see kvctl status',
  later: 'try again later',
  'same-id': 'it may or may not have happened: look before you repeat it',
  never: 'repeating it gives the same answer',
};

const BY_CODE: Readonly<Partial<Record<ErrorCode, string>>> = {
  UNAVAILABLE: 'is the cluster up? see kvctl status and --endpoints',
  DEADLINE_EXCEEDED: 'try again, or allow more time with --deadline',
  STORE_FULL: 'free room on the disk of the node, or delete keys: deletes are still taken',
  CANCELLED: 'stopped as asked',
  KEY_INVALID: 'choose another key',
  VALUE_TOO_LARGE: 'split the value',
  TXN_TOO_LARGE: 'split the transaction',
  PROTOCOL_VERSION: 'use the kvctl of the version the cluster runs',
  PROTOCOL_ERROR: 'is this the client port of a ctlmesh node?',
  COMPACTED: 'the nodes no longer keep that revision: scan, then watch from now',
  MEMBER_REFUSED: 'kvctl member list shows where the members stand',
  SCHEMA_MISMATCH: 'kvctl schema shows the fields',
  FORBIDDEN: 'is it the secret of this writer?',
  DISABLED: 'the config of the cluster says so: destructiveSchemaChanges',
  LDB_MISSING: 'start one with kvctl ldb follow',
  LDB_FOREIGN: 'choose another --ldb directory for this cluster',
  LDB_CORRUPT: 'remove the directory and run kvctl ldb follow again',
  DIR_LOCKED: 'another process has it open: stop that one first',
  DIR_FOREIGN: 'it holds somebody else’s data: look before you move anything',
  DIVERGED: 'its state is wrong: remove the node, and add one with an empty directory and a new id',
  TABLE_CORRUPT: 'kvctl scrub names all damage; kvctl repair says what can be done',
  WAL_CORRUPT: 'kvctl inspect wal shows the place; a node is then repaired from its peers: see docs/operations.md',
  DIR_ROLLED_BACK:
    'its files are older than what the others have seen of them: it is repaired from its peers at its next start',
  INTERNAL: 'this is a bug of ctlmesh or an accident of the node: see its log',
};

export function hint(error: StoreError): string {
  const { oldestRevision } = error.data;
  if (error.code === 'COMPACTED' && typeof oldestRevision === 'number') {
    return `begin at revision ${oldestRevision}, the oldest there is, or scan and then watch from now`;
  }
  return BY_CODE[error.code] ?? BY_RETRY[error.retry];
}

export function describe(error: unknown): string {
  if (isStoreError(error)) return `kvctl: ${error.message} (${error.code}; ${hint(error)})`;
  if (error instanceof UsageError) return `kvctl: ${error.message}`;
  if (error instanceof Error) return `kvctl: unexpected: ${error.stack ?? error.message}`;
  return `kvctl: unexpected: ${String(error)}`;
}
