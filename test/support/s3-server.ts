/**
 * A server that speaks the little of S3 that we use, and is strict about it: each request's signature (AWS Signature
 * Version 4, written here from its specification, not from the library that signs) and the hash of its body are verified.
 * Buckets are named in the path; lists come a few names at a time.
 */
import { createHash, createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

export const S3_KEYS = { id: 'AKIDEXAMPLE', secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY', region: 'eu-west-1' };

const LIST_MAX = 4;

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');
const hmac = (key: Uint8Array | string, text: string): Buffer => createHmac('sha256', key).update(text).digest();

export class S3Server {
  /** By bucket/key. */
  readonly objects: Map<string, Buffer> = new Map();
  readonly requests: string[] = [];
  /** Asked before each request is answered; a status: that is the answer. */
  intercept: (request: string) => number | undefined = () => undefined;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<S3Server> {
    const server = createServer();
    const s3 = new S3Server(server);
    server.on('request', (request: IncomingMessage, response: ServerResponse) => void s3.#answer(request, response));
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return s3;
  }

  get env(): Record<string, string> {
    const { port } = this.#server.address() as { port: number };
    return {
      AWS_ACCESS_KEY_ID: S3_KEYS.id,
      AWS_SECRET_ACCESS_KEY: S3_KEYS.secret,
      AWS_REGION: S3_KEYS.region,
      AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${port}`,
    };
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts);
    const url = new URL(request.url ?? '/', 'http://s3');
    const name = `${request.method} ${decodeURIComponent(url.pathname)}`;
    this.requests.push(name);
    const say = (status: number, code: string): void => {
      response.writeHead(status, { 'content-type': 'application/xml' });
      response.end(`<?xml version="1.0"?><Error><Code>${code}</Code></Error>`);
    };
    const status = this.intercept(name);
    if (status !== undefined) return say(status, 'SlowDown');
    const fault = faultIn(request, url, body);
    if (fault !== undefined) return say(403, fault);
    const key = decodeURIComponent(url.pathname.slice(1));
    if (url.searchParams.has('list-type')) return this.#list(key.replace(/\/$/, ''), url.searchParams, response);
    if (request.method === 'PUT') this.objects.set(key, body);
    else if (request.method === 'DELETE') this.objects.delete(key);
    const object = this.objects.get(key);
    if (request.method === 'GET' && object === undefined) return say(404, 'NoSuchKey');
    response.writeHead(request.method === 'DELETE' ? 204 : 200);
    response.end(request.method === 'GET' ? object : undefined);
  }

  #list(bucket: string, query: URLSearchParams, response: ServerResponse): void {
    const prefix = `${bucket}/${query.get('prefix') ?? ''}`;
    const after = query.get('continuation-token') ?? '';
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
    const some = keys.slice(0, LIST_MAX);
    const next = keys.length > LIST_MAX ? `<NextContinuationToken>${some.at(-1)}</NextContinuationToken>` : '';
    const contents = some.map((key) => `<Contents><Key>${key.slice(bucket.length + 1)}</Key></Contents>`).join('');
    response.writeHead(200, { 'content-type': 'application/xml' });
    response.end(`<?xml version="1.0"?><ListBucketResult>${contents}${next}</ListBucketResult>`);
  }
}

/** What is wrong with a request's signature, by the name that S3 has for it; undefined: nothing. */
function faultIn(request: IncomingMessage, url: URL, body: Buffer): string | undefined {
  const { authorization = '' } = request.headers;
  const said = /^AWS4-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
    authorization,
  );
  if (said === null) return 'AccessDenied';
  const [, credential = '', signedHeaders = '', signature] = said;
  const [id, date = '', region = '', service = '', last] = credential.split('/');
  if (id !== S3_KEYS.id || region !== S3_KEYS.region || service !== 's3' || last !== 'aws4_request')
    return 'InvalidAccessKeyId';
  const header = (name: string): string => String(request.headers[name] ?? '').trim();
  for (const name of ['host', 'x-amz-date', 'x-amz-content-sha256']) {
    if (!signedHeaders.split(';').includes(name)) return 'AccessDenied';
  }
  if (header('x-amz-content-sha256') !== sha256(body)) return 'XAmzContentSHA256Mismatch';
  const query = [...url.searchParams]
    .map(([name, value]) => `${strict(name)}=${strict(value)}`)
    .sort()
    .join('&');
  const canonical = [
    request.method,
    url.pathname
      .split('/')
      .map((part) => strict(decodeURIComponent(part)))
      .join('/'),
    query,
    ...signedHeaders.split(';').map((name) => `${name}:${header(name)}`),
    '',
    signedHeaders,
    header('x-amz-content-sha256'),
  ].join('\n');
  const toSign = [
    'AWS4-HMAC-SHA256',
    header('x-amz-date'),
    `${date}/${region}/s3/aws4_request`,
    sha256(canonical),
  ].join('\n');
  const key = [region, 's3', 'aws4_request'].reduce(hmac, hmac(`AWS4${S3_KEYS.secret}`, date));
  return hmac(key, toSign).toString('hex') === signature ? undefined : 'SignatureDoesNotMatch';
}

/** RFC 3986, as the specification asks. */
const strict = (text: string): string =>
  encodeURIComponent(text).replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
