/**
 * Base64 (RFC 4648 §4), strict: one text for each bytes, so that two nodes cannot read two things from one entry. Of its
 * own because core has neither Buffer nor atob, and both take what is not base64.
 */
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const NOT_IN_IT = 0xff;

const VALUES: Uint8Array = new Uint8Array(128).fill(NOT_IN_IT);
for (let i = 0; i < ALPHABET.length; i++) VALUES[ALPHABET.charCodeAt(i)] = i;

/** Undefined: it is none. */
export function decodeBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0) return undefined;
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const digits = text.length - padding;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  let bits = 0;
  let held = 0;
  let at = 0;
  for (let i = 0; i < digits; i++) {
    const value = VALUES[text.charCodeAt(i)] ?? NOT_IN_IT;
    if (value === NOT_IN_IT) return undefined;
    bits = ((bits << 6) | value) & 0xffff;
    held += 6;
    if (held < 8) continue;
    held -= 8;
    bytes[at++] = (bits >>> held) & 0xff;
  }
  // Bits that no byte has would give one value two texts.
  return (bits & ((1 << held) - 1)) === 0 ? bytes : undefined;
}
