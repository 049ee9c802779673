import { GuestEvent, GuestIoError, type GuestTask } from '@kensho/core';
import { dataViewOf } from '../frame/packet-layout.ts';
import type { ReceivedFrame } from '../guest-interface.ts';
import { PacketIdFlag, PacketInfoSet, ReceiveChecksum, vlanTagOf } from '../protocol/packet-info.ts';
import { RNDIS_HEADER_BYTES, RNDIS_PACKET_BYTES, RndisPacket } from '../protocol/rndis.ts';

const GOOD = ReceiveChecksum.TCP_SUCCEEDED | ReceiveChecksum.UDP_SUCCEEDED;

/** A packet of the host's whose sections the guest keeps while too many frames wait. */
interface Held {
  giveBack(): void;
}

/**
 * Frames on their way from the host to the guest's programs. Where these are slow, the sections of what came last
 * stay with the guest, so that the host has to wait, too.
 */
export class ReceiveQueue {
  readonly #limit: number;
  readonly #frames: ReceivedFrame[] = [];
  readonly #held: Held[] = [];
  readonly #arrived = new GuestEvent();
  readonly #info = new PacketInfoSet();
  /** Parts of a coalesced segment, the first of which says what goes for all. */
  #parts: ReceivedFrame[] = [];
  #stopped = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Takes an RNDIS packet message, which stays where it is; false where it makes no sense. */
  take(message: Uint8Array): boolean {
    if (message.length < RNDIS_PACKET_BYTES) return false;
    const packet = RndisPacket.read(message);
    const dataStart = RNDIS_HEADER_BYTES + packet.dataOffset;
    const infoStart = RNDIS_HEADER_BYTES + packet.perPacketInfoOffset;
    const infoEnd = infoStart + packet.perPacketInfoLength;
    if (packet.length > message.length || dataStart + packet.dataLength > packet.length) return false;
    const info = this.#info;
    if (infoEnd > packet.length || !info.read(dataViewOf(message), infoStart, infoEnd)) return false;
    const frame: ReceivedFrame = {
      bytes: message.slice(dataStart, dataStart + packet.dataLength),
      vlanTag: info.vlan === undefined ? undefined : vlanTagOf(info.vlan),
      checksumGood: info.checksum === undefined ? undefined : (info.checksum & GOOD) !== 0,
      hash: info.hash,
    };
    return this.#assemble(frame, info.packetId ?? 0);
  }

  /** Gives a packet's sections back, at once or when programs have caught up. */
  done(packet: Held): void {
    if (this.#frames.length <= this.#limit) packet.giveBack();
    else this.#held.push(packet);
  }

  tryReceive(): ReceivedFrame | undefined {
    const frame = this.#frames.shift();
    if (this.#held.length > 0 && this.#frames.length <= this.#limit / 2) {
      for (const packet of this.#held.splice(0)) packet.giveBack();
    }
    return frame;
  }

  *receive(): GuestTask<ReceivedFrame> {
    for (;;) {
      const frame = this.tryReceive();
      // Of all that wait only one takes the event.
      if (this.#frames.length > 0 || this.#stopped) this.#arrived.set();
      if (frame !== undefined) return frame;
      if (this.#stopped) throw new GuestIoError('the network adapter was taken away');
      yield* this.#arrived.wait();
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#held.length = 0;
    this.#arrived.set();
  }

  #assemble(frame: ReceivedFrame, flags: number): boolean {
    if ((flags & PacketIdFlag.SUB_ALLOCATION) === 0) {
      this.#parts = [];
      this.#push(frame);
      return true;
    }
    if ((flags & PacketIdFlag.FIRST_FRAGMENT) !== 0) this.#parts = [];
    else if (this.#parts.length === 0) return false;
    this.#parts.push(frame);
    if ((flags & PacketIdFlag.LAST_FRAGMENT) === 0) return true;
    const bytes = new Uint8Array(this.#parts.reduce((sum, part) => sum + part.bytes.length, 0));
    let at = 0;
    for (const part of this.#parts) {
      bytes.set(part.bytes, at);
      at += part.bytes.length;
    }
    this.#push({ ...this.#parts[0], bytes });
    this.#parts = [];
    return true;
  }

  #push(frame: ReceivedFrame): void {
    this.#frames.push(frame);
    this.#arrived.set();
  }
}
