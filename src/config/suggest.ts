/** "Did you mean": the nearest known word, when it is near enough to be a slip and not another word. */

export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  const near = best !== undefined && bestDistance <= Math.max(1, Math.floor(best.length / 2.5));
  if (near) return best;
  // 'dataDirectory' for 'dataDir', 'timeout' for 'electionTimeoutMs': one word inside the other is a slip too.
  const lower = word.toLowerCase();
  if (lower.length < 3) return undefined;
  return known.find((one) => one.toLowerCase().includes(lower) || lower.includes(one.toLowerCase()));
}

/** Levenshtein's distance, one row at a time. */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
