import { assert, type DebugPoint, type DebugResume, type DebugStop, HvRegister } from '@kensho/core';
import { runMonitorCommand } from './monitor.ts';
import { encodePacket, PACKET_BYTES_MAX, PacketReader, parseAddress, parseHex } from './packet.ts';
import { fromHex, REGISTERS, SOURCES, TARGET_XML, toHex } from './registers.ts';
import type { GdbTarget } from './target.ts';

/** Error numbers of replies; GDB shows them and no more. */
const ERROR_MEMORY = 'E0e';
const ERROR_INVALID = 'E16';
const OK = 'OK';
/** What is not known gets an empty reply. */
const UNKNOWN = '';

const SIGINT = 2;
const SIGTRAP = 5;
const SIGABRT = 6;

/** Bytes of memory in one reply: two digits each. */
const MEMORY_BYTES_MAX = (PACKET_BYTES_MAX - 64) / 2;

const FEATURES = `PacketSize=${PACKET_BYTES_MAX.toString(16)};QStartNoAckMode+;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+`;

/** Types of `Z` packets. */
const POINT_KINDS: readonly DebugPoint['kind'][] = ['execute', 'execute', 'write', 'read', 'access'];
const SOFTWARE = 0;
const WATCH_PACKETS = { write: 'watch', read: 'rwatch', access: 'awatch', execute: 'watch' } as const;

interface Point extends DebugPoint {
  readonly type: number;
}

/** A range of instructions that are stepped through without telling of each (`vCont;r`). */
interface Range {
  readonly vp: number;
  readonly start: bigint;
  readonly end: bigint;
}

/** One connection of GDB's, whose threads are the VPs: numbered from 1. */
export class GdbSession {
  /** Undefined between two partitions of one machine. */
  #present: GdbTarget | undefined;
  readonly #send: (bytes: Buffer) => void;
  readonly #close: () => void;
  readonly #reader = new PacketReader();
  #acknowledges = true;
  /** The last packet that was sent, for when it did not come over. */
  #sent: Buffer | undefined;
  /** Whether GDB waits to be told that the guest has stopped. */
  #waiting = true;
  /** The guest is to stop as soon as it can: GDB interrupted it, or let it make a step. */
  #stopping = true;
  /** Whether GDB knows stops at its software breakpoints by name. */
  #namesBreaks = false;
  #stop: DebugStop | undefined;
  #vp = 0;
  #resumeVp: number | undefined;
  #points: readonly Point[] = [];
  #range: Range | undefined;

