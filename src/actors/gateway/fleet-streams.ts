/**
 * FleetStreams: the ledger streams on which LDBs say who they are, at a node or at a relay: what they report goes into the
 * table, and they are asked to report what somebody waits for.
 */
import { type ByteReader, ByteWriter } from '../../core/base/bytes.ts';
import type { LedgerFilter } from '../../core/model/ledger-filter.ts';
import { FRAME, PART } from '../../core/wire/client.ts';
import { decodeReport, type LdbStream } from '../../core/wire/fleet.ts';
import { FleetTable, type FleetTableOptions } from '../fleet-table.ts';
import type { Connection } from './connection.ts';

export interface FleetStream {
  readonly connection: Connection;
  readonly request: number;
}

/** Does not read: what it is asked would only wait with the rest. */
const BUFFERED_BYTES_MAX = 1024 * 1024;

export class FleetStreams {
  readonly table: FleetTable;
  readonly #streams = new Map<number, FleetStream>();

  constructor(options: FleetTableOptions) {
    this.table = new FleetTable(options);
  }

  /** Stream `sub` of a connection is that of an LDB. */
  joined(sub: number, stream: FleetStream, ldb: LdbStream, filter: LedgerFilter | undefined): void {
    this.#streams.set(sub, stream);
    this.table.join(sub, ldb, filter);
  }

  /** True: it was one of these. */
  left(sub: number): boolean {
    if (!this.#streams.delete(sub)) return false;
    this.table.leave(sub);
    return true;
  }

  /** What an LDB says; throws PROTOCOL_ERROR when that is nothing. */
  report(sub: number | undefined, reader: ByteReader): void {
    const report = decodeReport(reader);
    reader.end();
    if (sub !== undefined) this.table.report(sub, report);
  }

  /** Those that do not show it are to say so when they do. */
  ask(revision: number): void {
    for (const sub of this.table.unasked(revision)) {
      const stream = this.#streams.get(sub);
      if (stream === undefined || stream.connection.door.bufferedBytes > BUFFERED_BYTES_MAX) continue;
      const frame = new ByteWriter(24).u8(FRAME.stream).varint(stream.request).u8(PART.asked).u64(revision);
      stream.connection.door.send(frame.take());
      this.table.wasAsked(sub, revision);
    }
  }
}
