/**
 * Inbound: one socket that somebody opened to us, from its hello to its end.
 *
 * Whoever connects must say within a deadline who it is; before that nothing it says is read. Each batch carries a
 * checksum; a bad one ends the socket, and Raft sends again what was in it. A refusal is said in the close frame, so
 * that the other side's log has the reason.
 */
import type { WebSocket } from 'ws';
import { crc32c } from '../../core/base/crc32c.ts';
import { StoreError } from '../../core/base/errors.ts';
import { COMMAND_HEADER_BYTES } from '../../core/model/commands.ts';
import { decodeMesh, decodeMeshHello, type MeshHello, type MeshMessage } from '../../core/wire/mesh.ts';
import { ROLLED_BACK_CODE, SILENCE_MS_MAX } from './link.ts';

export interface InboundWorld {
  readonly node: string;
  /** Lets the peer in, or throws why not. */
  readonly greet: (hello: MeshHello, inbound: Inbound) => void;
  readonly onMessages: (from: string, messages: readonly MeshMessage[]) => void;
  /** It was refused, or ended for what it sent. */
  readonly onRefused: (from: string | undefined, error: StoreError) => void;
  readonly onError: (from: string | undefined, error: Error) => void;
  /** A socket that was let in is gone. */
  readonly onClosed: (from: string, inbound: Inbound) => void;
}

const HELLO_DEADLINE_MS = 5_000;
/** How long who was refused may take to close. */
const CLOSE_MS = 1_000;

export class Inbound {
  readonly #world: InboundWorld;
  readonly #socket: WebSocket;
  #from: string | undefined;
  /** The sender's data directory, by its hello. */
  dir = '';
  /** The entry of its log that said who the members are, then. */
  membersIndex = 0;
  #isRefused = false;
  #heardMs: number = performance.now();

  constructor(socket: WebSocket, world: InboundWorld) {
    this.#world = world;
    this.#socket = socket;
    const deadline = setTimeout(() => this.refuse('no hello'), HELLO_DEADLINE_MS);
    // A peer pings; one that is silent for long is gone without a word.
    const watchdog = setInterval(() => {
      if (performance.now() - this.#heardMs > 2 * SILENCE_MS_MAX) socket.terminate();
    }, SILENCE_MS_MAX);
    socket.on('ping', () => {
      this.#heardMs = performance.now();
    });
    socket.on('error', (error) => world.onError(this.#from, error));
    socket.on('message', (data: Buffer, isBinary) => {
      this.#heardMs = performance.now();
      // What was under way when it was refused.
      if (this.#isRefused) return;
      this.#message(data, isBinary);
      if (this.#from !== undefined) clearTimeout(deadline);
    });
    socket.on('close', () => {
      clearTimeout(deadline);
      clearInterval(watchdog);
      if (this.#from !== undefined) world.onClosed(this.#from, this);
    });
  }

  /** Says why, and closes; nothing more is heard. */
  refuse(reason: string, code = 1002): void {
    if (this.#isRefused) return;
    this.#isRefused = true;
    this.#socket.close(code, closeReason(reason));
    setTimeout(() => this.#socket.terminate(), CLOSE_MS).unref();
  }

  #message(data: Buffer, isBinary: boolean): void {
    try {
      if (!isBinary) throw new StoreError('PROTOCOL_ERROR', 'mesh messages are binary');
      if (this.#from === undefined) {
        const hello = decodeMeshHello(data);
        this.dir = hello.dir;
        this.membersIndex = hello.membersIndex;
        this.#world.greet(hello, this);
        this.#from = hello.from;
      } else this.#world.onMessages(this.#from, decodeWhole(checked(data), this.#from, this.#world.node));
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      this.#world.onRefused(this.#from, error);
      this.refuse(error.message, error.code === 'DIR_ROLLED_BACK' ? ROLLED_BACK_CODE : undefined);
    }
  }
}

/** At most 123 bytes of UTF-8 may stand in a close frame; what a stranger sent may be in the text. */
function closeReason(text: string): string {
  return text.replace(/[^ -~]/g, '?').slice(0, 120);
}

/** The batch without its checksum, if that is right. */
function checked(data: Buffer): Uint8Array {
  if (data.length < 4 || data.readUInt32LE(0) !== crc32c(data, 4)) {
    throw new StoreError('PROTOCOL_ERROR', 'a batch with a bad checksum');
  }
  return data.subarray(4);
}

/** A batch whose forwarded commands can be read and stamped: a peer's mistake must not reach the log, or stop us. */
function decodeWhole(bytes: Uint8Array, from: string, to: string): MeshMessage[] {
  const messages = decodeMesh(bytes, from, to);
  for (const message of messages) {
    if (message.kind !== 'forward') continue;
    if (message.commands.some((command) => command.length < COMMAND_HEADER_BYTES)) {
      throw new StoreError('PROTOCOL_ERROR', 'a forwarded command without its header');
    }
  }
  return messages;
}