  /**
   * Attaches to the partition and stops it.
   *
   * @param close - called when GDB has let go of the guest
   */
  constructor(target: GdbTarget, send: (bytes: Buffer) => void, close: () => void) {
    this.#present = target;
    this.#send = send;
    this.#close = close;
    target.debugger.attach((stop) => this.#stopped(stop));
    // Nothing is sent before GDB asks why the guest stopped.
    this.#waiting = false;
    target.debugger.pause();
  }

  /** Takes what GDB sent. Never throws, whatever it is. */
  receive(bytes: Uint8Array): void {
    for (const incoming of this.#reader.read(bytes)) {
      switch (incoming.kind) {
        case 'packet':
          if (this.#acknowledges) this.#send(Buffer.from('+'));
          this.#answer(incoming.data);
          break;
        case 'broken':
          if (this.#acknowledges) this.#send(Buffer.from('-'));
          break;
        case 'nak':
          if (this.#sent !== undefined) this.#send(this.#sent);
          break;
        case 'interrupt':
          this.#stopping = true;
          if (this.#present?.debugger.stopped === false) this.#present.debugger.pause();
          break;
        case 'ack':
          this.#sent = undefined;
      }
    }
  }

  /** The guest has ended: tells GDB if it waits for that. */
  ended(exitCode: number): void {
    if (this.#waiting) this.#reply(`W${hexByte(exitCode & 0xff)}`);
    this.#waiting = false;
  }

  /** The connection is gone: the guest goes on as if it had never been. */
  disconnect(): void {
    this.#present?.debugger.detach();
  }

  /** The partition is about to end, and another will take its place. */
  leave(): void {
    this.disconnect();
    this.#present = undefined;
  }

  /**
   * Attaches to the partition that has taken the place of the one before. It stops before its first instruction where
   * the guest was to stop, or stood still.
   */
  join(target: GdbTarget): void {
    this.#present = target;
    this.#range = undefined;
    this.#stop = undefined;
    this.#vp = 0;
    this.#resumeVp = undefined;
    target.debugger.attach((stop) => this.#stopped(stop));
    target.debugger.setPoints(this.#points);
    if (this.#stopping || !this.#waiting) target.debugger.pause();
  }

  /** While there is one: what is asked for is that of a guest which stands still. */
  get #target(): GdbTarget {
    assert(this.#present !== undefined, 'GDB is answered only where there is a partition');
    return this.#present;
  }

  #stopped(stop: DebugStop): void {
    const range = this.#range;
    if (range !== undefined && stop.reason === 'step' && stop.vpIndex === range.vp) {
      const rip = this.#register(range.vp, HvRegister.RIP);
      if (rip >= range.start && rip < range.end && !this.#points.some(({ address }) => address === rip)) {
        this.#target.debugger.resume({ step: range.vp });
        return;
      }
    }
    this.#range = undefined;
    this.#stopping = false;
    this.#stop = stop;
    if (stop.reason !== 'pause') this.#vp = stop.vpIndex;
    if (!this.#waiting) return;
    this.#waiting = false;
    this.#reply(this.#stopReply(stop));
  }

  #stopReply(stop: DebugStop): string {
    const thread = `thread:${(this.#vp + 1).toString(16)};`;
    switch (stop.reason) {
      case 'pause':
        return `T${hexByte(SIGINT)}${thread}`;
      case 'triple-fault':
        return `T${hexByte(SIGABRT)}${thread}`;
      case 'watchpoint': {
        const { kind } = this.#points.find(({ address }) => address === stop.address) ?? { kind: 'write' };
        return `T${hexByte(SIGTRAP)}${WATCH_PACKETS[kind]}:${stop.address.toString(16)};${thread}`;
      }
      case 'breakpoint': {
        const rip = this.#register(stop.vpIndex, HvRegister.RIP);
        const software = this.#points.some(({ type, address }) => type === SOFTWARE && address === rip);
        const name = this.#namesBreaks ? `${software ? 'sw' : 'hw'}break:;` : '';
        return `T${hexByte(SIGTRAP)}${name}${thread}`;
      }
      case 'step':
        return `T${hexByte(SIGTRAP)}${thread}`;
    }
  }

  #reply(text: string): void {
    const packet = encodePacket(text);
    this.#sent = this.#acknowledges ? packet : undefined;
    this.#send(packet);
  }

  /** Serves a packet. While the guest runs GDB sends none; whoever does gets no reply. */
  #answer(data: Buffer): void {
    if (this.#waiting || this.#present === undefined) return;
    const text = data.toString('latin1');
    const reply = this.#serve(text[0] ?? '', text.slice(1), data);
    if (reply !== undefined) this.#reply(reply);
  }

  /** The reply, undefined where there is none or it comes later. */
  #serve(command: string, rest: string, data: Buffer): string | undefined {
    switch (command) {
      case '?':
        if (this.#stop !== undefined) return this.#stopReply(this.#stop);
        this.#waiting = true;
        return undefined;
      case 'q':
      case 'Q':
        return this.#query(command + rest);
      case 'v':
        return this.#verbose(rest);
      case 'H':
        return this.#selectThread(rest);
      case 'T':
        return this.#parseThread(rest) === undefined ? ERROR_INVALID : OK;
      case 'g':
        return this.#readRegisters();
      case 'G':
        return this.#writeRegisters(rest);
      case 'p':
        return this.#readRegister(rest);
      case 'P':
        return this.#writeRegister(rest);
      case 'm':
        return this.#readMemory(rest);
      case 'M':
      case 'X':
        return this.#writeMemory(command, rest, data);
      case 'Z':
      case 'z':
        return this.#changePoint(command === 'Z', rest);
      case 'c':
      case 's':
        return this.#continueAt(command === 's', rest);
      case 'C':
      case 'S':
        // Signals mean nothing to a machine.
        return this.#continueAt(command === 'S', rest.split(';')[1] ?? '');
      case 'D':
        this.#reply(OK);
        this.disconnect();
        this.#close();
        return undefined;
      case 'k':
        this.#target.kill();
        this.disconnect();
        return undefined;
      default:
        return UNKNOWN;
    }
  }

  #query(text: string): string | undefined {
    const [name] = text.split(/[:,]/, 1);
    switch (name) {
      case 'qSupported':
        this.#namesBreaks = /[:;]swbreak\+/.test(text);
        return FEATURES;
      case 'QStartNoAckMode':
        this.#reply(OK);
        this.#acknowledges = false;
        this.#sent = undefined;
        return undefined;
      case 'qXfer':
        return transfer(text);
      case 'qC':
        return `QC${(this.#vp + 1).toString(16)}`;
      case 'qfThreadInfo':
        return `m${Array.from({ length: this.#target.vpCount }, (_, i) => (i + 1).toString(16)).join(',')}`;
      case 'qsThreadInfo':
        return 'l';
      case 'qThreadExtraInfo': {
        const vp = this.#parseThread(text.slice(name.length + 1));
        return vp === undefined ? ERROR_INVALID : Buffer.from(`VP ${vp}`).toString('hex');
      }
      case 'qAttached':
        return '1';
      case 'qSymbol':
        return OK;
      case 'qRcmd':
        return this.#monitor(text.slice(name.length + 1));
      default:
        return UNKNOWN;
    }
  }

  #verbose(rest: string): string | undefined {
    if (rest === 'Cont?') return 'vCont;c;C;s;S;r';
    if (rest.startsWith('Cont;')) return this.#resumeEach(rest.slice(5));
    if (rest.startsWith('Kill;')) {
      this.#reply(OK);
      this.#target.kill();
      this.disconnect();
      return undefined;
    }
    return UNKNOWN;
  }

  /** A thread's VP; `0`, any thread, is the current one. Undefined where there is none. */
  #parseThread(text: string): number | undefined {
    const id = parseHex(text);
    if (id === 0) return this.#vp;
    return id !== undefined && id <= this.#target.vpCount ? id - 1 : undefined;
  }

  #selectThread(rest: string): string {
    const all = rest.slice(1) === '-1';
    const vp = all ? this.#vp : this.#parseThread(rest.slice(1));
    if (vp === undefined) return ERROR_INVALID;
    if (rest[0] === 'c') {
      this.#resumeVp = all || parseHex(rest.slice(1)) === 0 ? undefined : vp;
    } else {
      this.#vp = vp;
    }
    return OK;
  }

  #register(vp: number, register: number): bigint {
    return this.#target.registers.get(vp, [register])[0];
  }

  #readRegisters(): string {
    const values = this.#target.registers.get(this.#vp, SOURCES);
    const bySource = new Map(SOURCES.map((source, i) => [source, values[i]]));
    return REGISTERS.map(({ source, bits, get }) => toHex(get(bySource.get(source) ?? 0n), bits)).join('');
  }

  #writeRegisters(text: string): string {
    const values: bigint[] = [];
    let at = 0;
    for (const { bits } of REGISTERS) {
      const value = fromHex(text.slice(at, at + bits / 4), bits);
      if (value === undefined) return ERROR_INVALID;
      values.push(value);
      at += bits / 4;
    }
    if (at !== text.length) return ERROR_INVALID;
    const { registers } = this.#target;
    const before = registers.get(this.#vp, SOURCES);
    const after = new Map(SOURCES.map((source, i) => [source, before[i]]));
    for (const [i, { source, set }] of REGISTERS.entries()) {
      after.set(source, set(after.get(source) ?? 0n, values[i]));
    }
    const changed = SOURCES.filter((source, i) => after.get(source) !== before[i]);
    return this.#set(changed.map((source) => [source, after.get(source) ?? 0n] as const));
  }

  #readRegister(rest: string): string {
    const register = REGISTERS[parseHex(rest) ?? -1];
    if (register === undefined) return ERROR_INVALID;
    return toHex(register.get(this.#register(this.#vp, register.source)), register.bits);
  }

  #writeRegister(rest: string): string {
    const [number, text = ''] = rest.split('=');
    const register = REGISTERS[parseHex(number) ?? -1];
    const value = register === undefined ? undefined : fromHex(text, register.bits);
    if (register === undefined || value === undefined) return ERROR_INVALID;
    const { source, set } = register;
    return this.#set([[source, set(this.#register(this.#vp, source), value)]]);
  }

  #set(values: readonly (readonly [register: number, value: bigint])[]): string {
    try {
      this.#target.registers.set(this.#vp, values);
      return OK;
    } catch {
      // What the processor refuses: a control register's reserved bits.
      return ERROR_INVALID;
    }
  }

