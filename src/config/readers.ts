/**
 * Readers of the ledger, as a config has them and as the gateway wants them: by the hash of their token.
 */
import { createHash } from 'node:crypto';
import { StoreError } from '../core/base/errors.ts';
import { type LedgerFilter, parseFilter } from '../core/model/ledger-filter.ts';
import type { ClusterConfig, TokenConfig } from './types.ts';

/** Throws CONFIG_INVALID for a token that is not in the environment, or too short to be one. */
export function readerGrants(
  { readers }: Pick<ClusterConfig, 'readers'>,
  env: Readonly<Record<string, string | undefined>>,
): { readonly name: string; readonly tokenSha256: string; readonly filter: LedgerFilter | undefined }[] {
  return Object.entries(readers).map(([name, { all, families, tables, prefixes, ...token }]) => {
    const filter = { families: families ?? [], tables: tables ?? [], prefixes: prefixes ?? [] };
    return {
      name,
      tokenSha256: tokenHash(`readers.${name}`, token, env),
      filter: all === true ? undefined : parseFilter(filter),
    };
  });
}

/** A token is random: whoever types one by hand is told so. */
const TOKEN_CHARS_MIN = 16;

/** `path`: where in the config. Throws CONFIG_INVALID. */
export function tokenHash(
  path: string,
  { tokenSha256, tokenEnv = '' }: TokenConfig,
  env: Readonly<Record<string, string | undefined>>,
): string {
  return tokenSha256 ?? hashOf(env[tokenEnv], `${path}.tokenEnv`, tokenEnv);
}

function hashOf(token: string | undefined, path: string, variable: string): string {
  if (token === undefined || token === '') throw new StoreError('CONFIG_INVALID', `${path}: ${variable} is not set`);
  if (token.length < TOKEN_CHARS_MIN) {
    throw new StoreError('CONFIG_INVALID', `${path}: a token has at least ${TOKEN_CHARS_MIN} characters`);
  }
  return createHash('sha256').update(token).digest('hex');
}
