/**
 * What the actors' tests share: threads that are stopped when a test ends, directories that go with it, commands
 * as the gateway makes them.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { type LogFunction, Thread, type ThreadOptions } from '../../src/actors/runtime/thread.ts';
import type { ActorName, Shared } from '../../src/actors/shared.ts';
import { ByteWriter, utf8 } from '../../src/core/base/bytes.ts';
import { type CommandKind, encodeCommandHeader } from '../../src/core/model/commands.ts';

/** Waits for a condition, never for a time; throws, naming it, when it does not come. */
export async function until(what: string, condition: () => boolean, withinMs = 25_000): Promise<void> {
  const deadlineMs = performance.now() + withinMs;
  while (!condition()) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${withinMs} ms: ${what}`);
    await sleep(1);
  }
}

export function temporaryDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'ctlmesh-actors-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export interface LogLine {
  readonly level: string;
  readonly event: string;
  readonly fields: Record<string, unknown>;
}

/** A thread that ends with the test, whatever happens to it. */
export function spawn<Started>(options: Partial<ThreadOptions> & Pick<ThreadOptions, 'module'>): {
  thread: Thread<Started>;
  lines: LogLine[];
} {
  const lines: LogLine[] = [];
  const log: LogFunction = (level, event, fields = {}) => lines.push({ level, event, fields });
  const thread = new Thread<Started>({
    name: 'actor',
    args: {},
    log,
    control: { begin: () => {}, end: () => {} },
    ...options,
  });
  onTestFinished(() => thread.stop(200));
  return { thread, lines };
}

/** The same for one of the node's own actors. */
export function spawnActor(
  shared: Shared,
  name: ActorName,
  module: string,
  args: unknown,
  ports: ThreadOptions['ports'] = {},
): { thread: Thread<unknown>; lines: LogLine[] } {
  return spawn({
    name,
    module,
    args,
    ports,
    control: { begin: () => shared.beginControl(name), end: () => shared.endControl(name) },
  });
}

export const fixture = (name: string): string => new URL(`./fixtures/${name}.ts`, import.meta.url).href;

/** A command as the gateway makes it, outside of any session. */
export function command(
  kind: CommandKind,
  body: (writer: ByteWriter) => unknown,
  { origin = 1, token = 1 }: { readonly origin?: number; readonly token?: number } = {},
): Uint8Array {
  const writer = new ByteWriter(64);
  encodeCommandHeader(writer, { kind, origin, token });
  writer.varint(0).varint(0).varint(0);
  body(writer);
  return writer.take();
}

export const putCommand = (
  key: string,
  value: Uint8Array | string,
  ids: { readonly origin?: number; readonly token?: number } = {},
): Uint8Array =>
  command(
    'put',
    (writer) =>
      writer
        .varint(0)
        .blob(utf8(key))
        .blob(typeof value === 'string' ? utf8(value) : value),
    ids,
  );
