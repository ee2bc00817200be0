/** An error at start or in service → one readable line, and whether another start could go better. */
import { isStoreError } from '../../core/base/errors.ts';
import type { RepairMode } from '../../config/index.ts';
import type { Fault } from './messages.ts';

/** A restart cannot mend these: the config, the directory or the machine has to change first. */
const PERMANENT: ReadonlySet<string> = new Set([
  'CONFIG_INVALID',
  'DIR_LOCKED',
  'DIR_FOREIGN',
  'DIVERGED',
  'WAL_CORRUPT',
  'DIR_ROLLED_BACK',
  'EADDRINUSE',
  'EADDRNOTAVAIL',
  'EACCES',
  'EPERM',
  'EROFS',
  'ENOTDIR',
  'ERR_MODULE_NOT_FOUND',
]);

interface SystemError extends Error {
  readonly code?: unknown;
  readonly address?: unknown;
  readonly port?: unknown;
  readonly path?: unknown;
}

/** Files that are damaged; a node that met it while it ran is repaired by its next start, where the config allows it. */
const REPAIRED: ReadonlySet<string> = new Set(['DIVERGED', 'WAL_CORRUPT', 'TABLE_CORRUPT', 'DIR_ROLLED_BACK']);

/** What ended a node that ran. */
export function toFaultInService(error: unknown, repair: RepairMode): Fault {
  const fault = toFault(error);
  return repair === 'peers' && REPAIRED.has(fault.code) ? { ...fault, restartMayHelp: true } : fault;
}

export function toFault(error: unknown): Fault {
  const root = systemCause(error);
  if (isStoreError(error)) {
    const permanent = PERMANENT.has(error.code) || (root !== undefined && PERMANENT.has(String(root.code)));
    return { code: error.code, message: oneLine(error.message), restartMayHelp: !permanent };
  }
  if (root !== undefined) {
    const code = String(root.code);
    return { code, message: systemMessage(root), restartMayHelp: !PERMANENT.has(code) };
  }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return { code: 'INTERNAL', message: oneLine(message), restartMayHelp: true };
}

/** The first error of the chain that the system raised. */
function systemCause(error: unknown): SystemError | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth++) {
    const { code } = at as SystemError;
    if (!isStoreError(at) && typeof code === 'string' && /^E[A-Z_]+$/.test(code)) return at;
  }
  return undefined;
}

function systemMessage(error: SystemError): string {
  const address = `port ${String(error.port)} on ${String(error.address)}`;
  switch (error.code) {
    case 'EADDRINUSE':
      return `${address} is in use by another process`;
    case 'EADDRNOTAVAIL':
      return `${String(error.address)} is not an address of this machine`;
    case 'EACCES':
    case 'EPERM':
      return error.port === undefined ? `no permission for ${String(error.path)}` : `no permission for ${address}`;
    default:
      return oneLine(error.message);
  }
}

const oneLine = (text: string): string => text.replaceAll(/\s*\n\s*/g, '; ');
