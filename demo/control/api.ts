/**
 * Api: the HTTP API at all nodes, each asked in turn, as any program without an SDK would use it.
 */
export interface Given {
  readonly status: number;
  readonly code: string;
  readonly body: string;
  /** Of the write; 0 for reads. */
  readonly revision: number;
}

export class Api {
  readonly #urls: readonly string[];
  readonly #headers: Readonly<Record<string, string>>;
  #turn = 0;

  constructor(urls: readonly string[], writer: { readonly name: string; readonly secret: string }) {
    this.#urls = urls;
    this.#headers = { 'ctlmesh-writer': writer.name, 'ctlmesh-secret': writer.secret };
  }

  /** At the next node. `request`: method and path. */
  ask(request: string, body?: string | object, headers: Readonly<Record<string, string>> = {}): Promise<Given> {
    this.#turn++;
    return this.at(this.#urls[this.#turn % this.#urls.length] as string, request, body, headers);
  }

  async at(
    url: string,
    request: string,
    body?: string | object,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Given> {
    const [method = '', path = ''] = request.split(' ', 2);
    const init: RequestInit = { method, headers: { ...this.#headers, ...headers } };
    if (body !== undefined) init.body = typeof body === 'string' ? body : JSON.stringify(body);
    const response = await fetch(`${url}${path}`, init);
    const code = response.headers.get('ctlmesh-code') ?? '';
    const revision = Number(response.headers.get('ctlmesh-revision') ?? 0);
    return { status: response.status, code, revision, body: await response.text() };
  }

  /** What must be done. */
  async do(request: string, body?: string | object): Promise<Given> {
    const given = await this.ask(request, body);
    if (given.status === 200) return given;
    throw new Error(`${request}: ${given.status} ${given.code} ${given.body}`);
  }
}
