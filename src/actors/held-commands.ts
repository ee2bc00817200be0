/**
 * HeldCommands: commands of this node's clients that wait for somebody to lead. Bounded in number and in bytes: past it
 * they are refused, and nothing has happened to them.
 */
const HELD_MAX = 16_384;
const HELD_BYTES_MAX = 16 * 1024 * 1024;

export class HeldCommands {
  #commands: Uint8Array[] = [];
  #bytes = 0;

  get length(): number {
    return this.#commands.length;
  }

  /** All or none; false: there is no room. */
  hold(commands: readonly Uint8Array[]): boolean {
    let bytes = 0;
    for (const command of commands) bytes += command.length;
    if (this.#commands.length + commands.length > HELD_MAX || this.#bytes + bytes > HELD_BYTES_MAX) return false;
    this.#commands.push(...commands);
    this.#bytes += bytes;
    return true;
  }

  /** All of them; none is held any more. */
  take(): Uint8Array[] {
    const commands = this.#commands;
    this.#commands = [];
    this.#bytes = 0;
    return commands;
  }
}
