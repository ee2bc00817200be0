/**
 * The page at `/`: what is served here, for people with curl.
 */
import type { Route } from './route.ts';

export function pageOf(routes: readonly Route[], title: string): string {
  const width = Math.max(...routes.map(({ path }) => path.length));
  const groups = new Set(routes.map(({ group }) => group));
  const parts = Array.from(groups, (group) => {
    const lines = routes
      .filter((route) => route.group === group)
      .map(({ method, path, summary }) => `  ${method.padEnd(6)} ${path.padEnd(width)}  ${summary}`);
    return `${group}\n${lines.join('\n')}\n`;
  });
  return `${title}\n\n${parts.join('\n')}`;
}
