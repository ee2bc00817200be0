/**
 * Drivers: each store's own client, as a user would take it, behind the one call that is measured.
 */
import { Etcd3 } from 'etcd3';
import { connect } from '../../src/client/index.ts';

export interface Driver {
  put(connection: number, key: string, value: Buffer): Promise<unknown>;
  close(): Promise<void>;
}

export type DriverName = 'ctlmesh' | 'etcd';

export function openDriver(system: DriverName, endpoints: readonly string[], connections: number): Promise<Driver> {
  return system === 'ctlmesh' ? openCtlmesh(endpoints, connections) : openEtcd(endpoints, connections);
}

async function openCtlmesh(endpoints: readonly string[], connections: number): Promise<Driver> {
  const clients = await Promise.all(Array.from({ length: connections }, () => connect(endpoints)));
  return {
    put: (connection, key, value) => (clients[connection] as (typeof clients)[number]).put(key, value),
    close: async () => {
      await Promise.all(clients.map((client) => client.close()));
    },
  };
}

function openEtcd(endpoints: readonly string[], connections: number): Promise<Driver> {
  const clients = Array.from(
    { length: connections },
    () =>
      new Etcd3({
        hosts: [...endpoints],
        // Else grpc-js gives all clients of a process the same socket.
        grpcOptions: { 'grpc.use_local_subchannel_pool': 1 },
      }),
  );
  return Promise.resolve({
    put: (connection, key, value) => (clients[connection] as Etcd3).put(key).value(value).exec(),
    close: () => {
      for (const client of clients) client.close();
      return Promise.resolve();
    },
  });
}
