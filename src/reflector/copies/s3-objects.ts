/**
 * Objects in a bucket of S3, or of what speaks like it.
 *
 * Requests are signed by aws4fetch, 2.5 KB over fetch and WebCrypto without dependencies of its own, where Amazon's client
 * for S3 brings some ninety packages for the four requests that are made here. Bodies are part of the signature, so that
 * one that was changed on its way is refused.
 *
 * Credentials and places are where Amazon's tools look for them: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
 * AWS_SESSION_TOKEN, AWS_REGION, and AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL for other servers (whose buckets are then named
 * in the path). Roles of instances are not asked for.
 */
import { createHash } from 'node:crypto';
import { AwsClient } from 'aws4fetch';
import { StoreError } from '../../core/base/errors.ts';
import type { Objects } from './objects.ts';
import { exchange } from './web.ts';

interface Place {
  readonly url: string;
  /** Of the bucket, without a slash at its end. */
  readonly bucketUrl: string;
  /** Before each name; empty, or with a slash at its end. */
  readonly prefix: string;
}

const LIST_BYTES_MAX = 4 * 1024 * 1024;
const ANSWER_BYTES_MAX = 64 * 1024;

export class S3Objects implements Objects {
  readonly url: string;
  readonly #place: Place;
  readonly #client: AwsClient;

  private constructor(place: Place, client: AwsClient) {
    this.url = place.url;
    this.#place = place;
    this.#client = client;
  }

  /** Throws BAD_REQUEST for a URL without a bucket, or without credentials. */
  static open(url: string, env: Readonly<Record<string, string | undefined>>): S3Objects {
    const { hostname: bucket, pathname } = new URL(url);
    const [accessKeyId, secretAccessKey] = [env['AWS_ACCESS_KEY_ID'], env['AWS_SECRET_ACCESS_KEY']];
    if (bucket === '') throw new StoreError('BAD_REQUEST', `${url} names no bucket: s3://bucket/prefix`);
    if (!accessKeyId || !secretAccessKey) {
      throw new StoreError('BAD_REQUEST', `${url} needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY`);
    }
    const region = env['AWS_REGION'] || env['AWS_DEFAULT_REGION'] || 'us-east-1';
    const endpoint = env['AWS_ENDPOINT_URL_S3'] || env['AWS_ENDPOINT_URL'];
    const bucketUrl =
      endpoint === undefined || endpoint === ''
        ? `https://${bucket}.s3.${region}.amazonaws.com`
        : `${endpoint.replace(/\/+$/, '')}/${bucket}`;
    const path = decodeURIComponent(pathname).replace(/^\/+|\/+$/g, '');
    const sessionToken = env['AWS_SESSION_TOKEN'];
    const client = new AwsClient({
      accessKeyId,
      secretAccessKey,
      ...(sessionToken === undefined || sessionToken === '' ? {} : { sessionToken }),
      service: 's3',
      region,
      // Tries are ours to count (objects.ts).
      retries: 0,
    });
    return new S3Objects({ url, bucketUrl, prefix: path === '' ? '' : `${path}/` }, client);
  }

  async put(name: string, bytes: Uint8Array): Promise<void> {
    await this.#ask('PUT', this.#urlOf(name), { body: bytes, bytesMax: ANSWER_BYTES_MAX });
  }

  get(name: string, bytesMax: number): Promise<Uint8Array> {
    return this.#ask('GET', this.#urlOf(name), { bytesMax });
  }

  async list(): Promise<string[]> {
    const { bucketUrl, prefix } = this.#place;
    const names: string[] = [];
    for (let more: string | undefined = ''; more !== undefined; ) {
      const query = new URLSearchParams({
        'list-type': '2',
        prefix,
        ...(more === '' ? {} : { 'continuation-token': more }),
      });
      const answer = await this.#ask('GET', `${bucketUrl}/?${query.toString()}`, { bytesMax: LIST_BYTES_MAX });
      const xml = new TextDecoder().decode(answer);
      for (const [, key = ''] of xml.matchAll(/<Key>([^<]*)<\/Key>/g)) names.push(unescaped(key).slice(prefix.length));
      const next = /<NextContinuationToken>([^<]*)<\/NextContinuationToken>/.exec(xml)?.[1];
      more = next === undefined ? undefined : unescaped(next);
    }
    return names;
  }

  async remove(name: string): Promise<void> {
    await this.#ask('DELETE', this.#urlOf(name), { bytesMax: ANSWER_BYTES_MAX });
  }

  #urlOf(name: string): string {
    const { bucketUrl, prefix } = this.#place;
    return `${bucketUrl}/${(prefix + name).split('/').map(encodeURIComponent).join('/')}`;
  }

  #ask(
    method: string,
    url: string,
    { body, bytesMax }: { readonly body?: Uint8Array; readonly bytesMax: number },
  ): Promise<Uint8Array> {
    const sha256 = createHash('sha256')
      .update(body ?? '')
      .digest('hex');
    return exchange({
      what: `${method} ${url}`,
      bytesMax,
      send: async (signal) => {
        const headers = { 'x-amz-content-sha256': sha256 };
        // Signed without its body, which the header stands for: a Request with one could be sent only once.
        const signed = await this.#client.sign(url, { method, headers });
        return fetch(url, { method, headers: signed.headers, signal, ...(body && { body: Uint8Array.from(body) }) });
      },
    });
  }
}

/** What XML may write otherwise in a key. */
function unescaped(text: string): string {
  const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
  return text.replaceAll(/&(amp|lt|gt|quot|apos);/g, (_, name: string) => entities[name] as string);
}
