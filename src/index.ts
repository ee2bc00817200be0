/**
 * ctlmesh: a replicated store for control data.
 *
 *   import { defineCluster, startNode } from 'ctlmesh';
 *   const node = await startNode(config, 'n1');
 *   await node.put('flags/new-ui', 'on');
 *   node.getSync('flags/new-ui')?.text();
 *   await node.stop();
 *
 * Clients: `ctlmesh/client`. Local replicas: `ctlmesh/ldb`. Actors, in a node (`node.actors`) or without one: `ctlmesh/actors`.
 *
 * @module
 */
export { type ClusterConfig, type ClusterConfigInput, defineCluster, loadConfig } from './config/index.ts';
export { type ErrorCode, ERROR_CODES, isStoreError, type Retry, StoreError } from './core/base/errors.ts';
export type { Revision } from './core/base/position.ts';
export { VERSION } from './core/base/version.ts';
export type { NodeFacts } from './actors/facts.ts';
export { type RunningNode, type StartOptions, startNode } from './node.ts';
export type { TraceContext, Tracer, TraceSpan, TraceSpanOptions } from './node/tracing.ts';
