/**
 * Floors: what this machine's disk and loopback do with nothing of ours on top, measured in the same run as the
 * figures that stand beside them.
 *
 *   fdatasync   one 4 KiB write and one sync, again and again: at the end of a file that grows, and into one
 *               that was written full of zeros before (the store's WAL does the latter)
 *   ws echo     one frame of 150 bytes to another process and back over loopback: alone, and 64 under way
 */
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import type { EchoFrom, EchoTo } from '../processes/ws-echo.ts';
import { Child } from './child.ts';
import { newHistogram, percentilesOf, recordMs, runLoad } from './load.ts';
import type { Bench } from './scenario.ts';

const PAGE_BYTES = 4096;
const FILE_BYTES = 16 * 1024 * 1024;
const FRAME_BYTES = 150;
const MS = 1_000;

export async function measureFloors(bench: Bench): Promise<void> {
  bench.progress('floors: fdatasync, ws echo');
  const eachMs = Math.min(MS, bench.options.seconds * 1000);
  fdatasyncFloor(bench, 'fdatasync, 4 KiB appended', eachMs, 0);
  fdatasyncFloor(bench, 'fdatasync, 4 KiB into zeros', eachMs, FILE_BYTES);
  await wsEchoFloor(bench, eachMs);
}

function fdatasyncFloor(bench: Bench, variant: string, ms: number, preallocateBytes: number): void {
  const path = join(bench.dir, 'floor');
  const fd = openSync(path, 'w');
  const histogram = newHistogram();
  const page = Buffer.alloc(PAGE_BYTES, 0x5a);
  let at = 0;
  try {
    if (preallocateBytes > 0) {
      writeSync(fd, Buffer.alloc(preallocateBytes), 0, preallocateBytes, 0);
      fdatasyncSync(fd);
    }
    const beganMs = performance.now();
    let nowMs = beganMs;
    while (nowMs - beganMs < ms) {
      const before = nowMs;
      writeSync(fd, page, 0, PAGE_BYTES, at);
      fdatasyncSync(fd);
      at += PAGE_BYTES;
      if (preallocateBytes > 0) at %= preallocateBytes;
      nowMs = performance.now();
      recordMs(histogram, nowMs - before);
    }
    const opsPerSecond = (histogram.count / (nowMs - beganMs)) * 1000;
    bench.row({ variant, system: 'floor', inFlight: 1, opsPerSecond, ...percentilesOf(histogram) });
  } finally {
    closeSync(fd);
    rmSync(path);
  }
}

async function wsEchoFloor(bench: Bench, ms: number): Promise<void> {
  const server = Child.start<EchoTo, EchoFrom>(bench.cleanup, 'ws-echo');
  const { port } = await server.hear('listening', 10_000);
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  const waiting: (() => void)[] = [];
  socket.on('message', () => waiting.shift()?.());
  const frame = Buffer.alloc(FRAME_BYTES, 0x5a);
  const echo = (): Promise<void> =>
    new Promise((resolve) => {
      waiting.push(resolve);
      socket.send(frame);
    });
  for (const inFlight of [1, 64]) {
    const result = await runLoad({ inFlight, warmupMs: ms / 4, measureMs: ms, operation: echo });
    const { opsPerSecond, p50Ms, p99Ms, p999Ms } = result;
    bench.row({ variant: 'ws echo, 150 B', system: 'floor', inFlight, opsPerSecond, p50Ms, p99Ms, p999Ms });
  }
  socket.close();
  await closed;
  await server.stop();
}
