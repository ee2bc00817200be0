/** Parsers for option values; each throws commander's usage error. */
import { InvalidArgumentError } from 'commander';
import { addressFault } from '../../config/url.ts';

export const ENDPOINTS_DEFAULT = 'ws://127.0.0.1:7411,7412,7413';

/** A whole number of at least `min`. */
export const wholeNumber =
  (min: number): ((text: string) => number) =>
  (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < min) {
      throw new InvalidArgumentError(`it must be a whole number, ${min} or more.`);
    }
    return value;
  };

/** Where to listen: `http://host:port`, or `ws://`. */
export const listenAddress =
  (protocol: 'http:' | 'ws:'): ((text: string) => string) =>
  (text) => {
    const fault = addressFault(text, protocol);
    if (fault !== undefined) throw new InvalidArgumentError(`it ${fault}.`);
    return text;
  };

/** 'ws://h:1,h:2,3' → three URLs: a part without a scheme is host:port, a bare number a port of the host before. */
export function parseEndpoints(text: string): string[] {
  const urls: string[] = [];
  let host: string | undefined;
  for (const part of text.split(',').map((one) => one.trim())) {
    if (part === '') continue;
    const url = /^\d+$/.test(part)
      ? `ws://${host ?? '127.0.0.1'}:${part}`
      : part.includes('://')
        ? part
        : `ws://${part}`;
    if (!URL.canParse(url) || !/^wss?:$/.test(new URL(url).protocol) || new URL(url).hostname === '') {
      throw new InvalidArgumentError(`'${part}' is not an endpoint; write ws://host:port, several with commas.`);
    }
    host = new URL(url).hostname;
    urls.push(url);
  }
  if (urls.length === 0) throw new InvalidArgumentError('at least one endpoint is needed.');
  return urls;
}
