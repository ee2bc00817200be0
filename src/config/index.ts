/** The cluster's config: its types, its loader, and what is said about a bad one. A leaf: imports core and zod only. */
export { loadConfig } from './load.ts';
export { configFaults, defineCluster, type ParseOptions, parseConfig } from './parse.ts';
export { callerGrants, nodeToken, openAddresses } from './callers.ts';
export { readerGrants } from './readers.ts';
export { foundingMembers, guestsOf, memberOf } from './members.ts';
export { type Address, parseAddress } from './url.ts';
export type {
  CallerConfig,
  ClusterConfig,
  ClusterConfigInput,
  ConfigFault,
  LogLevel,
  NodeConfig,
  RaftConfig,
  RepairMode,
  TuningConfig,
} from './types.ts';
