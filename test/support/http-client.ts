/**
 * A client of the HTTP API for tests: each call gives status, code and body, so that an expectation says all three.
 */
export interface Got {
  readonly status: number;
  /** Of the closed table; '' for what went well. */
  readonly code: string;
  readonly body: string;
  readonly headers: Headers;
}

export interface Asked {
  readonly body?: string | Uint8Array | object;
  readonly headers?: Readonly<Record<string, string>>;
}

export type Ask = (request: string, asked?: Asked) => Promise<Got>;

/** `request`: method and path, as in 'POST /families/billing'. Objects are sent as JSON. */
export function asking(url: string): Ask {
  return async (request, { body, headers = {} } = {}) => {
    const [method = '', path = ''] = request.split(' ', 2);
    const bytes =
      typeof body === 'string' || body instanceof Uint8Array || body === undefined ? body : JSON.stringify(body);
    const init: RequestInit = { method, headers: { ...headers } };
    if (bytes !== undefined) init.body = bytes as string;
    const response = await fetch(`${url}${path}`, init);
    const text = await response.text();
    return {
      ...{ status: response.status, code: response.headers.get('ctlmesh-code') ?? '', headers: response.headers },
      body: text,
    };
  };
}

export interface Writer {
  readonly writer: string;
  readonly secret: string;
}

export const writerHeaders = ({ writer, secret }: Writer): Record<string, string> => ({
  'ctlstore-writer': writer,
  'ctlstore-secret': secret,
});
