import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { InterfaceId } from '../protocol/device-classes.ts';
import { gpadlMessages } from '../protocol/gpadl.ts';
import {
  bareMessage,
  ChannelMessageType,
  CLOSECHANNEL,
  GPADL_BODY,
  GPADL_CREATED,
  GPADL_HEADER,
  GPADL_TEARDOWN,
  GPADL_TORNDOWN,
  INITIATE_CONTACT,
  MESSAGE_HEADER,
  MODIFYCHANNEL,
  MODIFYCHANNEL_RESPONSE,
  NtStatus,
  OFFERCHANNEL,
  OPENCHANNEL,
  OPENCHANNEL_RESULT,
  RELID_RELEASED,
  RESCIND_CHANNELOFFER,
  TL_CONNECT_REQUEST,
  TL_CONNECT_RESULT,
  VERSION_RESPONSE,
  VMBUS_VERSIONS,
  VmbusVersion,
} from '../protocol/messages.ts';
import type { BusChannel, ChannelDescription, OpenRequest } from './bus-channel.ts';
import { ControlPlane, type ControlPlaneEffects, type ControlPlaneOptions } from './control-plane.ts';
import type { GpadlEntry } from './gpadl-table.ts';

const T = ChannelMessageType;

/** Records what the control plane does, and checks what must hold whatever the guest does. */
class World implements ControlPlaneEffects {
  readonly plane: ControlPlane;
  sent: Uint8Array[] = [];
  readonly open = new Map<BusChannel, OpenRequest>();
  readonly closing = new Set<BusChannel>();
  readonly gpadls = new Set<GpadlEntry<BusChannel>>();
  readonly revoked: BusChannel[] = [];
  readonly faults: string[] = [];
  readonly targets: (readonly [vpIndex: number, sint: number])[] = [];
  readonly vps = new Map<BusChannel, number>();
  interruptPage: bigint | undefined;
  refuseOpen = false;
  closeAtOnce = true;

  constructor(options?: ControlPlaneOptions) {
    this.plane = new ControlPlane(this, options);
  }

  send(message: Uint8Array): void {
    this.sent.push(message);
  }
  setMessageTarget(vpIndex: number, sint: number): boolean {
    this.targets.push([vpIndex, sint]);
    return vpIndex < 4 && sint > 0 && sint < 16;
  }
  setInterruptPage(gpa: bigint | undefined): void {
    this.interruptPage = gpa;
  }
  openChannel(channel: BusChannel, request: OpenRequest): boolean {
    expect(this.open.has(channel) || this.closing.has(channel)).toBe(false);
    if (this.refuseOpen || request.targetVp >= 4) return false;
    this.open.set(channel, request);
    return true;
  }
  closeChannel(channel: BusChannel): void {
    expect(this.open.has(channel)).toBe(true);
    this.closing.add(channel);
    if (this.closeAtOnce) this.finishClose(channel);
  }
  setTargetVp(channel: BusChannel, vpIndex: number): boolean {
    expect(this.open.has(channel)).toBe(true);
    if (vpIndex >= 4) return false;
    this.vps.set(channel, vpIndex);
    return true;
  }
  gpadlCreated(gpadl: GpadlEntry<BusChannel>): void {
    this.gpadls.add(gpadl);
  }
  gpadlTornDown(gpadl: GpadlEntry<BusChannel>): void {
    expect(this.gpadls.delete(gpadl)).toBe(true);
    expect(this.open.get(gpadl.owner)?.ringGpadl).not.toBe(gpadl.handle);
    for (const channel of this.closing) expect(channel.primary).not.toBe(gpadl.owner.primary);
  }
  channelRevoked(channel: BusChannel): void {
    expect(this.open.has(channel)).toBe(false);
    expect(this.revoked).not.toContain(channel);
    this.revoked.push(channel);
  }
  fault(kind: string): void {
    this.faults.push(kind);
  }

  finishClose(channel: BusChannel): void {
    this.closing.delete(channel);
    this.open.delete(channel);
    this.plane.closeFinished(channel);
  }

  /** Posts a message; the answers since the last call, by type. */
  post(message: Uint8Array): Uint8Array[] {
    this.plane.receive(message);
    return this.take();
  }
  take(): Uint8Array[] {
    return this.sent.splice(0);
  }

  connect(version: number = VmbusVersion.WIN10_V5_3): Uint8Array[] {
    expect(VERSION_RESPONSE.read(this.post(contact(version))[0])).toMatchObject({ versionSupported: 1 });
    return this.post(bareMessage(T.REQUESTOFFERS));
  }
  createGpadl(relid: number, handle: number, pageCount = 8): number {
    const answers = gpadlMessages(relid, handle, range(pageCount)).flatMap((message) => this.post(message));
    expect(answers).toHaveLength(1);
    expect(GPADL_CREATED.read(answers[0])).toMatchObject({ relid, gpadl: handle });
    return GPADL_CREATED.read(answers[0]).status;
  }
  openOn(relid: number, handle: number, fields: object = {}): number {
    const answers = this.post(openMessage(relid, handle, fields));
    expect(types(answers)).toEqual([T.OPENCHANNEL_RESULT]);
    expect(OPENCHANNEL_RESULT.read(answers[0])).toMatchObject({ relid });
    return OPENCHANNEL_RESULT.read(answers[0]).status;
  }
  /** Connected, with one channel open on GPADL 100. */
  withOpenChannel(): BusChannel {
    const channel = this.plane.offer(description(1));
    this.connect();
    expect(this.createGpadl(1, 100)).toBe(0);
    expect(this.openOn(1, 100)).toBe(0);
    return channel;
  }
}