  #readMemory(rest: string): string {
    const [address, length] = range(rest);
    if (address === undefined || length === undefined) return ERROR_INVALID;
    const bytes = Buffer.alloc(Math.min(length, MEMORY_BYTES_MAX));
    const count = this.#target.debugger.readMemory(this.#vp, address, bytes);
    return count === 0 && length > 0 ? ERROR_MEMORY : bytes.toString('hex', 0, count);
  }

  #writeMemory(command: string, rest: string, data: Buffer): string {
    const colon = rest.indexOf(':');
    const [address, length] = range(rest.slice(0, Math.max(0, colon)));
    if (address === undefined || length === undefined) return ERROR_INVALID;
    const bytes = command === 'X' ? data.subarray(colon + 2) : Buffer.from(rest.slice(colon + 1), 'hex');
    if (bytes.length !== length) return ERROR_INVALID;
    return this.#target.debugger.writeMemory(this.#vp, address, bytes) === length ? OK : ERROR_MEMORY;
  }

  #changePoint(insert: boolean, rest: string): string {
    const [typeText, addressText, sizeText = ''] = rest.split(';', 1)[0].split(',');
    const type = parseHex(typeText);
    const kind = POINT_KINDS[type ?? -1];
    if (type === undefined || kind === undefined) return UNKNOWN;
    const address = parseAddress(addressText ?? '');
    const size = parseHex(sizeText);
    const empty = size === 0 && kind !== 'execute';
    if (address === undefined || size === undefined || empty) return ERROR_INVALID;
    // For `execute` the size is a kind of breakpoint, of which there is one.
    const point: Point = { type, kind, address, sizeBytes: kind === 'execute' ? 1 : size };
    const others = this.#points.filter(
      (one) => one.type !== type || one.address !== address || one.sizeBytes !== point.sizeBytes,
    );
    const points = insert ? [...others, point] : others;
    if (!this.#target.debugger.setPoints(points)) return ERROR_INVALID;
    this.#points = points;
    return OK;
  }

  #continueAt(step: boolean, addressText: string): string | undefined {
    const vp = this.#resumeVp ?? this.#vp;
    if (addressText !== '') {
      const address = parseAddress(addressText);
      if (address === undefined) return ERROR_INVALID;
      this.#target.registers.set(vp, [[HvRegister.RIP, address]]);
    }
    this.#resume(step ? { step: vp, only: this.#resumeVp } : { only: this.#resumeVp });
    return undefined;
  }

  /** `vCont`: an action for each thread, the first that names it. One thread can step. */
  #resumeEach(text: string): string | undefined {
    let step: number | undefined;
    let range: Range | undefined;
    const running = new Set<number>();
    const decided = new Set<number>();
    for (const part of text.split(';')) {
      const [action, thread] = part.split(':');
      const all = thread === undefined || thread === '-1';
      const vp = all ? undefined : this.#parseThread(thread);
      if (!/^[cCsSr]/.test(action) || (!all && vp === undefined)) return ERROR_INVALID;
      const vps = vp === undefined ? Array.from({ length: this.#target.vpCount }, (_, i) => i) : [vp];
      for (const one of vps.filter((index) => !decided.has(index))) {
        decided.add(one);
        running.add(one);
        if (/^[sSr]/.test(action)) step ??= one;
      }
      if (action.startsWith('r')) {
        const [start, end] = action.slice(1).split(',').map(parseAddress);
        if (start === undefined || end === undefined) return ERROR_INVALID;
        if (step !== undefined) range = { vp: step, start, end };
      }
    }
    if (running.size === 0) return ERROR_INVALID;
    const only = running.size === 1 && this.#target.vpCount > 1 ? [...running][0] : undefined;
    this.#range = range;
    this.#resume({ step, only });
    return undefined;
  }

  #resume(how: DebugResume): void {
    this.#waiting = true;
    this.#stopping = how.step !== undefined;
    this.#stop = undefined;
    this.#target.debugger.resume(how);
  }

  #monitor(hex: string): string {
    const command = Buffer.from(hex, 'hex').toString('utf8');
    const output = runMonitorCommand(command, this.#target, this.#vp);
    for (let at = 0; at < output.length; at += MEMORY_BYTES_MAX) {
      this.#send(encodePacket(`O${Buffer.from(output.slice(at, at + MEMORY_BYTES_MAX)).toString('hex')}`));
    }
    return OK;
  }
}

/** `qXfer:features:read:target.xml:OFFSET,LENGTH` */
function transfer(text: string): string {
  const groups = /^qXfer:features:read:target\.xml:(?<offset>[0-9a-f]+),(?<length>[0-9a-f]+)$/i.exec(
    text,
  )?.groups;
  if (groups === undefined) return /^qXfer:features:read:/.test(text) ? 'E00' : UNKNOWN;
  const offset = Math.min(Number.parseInt(groups.offset, 16), TARGET_XML.length);
  const length = Math.min(Number.parseInt(groups.length, 16), PACKET_BYTES_MAX / 2);
  const part = TARGET_XML.slice(offset, offset + length);
  return `${offset + part.length < TARGET_XML.length ? 'm' : 'l'}${part}`;
}

/** `ADDRESS,LENGTH` */
function range(text: string): [address: bigint | undefined, length: number | undefined] {
  const [address = '', length = ''] = text.split(',');
  return [parseAddress(address), parseHex(length)];
}

function hexByte(value: number): string {
  return value.toString(16).padStart(2, '0');
}
