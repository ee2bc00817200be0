/**
 * What the operating system and a server's /metrics say of a process.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';

/** USER_HZ: 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** CPU seconds used so far, or undefined where there is no /proc. */
export function cpuSeconds(pid: number): number | undefined {
  return secondsIn(`/proc/${pid}/stat`)?.seconds;
}

/** CPU seconds by thread name; threads of the same name are added up. */
export function threadSeconds(pid: number): Map<string, number> {
  const threads = new Map<string, number>();
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const stat = secondsIn(`/proc/${pid}/task/${thread}/stat`);
      if (stat !== undefined) threads.set(stat.name, (threads.get(stat.name) ?? 0) + stat.seconds);
    }
  } catch {
    // No /proc, or the process has ended.
  }
  return threads;
}

function secondsIn(path: string): { name: string; seconds: number } | undefined {
  try {
    const text = readFileSync(path, 'utf8');
    // pid (name) state ppid …: the name may hold anything, so count from its closing bracket.
    const close = text.lastIndexOf(')');
    const fields = text.slice(close + 2).split(' ');
    const ticks = Number(fields[11]) + Number(fields[12]);
    return { name: text.slice(text.indexOf('(') + 1, close), seconds: ticks / TICKS_PER_SECOND };
  } catch {
    return undefined;
  }
}

/** All series of a Prometheus page, labels left out; the last one of a name wins. */
export async function scrape(url: string): Promise<Map<string, number>> {
  const response = await fetch(url, { signal: AbortSignal.timeout(5_000) });
  const series = new Map<string, number>();
  for (const line of (await response.text()).split('\n')) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{[^}]*\})? (\S+)$/.exec(line);
    if (match?.[1] !== undefined) series.set(match[1], Number(match[2]));
  }
  return series;
}

/** Ports that are free now. All are held until all are known, so that they differ. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(0, '127.0.0.1', resolve);
      });
      return server;
    }),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