const types = (messages: readonly Uint8Array[]) => messages.map((m) => MESSAGE_HEADER.read(m).messageType);

function contact(version: number, fields: object = {}): Uint8Array {
  return INITIATE_CONTACT.encode({ messageType: T.INITIATE_CONTACT, version, messageSint: 2, ...fields });
}
function openMessage(relid: number, ringGpadl: number, fields: object = {}): Uint8Array {
  const messageType = T.OPENCHANNEL;
  return OPENCHANNEL.encode({
    messageType,
    relid,
    openId: relid,
    ringGpadl,
    downstreamPageOffset: 4,
    ...fields,
  });
}
const closeMessage = (relid: number) => CLOSECHANNEL.encode({ messageType: T.CLOSECHANNEL, relid });
const teardown = (relid: number, gpadl: number) =>
  GPADL_TEARDOWN.encode({ messageType: T.GPADL_TEARDOWN, relid, gpadl });
const release = (relid: number) => RELID_RELEASED.encode({ messageType: T.RELID_RELEASED, relid });
const modify = (relid: number, targetVp: number) =>
  MODIFYCHANNEL.encode({ messageType: T.MODIFYCHANNEL, relid, targetVp });

function range(pageCount: number) {
  return {
    offset: 0,
    sizeBytes: pageCount * 4096,
    pages: Array.from({ length: pageCount }, (_, i) => 0x100 + i),
  };
}
function description(instance: number, order = 100): ChannelDescription {
  return {
    interfaceId: InterfaceId.SCSI,
    instanceId: `00000000-0000-0000-0000-${instance.toString(16).padStart(12, '0')}`,
    flags: 0,
    mmioMegabytes: 0,
    userData: new Uint8Array(120),
    order,
  };
}

describe('contact', () => {
  it.each(VMBUS_VERSIONS)('agrees to version 0x%s', (version) => {
    const world = new World();
    const [answer] = world.post(contact(version));
    expect(VERSION_RESPONSE.read(answer)).toEqual({
      messageType: T.VERSION_RESPONSE,
      versionSupported: 1,
      connectionState: 0,
      messageConnectionId: version >= VmbusVersion.WIN10_V5 ? 4 : version,
    });
    expect(world.plane.version).toBe(version);
  });

  it('refuses versions that it does not know, newer ones than it may, and VTL 1', () => {
    const world = new World({ maxVersion: VmbusVersion.WIN10 });
    for (const message of [
      contact(0x0006_0000),
      contact(0x0001_0001),
      contact(VmbusVersion.WIN10_V5_3),
      contact(VmbusVersion.WIN10_V5_3, { messageVtl: 1 }),
    ]) {
      expect(VERSION_RESPONSE.read(world.post(message)[0])).toMatchObject({ versionSupported: 0 });
      expect(world.post(bareMessage(T.REQUESTOFFERS))).toEqual([]);
    }
    expect(VERSION_RESPONSE.read(world.post(contact(VmbusVersion.WIN10))[0]).versionSupported).toBe(1);
  });

  it('sends messages to the VP and SINT of the contact, and answers one that names none at VP 0', () => {
    const world = new World();
    world.post(contact(VmbusVersion.WIN10_V5, { targetVp: 3, messageSint: 5 }));
    world.post(contact(VmbusVersion.WIN10, { targetVp: 1, messageSint: 5 }));
    expect(
      VERSION_RESPONSE.read(world.post(contact(VmbusVersion.WIN10_V5, { targetVp: 9 }))[0]),
    ).toMatchObject({
      versionSupported: 0,
      connectionState: 2,
    });
    expect(world.targets).toEqual([
      [3, 5],
      [1, 2],
      [9, 2],
      [0, 2],
    ]);
  });

  it('is a full reset', () => {
    const world = new World();
    const channel = world.withOpenChannel();
    world.closeAtOnce = false;
    expect(world.post(contact(VmbusVersion.WIN10_V5))).toEqual([]);
    expect(world.plane.version).toBe(0);
    world.finishClose(channel);
    expect(types(world.take())).toEqual([T.VERSION_RESPONSE]);
    expect(world.gpadls.size).toBe(0);
    expect(types(world.post(bareMessage(T.REQUESTOFFERS)))).toEqual([T.OFFERCHANNEL, T.ALLOFFERS_DELIVERED]);
    expect(world.createGpadl(1, 100)).toBe(0);
    expect(world.openOn(1, 100)).toBe(0);
  });
});

