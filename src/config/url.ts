/** Addresses: what a node's URL may be, and the host and port in it. */

export interface Address {
  /** As written, lower case, without brackets: '127.0.0.1', '::1', 'n1.example'. */
  readonly host: string;
  readonly port: number;
}

/** What is wrong with an address, or undefined. */
export function addressFault(value: string, protocol: 'ws:' | 'http:'): string | undefined {
  const wanted = `must be ${protocol}//host:port`;
  if (!URL.canParse(value)) return `${wanted}; '${value}' is not a URL`;
  const url = new URL(value);
  if (url.protocol === 'wss:' || url.protocol === 'https:') return `${wanted}; TLS is not served, put a proxy in front`;
  if (url.protocol !== protocol) return `${wanted}; this is ${url.protocol}//`;
  if (url.hostname === '') return `${wanted}; '${value}' has no host`;
  if (url.pathname.length > 1 || url.search !== '' || url.hash !== '' || url.username !== '') {
    return `${wanted} and nothing more; this is '${value}'`;
  }
  if (!/:\d+\/?$/.test(value)) return `${wanted}; '${value}' has no port`;
  if (url.port === '0') return `${wanted}; port 0 (any port) cannot be found by the others`;
  return undefined;
}

/** Host and port of an address, or undefined when it is not one. */
export function parseAddress(value: unknown): Address | undefined {
  if (typeof value !== 'string' || !URL.canParse(value)) return undefined;
  const url = new URL(value);
  if (url.hostname === '') return undefined;
  const port = url.port === '' ? (url.protocol === 'https:' || url.protocol === 'wss:' ? 443 : 80) : Number(url.port);
  return { host: url.hostname.replace(/^\[|\]$/g, '').toLowerCase(), port };
}

/** Names of this machine to itself count as one. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
