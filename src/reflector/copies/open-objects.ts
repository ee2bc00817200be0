/**
 * openObjects: a URL → where copies are.
 */
import { StoreError } from '../../core/base/errors.ts';
import { FileObjects } from './file-objects.ts';
import { HttpObjects } from './http-objects.ts';
import type { Objects } from './objects.ts';
import { S3Objects } from './s3-objects.ts';

export interface OpenObjectsOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Shown to a reflector that serves its copies, where it wants one. */
  readonly token?: string | undefined;
}

/** Throws BAD_REQUEST. */
export function openObjects(url: string, { env, token }: OpenObjectsOptions): Objects {
  const scheme = URL.canParse(url) ? new URL(url).protocol : '';
  switch (scheme) {
    case 'file:':
      return new FileObjects(url);
    case 's3:':
      return S3Objects.open(url, env);
    case 'http:':
    case 'https:':
      return new HttpObjects(url, token);
    default:
      throw new StoreError(
        'BAD_REQUEST',
        `${url} is no place for copies: file:///…, s3://bucket/… or http://reflector:port`,
      );
  }
}