describe('offers', () => {
  it('come in order of rank, then of creation, with dedicated interrupts and connections', () => {
    const world = new World();
    world.plane.offer(description(1, 50));
    world.plane.offer(description(2, 10));
    world.plane.offer(description(3, 50));
    const answers = world.connect();
    expect(types(answers)).toEqual([T.OFFERCHANNEL, T.OFFERCHANNEL, T.OFFERCHANNEL, T.ALLOFFERS_DELIVERED]);
    const offers = answers.slice(0, 3).map((m) => OFFERCHANNEL.read(m));
    expect(offers.map((o) => [o.instanceId.at(-1), o.relid, o.connectionId])).toEqual([
      ['2', 1, 0x2001],
      ['1', 2, 0x2002],
      ['3', 3, 0x2003],
    ]);
    expect(offers[0]).toMatchObject({ isDedicatedInterrupt: 1, monitorId: 0xff, monitorAllocated: 0 });
    expect(world.post(bareMessage(T.REQUESTOFFERS))).toEqual([]);
    expect(world.faults).toEqual(['vmbus.message.state']);
  });

  it('refuses duplicates, and the 2048th channel', () => {
    const world = new World();
    for (let i = 1; i <= 2047; i++) world.plane.offer(description(i));
    expect(() => world.plane.offer(description(5))).toThrow(/DUPLICATE_OFFER|offered already/);
    expect(() => world.plane.offer(description(5000))).toThrow(/at most 2047/);
  });

  it('are made at once while a guest is connected, and rescinded', () => {
    const world = new World();
    world.connect();
    const channel = world.plane.offer(description(1));
    expect(types(world.take())).toEqual([T.OFFERCHANNEL]);
    world.plane.revoke(channel);
    world.plane.revoke(channel);
    const rescind = world.take();
    expect(types(rescind)).toEqual([T.RESCIND_CHANNELOFFER]);
    expect(RESCIND_CHANNELOFFER.read(rescind[0]).relid).toBe(1);
    expect(world.revoked).toEqual([channel]);
  });

  it('reuse a relid, and GUIDs, only once the guest released them', () => {
    const world = new World();
    world.connect();
    world.plane.revoke(world.plane.offer(description(1)));
    world.take();
    const again = world.plane.offer(description(1));
    expect(world.take()).toEqual([]);
    world.plane.offer(description(2));
    expect(OFFERCHANNEL.read(world.take()[0]).relid).toBe(2);
    const offers = world.post(release(1));
    expect(types(offers)).toEqual([T.OFFERCHANNEL]);
    expect(again.relid).toBe(1);
  });

  it('are not repeated to a guest that declined one, until it connects again', () => {
    const world = new World();
    const channel = world.plane.offer(description(1));
    world.connect();
    expect(world.post(release(1))).toEqual([]);
    expect(channel.guest).toBe('declined');
    expect(types(world.connect())).toEqual([T.OFFERCHANNEL, T.ALLOFFERS_DELIVERED]);
  });

  it('are held back while all relids are taken', () => {
    const world = new World();
    world.connect();
    for (let i = 1; i <= 2047; i++) world.plane.revoke(world.plane.offer(description(i)));
    world.take();
    world.plane.offer(description(5000));
    expect(world.take()).toEqual([]);
    expect(OFFERCHANNEL.read(world.post(release(77))[0]).relid).toBe(77);
  });
});

