/**
 * Drivers: each store's own client, as a user would take it, behind the one call that is measured.
 */
import { Etcd3 } from 'etcd3';
import { connect } from '../../src/client/index.ts';

export interface Driver {
  put(connection: number, key: string, value: Buffer): Promise<unknown>;
  /** Linearizable, in both stores; gives the value's bytes. */
  get(connection: number, key: string): Promise<Uint8Array | undefined>;
  close(): Promise<void>;
}

export type DriverName = 'ctlmesh' | 'etcd';

export interface DriverOptions {
  /** Connection i stays on endpoint i, modulo their number; else each goes where its client takes it. */
  readonly isSpread?: boolean;
}

export function openDriver(
  system: DriverName,
  endpoints: readonly string[],
  connections: number,
  { isSpread = false }: DriverOptions = {},
): Promise<Driver> {
  const of = Array.from({ length: connections }, (_, i) =>
    isSpread ? [endpoints[i % endpoints.length] as string] : endpoints,
  );
  return system === 'ctlmesh' ? openCtlmesh(of, isSpread) : openEtcd(of);
}

async function openCtlmesh(endpointsOf: readonly (readonly string[])[], pinned: boolean): Promise<Driver> {
  const clients = await Promise.all(endpointsOf.map((endpoints) => connect(endpoints, { pinned })));
  const at = (connection: number): (typeof clients)[number] => clients[connection] as (typeof clients)[number];
  return {
    put: (connection, key, value) => at(connection).put(key, value),
    get: async (connection, key) => (await at(connection).get(key))?.value,
    close: async () => {
      await Promise.all(clients.map((client) => client.close()));
    },
  };
}

function openEtcd(endpointsOf: readonly (readonly string[])[]): Promise<Driver> {
  const clients = endpointsOf.map(
    (endpoints) =>
      new Etcd3({
        hosts: [...endpoints],
        // Else grpc-js gives all clients of a process the same socket.
        grpcOptions: { 'grpc.use_local_subchannel_pool': 1 },
      }),
  );
  const at = (connection: number): Etcd3 => clients[connection] as Etcd3;
  return Promise.resolve({
    put: (connection, key, value) => at(connection).put(key).value(value).exec(),
    get: async (connection, key) => (await at(connection).get(key).buffer()) ?? undefined,
    close: () => {
      for (const client of clients) client.close();
      return Promise.resolve();
    },
  });
}
