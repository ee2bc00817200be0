/** The sample cluster: three nodes on this machine. `npm start` runs it; every other option has a default. */
import { type ClusterConfigInput, defineCluster } from 'ctlmesh';

const config: ClusterConfigInput = defineCluster({
  nodes: {
    n1: {
      client: 'ws://127.0.0.1:7411',
      peer: 'ws://127.0.0.1:7421',
      http: 'http://127.0.0.1:7431',
      dataDir: 'data/n1',
    },
    n2: {
      client: 'ws://127.0.0.1:7412',
      peer: 'ws://127.0.0.1:7422',
      http: 'http://127.0.0.1:7432',
      dataDir: 'data/n2',
    },
    n3: {
      client: 'ws://127.0.0.1:7413',
      peer: 'ws://127.0.0.1:7423',
      http: 'http://127.0.0.1:7433',
      dataDir: 'data/n3',
    },
  },
});

export default config;