describe('GPADLs', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
    world.plane.offer(description(1));
    world.plane.offer(description(2));
    world.connect();
  });

  it('are put together from a header and bodies', () => {
    const messages = gpadlMessages(1, 7, range(64));
    expect(messages).toHaveLength(3);
    expect(world.post(messages[0])).toEqual([]);
    expect(world.post(messages[1])).toEqual([]);
    expect(GPADL_CREATED.read(world.post(messages[2])[0])).toMatchObject({ relid: 1, gpadl: 7, status: 0 });
    const [gpadl] = [...world.gpadls];
    expect([...(gpadl.ranges?.[0].pages ?? [])]).toEqual(range(64).pages);
  });

  it('may come in messages longer than they need', () => {
    const [message] = gpadlMessages(1, 7, range(2));
    const padded = new Uint8Array(240).fill(0xee);
    padded.set(message);
    expect(GPADL_CREATED.read(world.post(padded)[0]).status).toBe(0);
  });

  it('may have several ranges', () => {
    const buffer = new DataView(new ArrayBuffer(40));
    buffer.setUint32(0, 100, true);
    buffer.setUint32(4, 4090, true);
    buffer.setBigUint64(8, 5n, true);
    buffer.setBigUint64(16, 6n, true);
    buffer.setUint32(24, 4096, true);
    buffer.setBigUint64(32, 9n, true);
    const fields = { messageType: T.GPADL_HEADER, relid: 1, gpadl: 7, rangeBufferLength: 40, rangeCount: 2 };
    const message = new Uint8Array([...GPADL_HEADER.encode(fields), ...new Uint8Array(buffer.buffer)]);
    expect(GPADL_CREATED.read(world.post(message)[0]).status).toBe(0);
    expect([...world.gpadls][0].ranges?.map((r) => [r.offset, r.sizeBytes, ...r.pages])).toEqual([
      [4090, 100, 5, 6],
      [0, 4096, 9],
    ]);
  });

  it('are refused where a handle is taken, a channel is not there, or a range makes no sense', () => {
    expect(world.createGpadl(1, 7)).toBe(0);
    expect(world.createGpadl(2, 7)).toBe(NtStatus.DUPLICATE_OBJECTID);
    expect(world.createGpadl(99, 8)).toBe(NtStatus.NO_SUCH_DEVICE);
    const broken = (edit: (message: Uint8Array) => void) => {
      const [message] = gpadlMessages(1, 9, range(2));
      edit(message);
      return GPADL_CREATED.read(world.post(message)[0]).status;
    };
    expect(broken((m) => GPADL_HEADER.write(m, { rangeCount: 0 }))).toBe(NtStatus.INVALID_PARAMETER);
    expect(broken((m) => GPADL_HEADER.write(m, { rangeCount: 2 }))).toBe(NtStatus.INVALID_PARAMETER);
    expect(broken((m) => m.fill(0, 20, 24))).toBe(NtStatus.INVALID_PARAMETER);
    expect(broken((m) => m.fill(0xff, 20, 24))).toBe(NtStatus.INVALID_PARAMETER);
    expect(broken((m) => m.fill(0xff, 24, 26))).toBe(NtStatus.INVALID_PARAMETER);
    expect(broken((m) => m.fill(0xff, 28, 36))).toBe(NtStatus.INVALID_PARAMETER);
    expect(world.gpadls.size).toBe(1);
  });

  it('are bounded: in flight, for a channel, in all, and in pages', () => {
    const bounded = new World({ gpadlLimits: { inFlight: 2, perChannel: 3, total: 4, pages: 100 } });
    bounded.plane.offer(description(1));
    bounded.plane.offer(description(2));
    bounded.connect();
    const first = (handle: number) => bounded.post(gpadlMessages(1, handle, range(27))[0]);
    expect([first(1), first(2)]).toEqual([[], []]);
    expect(GPADL_CREATED.read(first(3)[0]).status).toBe(NtStatus.INSUFFICIENT_RESOURCES);
    for (const handle of [1, 2]) bounded.post(teardown(1, handle));
    expect(bounded.createGpadl(1, 1, 90)).toBe(0);
    expect(bounded.createGpadl(1, 2, 20)).toBe(NtStatus.INSUFFICIENT_RESOURCES);
    bounded.post(teardown(1, 1));
    for (const handle of [1, 2, 3]) expect(bounded.createGpadl(1, handle, 4)).toBe(0);
    expect(bounded.createGpadl(1, 4, 4)).toBe(NtStatus.INSUFFICIENT_RESOURCES);
    expect(bounded.createGpadl(2, 4, 4)).toBe(0);
    expect(bounded.createGpadl(2, 5, 4)).toBe(NtStatus.INSUFFICIENT_RESOURCES);
  });

  it('are torn down with one answer, also where there is none', () => {
    expect(world.createGpadl(1, 7)).toBe(0);
    for (const handle of [7, 7, 1234]) {
      const answers = world.post(teardown(1, handle));
      expect(types(answers)).toEqual([T.GPADL_TORNDOWN]);
      expect(GPADL_TORNDOWN.read(answers[0]).gpadl).toBe(handle);
    }
    expect(world.gpadls.size).toBe(0);
    expect(world.post(GPADL_BODY.encode({ messageType: T.GPADL_BODY, gpadl: 7 }))).toEqual([]);
  });

  it('belong to their channel', () => {
    expect(world.createGpadl(1, 7)).toBe(0);
    expect(world.post(teardown(2, 7))).toEqual([]);
    expect(world.openOn(2, 7)).toBe(NtStatus.INVALID_PARAMETER);
    expect(world.gpadls.size).toBe(1);
  });
});

