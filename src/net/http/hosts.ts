/**
 * Hosts: under which names a server may be asked.
 *
 * A page of evil.example can make a browser ask any address for it: it lets its own name point there (DNS rebinding). To the
 * browser that is the page's own origin, so a plain GET names no origin, and the page may read the answer. But the request says
 * under which name it was asked. So a server answers under names that no stranger can give it: an address, localhost, a name
 * without a dot, the one that it is configured with, and those that it was told.
 */
import { isIP } from 'node:net';
import { StoreError } from '../../core/base/errors.ts';

export interface HostsOptions {
  /** Where it listens. */
  readonly url: string;
  /** Other names of it, without port; 'any': what is served here tells no page anything. */
  readonly hostsAllowed: readonly string[] | 'any';
}

/** A check of the Host header: throws FORBIDDEN. */
export function hostCheck({ url, hostsAllowed }: HostsOptions): (host: string | undefined) => void {
  if (hostsAllowed === 'any') return () => {};
  const allowed = new Set([new URL(url).hostname, ...hostsAllowed.map((host) => host.toLowerCase())]);
  return (given) => {
    // Nobody's browser sends none: HTTP/1.1 wants it.
    if (given === undefined) return;
    const host = nameOf(given);
    if (allowed.has(host) || isIP(host) !== 0 || host === 'localhost' || !host.includes('.')) return;
    throw new StoreError('FORBIDDEN', 'not asked under a name of this server (hostsAllowed)');
  };
}

/** Without port, brackets, and the dot of a name that is whole. */
function nameOf(host: string): string {
  const bracketed = /^\[([^\]]*)\](?::\d*)?$/.exec(host);
  if (bracketed !== null) return bracketed[1] as string;
  return host.replace(/:\d*$/, '').replace(/\.$/, '').toLowerCase();
}
