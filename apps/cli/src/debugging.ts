import fs from 'node:fs';
import {
  DEBUGGER,
  type HostedPartition,
  KenshoError,
  type ProcessorDebug,
  type TraceOptions,
} from '@kensho/core';
import { GdbServer } from '@kensho/gdb-stub';
import { InvalidArgumentError } from 'commander';

/** Where GDB is served: `[HOST]:PORT`. */
export interface GdbAddress {
  readonly host: string;
  readonly port: number;
}

/** A trace of instructions, as `--trace` asks for it. */
export interface TraceRequest extends Omit<TraceOptions, 'sink'> {
  readonly path: string;
  /** Only so many lines, the last ones, are kept, and written when the run has ended. @default all */
  readonly last?: number;
}

/** How a run is looked into. */
export interface DebugRequest {
  readonly gdb?: GdbAddress;
  /** Whether the guest's first instruction waits for GDB. */
  readonly gdbWait?: boolean;
  readonly trace?: TraceRequest;
  /** Record every branch for the dump at the end. */
  readonly branches?: boolean;
}

/** What a run is looked into with, while it lasts. */
export interface Debugging {
  readonly gdb: GdbAddress | undefined;
  /** Lets go of a partition that is about to end, and whose place another will take. */
  leave(): void;
  /** Goes on with that one, before it runs. */
  join(partition: HostedPartition): void;
  close(exitCode: number): Promise<void>;
}

const LOOPBACK = '127.0.0.1';

/** Parses `[HOST]:PORT`; without a host it is this machine only. IPv6 addresses stand in brackets. */
export function parseGdbAddress(text: string): GdbAddress {
  const groups = /^(?:(?:\[(?<v6>[0-9a-f:.]+)\]|(?<host>[^:[\]]*)):)?(?<port>\d{1,5})$/i.exec(text)?.groups;
  const port = Number(groups?.port ?? Number.NaN);
  if (groups === undefined || !(port <= 65535)) {
    throw new InvalidArgumentError('Give [HOST]:PORT, as in :1234.');
  }
  return { host: groups.v6 || groups.host || LOOPBACK, port };
}

export const TRACE_SYNTAX = 'FILE[,skip=N][,count=N][,last=N][,at=FIRST[-LAST]]';

/** Parses {@link TRACE_SYNTAX}. */
export function parseTrace(text: string): TraceRequest {
  const [path, ...options] = text.split(',');
  if (path === '') throw new InvalidArgumentError(`Give ${TRACE_SYNTAX}.`);
  let request: TraceRequest = { path };
  for (const option of options) request = { ...request, ...parseTraceOption(option) };
  return request;
}

function parseTraceOption(option: string): Partial<TraceRequest> {
  const number = /^(?<name>skip|count|last)=(?<value>\d{1,15})$/.exec(option)?.groups;
  if (number !== undefined) return { [number.name]: Number(number.value) };
  const range = /^at=(0x)?(?<first>[0-9a-f]{1,16})(-(0x)?(?<last>[0-9a-f]{1,16}))?$/i.exec(option)?.groups;
  if (range === undefined) throw new InvalidArgumentError(`'${option}' is none of ${TRACE_SYNTAX}.`);
  const first = BigInt(`0x${range.first}`);
  return { addresses: { first, last: range.last === undefined ? first : BigInt(`0x${range.last}`) } };
}

/** Starts what was asked for, before the guest runs. `onKill` is called when GDB ends the guest. */
export async function startDebugging(
  partition: HostedPartition,
  request: DebugRequest,
  onKill: () => void,
): Promise<Debugging> {
  const trace = request.trace === undefined ? undefined : new TraceFile(request.trace);
  let processor: ProcessorDebug | undefined;
  const look = (into: HostedPartition) => {
    processor = into.services.resolve(DEBUGGER).processor;
    if (processor === undefined) {
      throw new KenshoError('NO_DEBUGGING', 'this kind of processor cannot be debugged: take another');
    }
    if (trace !== undefined) processor.setTrace({ ...request.trace, sink: (line) => trace.write(line) });
    // While every instruction goes the long way, the branches cost nothing more.
    if (request.branches || trace !== undefined) processor.setBranchRecording(true);
  };
  look(partition);
  let server: GdbServer | undefined;
  if (request.gdb !== undefined) {
    server = await GdbServer.listen({ partition, ...request.gdb, onKill });
    if (request.gdbWait) await partition.pause();
  }
  return {
    gdb: server?.address,
    leave() {
      server?.leave();
      if (trace !== undefined) processor?.setTrace(undefined);
      processor = undefined;
    },
    join(next) {
      look(next);
      server?.join(next);
    },
    async close(exitCode) {
      if (trace !== undefined) processor?.setTrace(undefined);
      trace?.close();
      await server?.close(exitCode);
    },
  };
}

/** Lines are written in chunks: a trace has millions. */
const CHUNK_CHARACTERS = 2 ** 18;

/** The file that a trace goes to: all of it, or a ring of its last lines. */
class TraceFile {
  readonly #file: number;
  readonly #last: number | undefined;
  readonly #ring: string[] = [];
  #next = 0;
  #chunk = '';

  constructor({ path, last }: TraceRequest) {
    this.#file = fs.openSync(path, 'w');
    this.#last = last;
  }

  write(line: string): void {
    if (this.#last === undefined) {
      this.#append(line);
    } else if (this.#last > 0) {
      this.#ring[this.#next] = line;
      this.#next = (this.#next + 1) % this.#last;
    }
  }

  close(): void {
    for (const line of [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)])
      this.#append(line);
    fs.writeSync(this.#file, this.#chunk);
    fs.closeSync(this.#file);
  }

  #append(line: string): void {
    this.#chunk += `${line}\n`;
    if (this.#chunk.length < CHUNK_CHARACTERS) return;
    fs.writeSync(this.#file, this.#chunk);
    this.#chunk = '';
  }
}