describe('opening', () => {
  it('gives the device its rings and user data, and checks them first', () => {
    const world = new World();
    const channel = world.plane.offer(description(1));
    world.connect();
    expect(world.createGpadl(1, 100)).toBe(0);
    const invalid: [object, number][] = [
      [{ ringGpadl: 101 }, NtStatus.INVALID_PARAMETER],
      [{ downstreamPageOffset: 1 }, NtStatus.INVALID_PARAMETER],
      [{ downstreamPageOffset: 7 }, NtStatus.INVALID_PARAMETER],
      [{ downstreamPageOffset: 0xffff_ffff }, NtStatus.INVALID_PARAMETER],
      [{ targetVp: 4 }, NtStatus.UNSUCCESSFUL],
    ];
    for (const [fields, status] of invalid) expect(world.openOn(1, 100, fields)).toBe(status);
    expect(world.openOn(9, 100)).toBe(NtStatus.NO_SUCH_DEVICE);
    const userData = new Uint8Array(120).fill(5);
    expect(world.openOn(1, 100, { userData, targetVp: 2 })).toBe(0);
    expect(world.open.get(channel)).toMatchObject({ userData, targetVp: 2, downstreamPageOffset: 4 });
    expect(world.openOn(1, 100)).toBe(NtStatus.INVALID_DEVICE_STATE);
  });

  it('is refused for rings that are not whole pages', () => {
    const world = new World();
    world.plane.offer(description(1));
    world.connect();
    const [message] = gpadlMessages(1, 5, { ...range(8), sizeBytes: 8 * 4096 - 8 });
    expect(GPADL_CREATED.read(world.post(message)[0]).status).toBe(0);
    expect(world.openOn(1, 5)).toBe(NtStatus.INVALID_PARAMETER);
  });

  it('can be refused by the device', () => {
    const world = new World();
    world.plane.offer(description(1));
    world.connect();
    world.createGpadl(1, 100);
    world.refuseOpen = true;
    expect(world.openOn(1, 100)).toBe(NtStatus.UNSUCCESSFUL);
    expect(types(world.post(teardown(1, 100)))).toEqual([T.GPADL_TORNDOWN]);
  });
});

describe('closing', () => {
  it('answers the teardown of the rings once the device has let go', () => {
    const world = new World();
    const channel = world.withOpenChannel();
    world.createGpadl(1, 101);
    world.closeAtOnce = false;
    expect(world.post(teardown(1, 100))).toEqual([]);
    expect(world.post(closeMessage(1))).toEqual([]);
    expect(world.post(teardown(1, 101))).toEqual([]);
    world.finishClose(channel);
    expect(world.take().map((m) => GPADL_TORNDOWN.read(m).gpadl)).toEqual([100, 101]);
  });

  it('leaves other memory to the driver while the channel is open', () => {
    const world = new World();
    world.withOpenChannel();
    world.createGpadl(1, 101);
    expect(types(world.post(teardown(1, 101)))).toEqual([T.GPADL_TORNDOWN]);
  });

  it('lets the guest open again before the device has finished', () => {
    const world = new World();
    const channel = world.withOpenChannel();
    world.createGpadl(1, 101);
    world.closeAtOnce = false;
    world.post(closeMessage(1));
    expect(world.post(teardown(1, 100))).toEqual([]);
    expect(world.post(openMessage(1, 101))).toEqual([]);
    expect(world.openOn(1, 101)).toBe(NtStatus.INVALID_DEVICE_STATE);
    world.finishClose(channel);
    expect(types(world.take())).toEqual([T.GPADL_TORNDOWN, T.OPENCHANNEL_RESULT]);
    expect(world.open.get(channel)?.ringGpadl).toBe(101);
  });

  it('comes before the rescind, which frees the guest to reuse its memory', () => {
    const world = new World();
    const channel = world.withOpenChannel();
    world.closeAtOnce = false;
    world.plane.revoke(channel);
    expect(world.take()).toEqual([]);
    expect(world.post(closeMessage(1))).toEqual([]);
    expect(world.openOn(1, 100)).toBe(NtStatus.NO_SUCH_DEVICE);
    expect(world.post(release(1))).toEqual([]);
    world.finishClose(channel);
    expect(types(world.take())).toEqual([T.RESCIND_CHANNELOFFER]);
    expect(types(world.post(teardown(1, 100)))).toEqual([T.GPADL_TORNDOWN]);
    expect(world.createGpadl(1, 102)).toBe(NtStatus.NO_SUCH_DEVICE);
    expect(world.post(release(1))).toEqual([]);
    expect(world.post(release(1))).toEqual([]);
    expect(world.faults.filter((kind) => kind === 'vmbus.relid')).toHaveLength(1);
  });
});

describe('sub-channels', () => {
  it('carry their index, and open only after the primary channel', () => {
    const world = new World();
    const primary = world.plane.offer(description(1));
    world.connect();
    const sub = world.plane.offerSubChannel(primary);
    expect(OFFERCHANNEL.read(world.take()[0])).toMatchObject({ relid: 2, subChannelIndex: 1 });
    world.createGpadl(1, 100);
    world.createGpadl(2, 101);
    expect(world.openOn(2, 101)).toBe(NtStatus.INVALID_DEVICE_STATE);
    expect(world.openOn(1, 100)).toBe(0);
    expect(world.openOn(2, 101)).toBe(0);
    expect(world.plane.gpadl(primary, 101)?.owner).toBe(sub);
  });

  it('end with the primary channel, and are offered anew', () => {
    const world = new World();
    const primary = world.withOpenChannel();
    const sub = world.plane.offerSubChannel(primary) as BusChannel;
    world.take();
    world.createGpadl(2, 101);
    world.openOn(2, 101);
    world.closeAtOnce = false;
    expect(world.post(closeMessage(1))).toEqual([]);
    world.finishClose(primary);
    expect(world.take()).toEqual([]);
    world.finishClose(sub);
    expect(types(world.take())).toEqual([T.RESCIND_CHANNELOFFER]);
    world.plane.offerSubChannel(primary);
    expect(world.take()).toEqual([]);
    expect(OFFERCHANNEL.read(world.post(release(2))[0])).toMatchObject({ relid: 2, subChannelIndex: 1 });
  });

  it('are at most 63', () => {
    const world = new World();
    const primary = world.plane.offer(description(1));
    for (let i = 1; i <= 63; i++) expect(world.plane.offerSubChannel(primary)?.subChannelIndex).toBe(i);
    expect(world.plane.offerSubChannel(primary)).toBeUndefined();
  });

  it('go with the primary channel, each once, also where no guest knows of them', () => {
    const world = new World();
    const primary = world.plane.offer(description(1));
    const sub = world.plane.offerSubChannel(primary) as BusChannel;
    world.plane.revoke(primary);
    expect(world.revoked).toEqual([sub, primary]);
  });

  it('go with the primary channel, each once, also while the connection ends', () => {
    const world = new World();
    const primary = world.withOpenChannel();
    const sub = world.plane.offerSubChannel(primary) as BusChannel;
    world.take();
    world.closeAtOnce = false;
    world.plane.revoke(primary);
    world.plane.receive(bareMessage(T.UNLOAD));
    world.finishClose(primary);
    expect(types(world.take())).toEqual([T.RESCIND_CHANNELOFFER, T.UNLOAD_RESPONSE]);
    expect(world.revoked).toEqual([sub, primary]);
    expect(types(world.connect())).toEqual([T.ALLOFFERS_DELIVERED]);
  });

  it('are rescinded before the primary channel', () => {
    const world = new World();
    const primary = world.plane.offer(description(1));
    world.connect();
    world.plane.offerSubChannel(primary);
    world.take();
    world.plane.revoke(primary);
    expect(world.take().map((m) => RESCIND_CHANNELOFFER.read(m).relid)).toEqual([2, 1]);
  });
});

describe('unload', () => {
  it('is answered once all channels are closed, and forgets everything', () => {
    const world = new World();
    const channel = world.withOpenChannel();
    world.closeAtOnce = false;
    expect(world.post(bareMessage(T.UNLOAD))).toEqual([]);
    expect(world.post(bareMessage(T.UNLOAD))).toEqual([]);
    world.finishClose(channel);
    expect(types(world.take())).toEqual([T.UNLOAD_RESPONSE]);
    expect(world.gpadls.size).toBe(0);
    expect(world.post(openMessage(1, 100))).toEqual([]);
    expect(types(world.connect())).toEqual([T.OFFERCHANNEL, T.ALLOFFERS_DELIVERED]);
  });

  it('is answered before a contact that overtakes it', () => {
    const world = new World();
    const channel = world.withOpenChannel();
    world.closeAtOnce = false;
    world.post(bareMessage(T.UNLOAD));
    world.post(contact(VmbusVersion.WIN8));
    world.finishClose(channel);
    expect(types(world.take())).toEqual([T.UNLOAD_RESPONSE, T.VERSION_RESPONSE]);
    expect(world.plane.version).toBe(VmbusVersion.WIN8);
  });
});

describe('messages of later versions', () => {
  it('moves interrupts from 4.1 on, and says so from 5.3 on', () => {
    const answersAt = (version: number) => {
      const world = new World();
      world.plane.offer(description(1));
      world.connect(version);
      world.createGpadl(1, 100);
      world.openOn(1, 100);
      const answers = world.post(modify(1, 3));
      return { vp: [...world.vps.values()][0], answers: types(answers), faults: world.faults };
    };
    expect(answersAt(VmbusVersion.WIN10)).toEqual({
      vp: undefined,
      answers: [],
      faults: ['vmbus.message.version'],
    });
    expect(answersAt(VmbusVersion.WIN10_V5_2)).toEqual({ vp: 3, answers: [], faults: [] });
    expect(answersAt(VmbusVersion.WIN10_V5_3)).toEqual({
      vp: 3,
      answers: [T.MODIFYCHANNEL_RESPONSE],
      faults: [],
    });
  });

  it('refuses to move interrupts to a VP, or of a channel, that is not there', () => {
    const world = new World();
    world.withOpenChannel();
    for (const message of [modify(1, 4), modify(2, 0)]) {
      expect(MODIFYCHANNEL_RESPONSE.read(world.post(message)[0]).status).toBe(NtStatus.INVALID_PARAMETER);
    }
  });

  it('refuses sockets', () => {
    const request = TL_CONNECT_REQUEST.encode({
      messageType: T.TL_CONNECT_REQUEST,
      endpointId: InterfaceId.IDE,
    });
    const world = new World();
    world.connect(VmbusVersion.WIN10);
    expect(world.post(request)).toEqual([]);
    world.connect(VmbusVersion.WIN10_V4_1);
    expect(TL_CONNECT_RESULT.read(world.post(request)[0])).toMatchObject({
      endpointId: InterfaceId.IDE,
      status: NtStatus.CONNECTION_REFUSED,
    });
  });

  it('counts messages that are unknown, short, out of turn, or the host’s to send', () => {
    const world = new World();
    expect(world.post(bareMessage(T.REQUESTOFFERS))).toEqual([]);
    world.connect();
    expect(world.post(new Uint8Array([5, 0, 0, 0]))).toEqual([]);
    expect(world.post(openMessage(1, 1).subarray(0, 147))).toEqual([]);
    expect(world.post(MESSAGE_HEADER.encode({ messageType: 18 }))).toEqual([]);
    expect(world.post(MESSAGE_HEADER.encode({ messageType: T.UNLOAD_RESPONSE }))).toEqual([]);
    const seen = ['version', 'short', 'short', 'unknown', 'unknown'];
    expect(world.faults).toEqual(seen.map((kind) => `vmbus.message.${kind}`));
  });
});

/** Relids that a guest holds, and opens that it waits for, as far as messages alone tell. */
class Guest {
  readonly held = new Set<number>();
  /** Offered on this connection, and not rescinded since. */
  readonly offered = new Set<number>();
  readonly waitingOpens = new Set<number>();
  readonly world: World;
  /** Primary channels by the number of their instance. */
  readonly devices = new Map<number, BusChannel>();
  openIds = 0;

  constructor(world: World) {
    this.world = world;
  }

  post(message: Uint8Array): void {
    if (message.length >= 12 && MESSAGE_HEADER.read(message).messageType === T.RELID_RELEASED) {
      this.held.delete(RELID_RELEASED.read(message).relid);
    }
    this.world.plane.receive(message);
    this.drain();
  }

  openOn(relid: number, handle: number): void {
    const openId = ++this.openIds;
    if (this.world.plane.version !== 0) this.waitingOpens.add(openId);
    this.post(openMessage(relid, handle, { openId }));
  }

  drain(): void {
    for (const message of this.world.take()) {
      switch (MESSAGE_HEADER.read(message).messageType) {
        case T.OPENCHANNEL_RESULT: {
          const { openId } = OPENCHANNEL_RESULT.read(message);
          // Random bytes make opens of their own, with ids far beyond these.
          if (openId <= this.openIds) expect(this.waitingOpens.delete(openId)).toBe(true);
          break;
        }
        case T.OFFERCHANNEL: {
          const { relid } = OFFERCHANNEL.read(message);
          expect(this.held.has(relid)).toBe(false);
          this.held.add(relid);
          this.offered.add(relid);
          break;
        }
        case T.RESCIND_CHANNELOFFER:
          // A release that came too early was refused, so the guest may have given this one up already.
          expect(this.offered.delete(RESCIND_CHANNELOFFER.read(message).relid)).toBe(true);
          break;
        case T.VERSION_RESPONSE:
        case T.UNLOAD_RESPONSE:
          this.held.clear();
          this.offered.clear();
          this.waitingOpens.clear();
      }
    }
  }
}

describe('whatever a guest posts', () => {
  type Step = (guest: Guest) => void;
  const relid = fc.integer({ min: 0, max: 4 });
  const handle = fc.integer({ min: 1, max: 5 });
  const instance = fc.integer({ min: 1, max: 3 });
  const post = (message: fc.Arbitrary<Uint8Array>) =>
    message.map(
      (m): Step =>
        (guest) =>
          guest.post(m),
    );
  const onDevice = (act: (guest: Guest, channel: BusChannel) => void) =>
    instance.map(
      (n): Step =>
        (guest) => {
          const channel = guest.devices.get(n);
          if (channel !== undefined) act(guest, channel);
          guest.drain();
        },
    );
  const weighted: [number, fc.Arbitrary<Step>][] = [
    [1, post(fc.constantFrom(...VMBUS_VERSIONS, 1).map((version) => contact(version)))],
    [2, post(fc.constant(bareMessage(T.REQUESTOFFERS)))],
    [1, post(fc.constant(bareMessage(T.UNLOAD)))],
    [
      8,
      fc.tuple(relid, handle, fc.constantFrom(2, 4, 8, 40)).map(
        ([r, h, pages]): Step =>
          (guest) => {
            for (const message of gpadlMessages(r, h, range(pages))) guest.post(message);
          },
      ),
    ],
    [2, post(fc.tuple(relid, handle).map(([r, h]) => gpadlMessages(r, h, range(40))[0]))],
    [6, post(fc.tuple(relid, handle).map(([r, h]) => teardown(r, h)))],
    [
      8,
      fc.tuple(relid, handle).map(
        ([r, h]): Step =>
          (guest) =>
            guest.openOn(r, h),
      ),
    ],
    [
      12,
      relid.map(
        (r): Step =>
          (guest) => {
            const fresh = 1000 + guest.openIds;
            guest.post(gpadlMessages(r, fresh, range(8))[0]);
            guest.openOn(r, fresh);
          },
      ),
    ],
    [5, post(relid.map(closeMessage))],
    [4, post(relid.map(release))],
    [2, post(fc.tuple(relid, fc.nat(5)).map(([r, vp]) => modify(r, vp)))],
    [2, post(fc.uint8Array({ maxLength: 240 }))],
    [
      2,
      post(
        fc.tuple(fc.nat(26), fc.uint8Array({ minLength: 148, maxLength: 240 })).map(([messageType, body]) => {
          MESSAGE_HEADER.write(body, { messageType });
          // Out of the way of the opens that are followed.
          if (messageType === T.OPENCHANNEL) OPENCHANNEL.write(body, { openId: 0xffff_ffff });
          return body;
        }),
      ),
    ],
    [
      3,
      instance.map(
        (n): Step =>
          (guest) => {
            if (guest.devices.get(n)?.revoked !== false)
              guest.devices.set(n, guest.world.plane.offer(description(n)));
            guest.drain();
          },
      ),
    ],
    [2, onDevice((guest, channel) => void guest.world.plane.offerSubChannel(channel))],
    [1, onDevice((guest, channel) => guest.world.plane.revoke(channel))],
    [
      6,
      fc.nat(3).map(
        (n): Step =>
          (guest) => {
            const channel = [...guest.world.closing][n];
            if (channel !== undefined) guest.world.finishClose(channel);
            guest.drain();
          },
      ),
    ],
  ];
  const step = fc.oneof(...weighted.map(([weight, arbitrary]) => ({ weight, arbitrary })));

  it('it never throws, answers each open once, reuses nothing in use, and leaves nothing behind', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), fc.boolean(), (steps, closeAtOnce) => {
        const world = new World({ gpadlLimits: { inFlight: 2 } });
        world.closeAtOnce = closeAtOnce;
        const guest = new Guest(world);
        guest.devices.set(1, world.plane.offer(description(1)));
        guest.post(contact(VmbusVersion.WIN10_V5_3));
        guest.post(bareMessage(T.REQUESTOFFERS));
        for (const run of steps) run(guest);
        for (const channel of [...world.closing]) world.finishClose(channel);
        guest.drain();
        expect(guest.waitingOpens.size).toBe(0);

        world.closeAtOnce = true;
        expect(types(world.post(contact(VmbusVersion.WIN10_V5_3)))).toEqual([T.VERSION_RESPONSE]);
        expect(types(world.post(bareMessage(T.UNLOAD)))).toEqual([T.UNLOAD_RESPONSE]);
        expect([world.open.size, world.closing.size, world.gpadls.size]).toEqual([0, 0, 0]);
        for (const device of guest.devices.values()) {
          world.plane.revoke(device);
          expect(world.revoked).toContain(device);
          expect(device.subChannels).toEqual([]);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('it gets one answer for each GPADL and each teardown of one', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom('create', 'tear down', 'open', 'close'), fc.nat(3)), {
          maxLength: 60,
        }),
        (steps) => {
          const world = new World();
          world.closeAtOnce = false;
          const channel = world.plane.offer(description(1));
          world.connect();
          const made = new Set<number>();
          let asked = 0;
          let torn = 0;
          const count = (messages: readonly Uint8Array[]) => {
            torn += types(messages).filter((type) => type === T.GPADL_TORNDOWN).length;
          };
          for (const [what, gpadl] of steps) {
            if (what === 'create') {
              const status = world.createGpadl(1, gpadl);
              expect(status === 0).toBe(!made.has(gpadl));
              made.add(gpadl);
            } else if (what === 'tear down') {
              // A second one, while the first waits, is a fault of the guest and adds no answer.
              const before = world.faults.length;
              count(world.post(teardown(1, gpadl)));
              const twice = world.faults.length > before && made.has(gpadl);
              if (!twice) asked++;
              if (![...world.gpadls].some((g) => g.handle === gpadl)) made.delete(gpadl);
            } else {
              count(world.post(what === 'open' ? openMessage(1, gpadl) : closeMessage(1)));
              if (what === 'open' && world.closing.has(channel)) {
                world.finishClose(channel);
                count(world.take());
              }
              for (const handle of made)
                if (![...world.gpadls].some((g) => g.handle === handle)) made.delete(handle);
            }
          }
          if (world.open.has(channel) && !world.closing.has(channel)) count(world.post(closeMessage(1)));
          for (const closing of [...world.closing]) world.finishClose(closing);
          // One that was open on a ring whose open had to wait is open again.
          if (world.open.has(channel)) {
            count(world.post(closeMessage(1)));
            world.finishClose(channel);
          }
          count(world.take());
          expect(torn).toBe(asked);
        },
      ),
      { numRuns: 200 },
    );
  });
});
