import { PAGE_SIZE } from '@kensho/core';
import { PacketType } from '@kensho/vmbus';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Sense } from '../protocol/scsi.ts';
import {
  NtStatus,
  SCSI_INTERFACE_ID,
  SrbDirection,
  SrbFlags,
  SrbStatus,
  VSTOR_PACKET_BYTES,
  VstorOperation,
  VstorProperties,
  VstorSubChannels,
  VstorVersion,
  VstorVersionQuery,
} from '../protocol/storvsp.ts';
import { DiskUnit } from '../scsi/disk-unit.ts';
import { FakeDisk } from '../scsi/test-utils/fake-disk.ts';
import {
  control,
  FakeHostChannel,
  GUEST_PAGES,
  handshake,
  rig,
  srb,
  transfer,
} from './test-utils/fake-channel.ts';

const IN = SrbDirection.FROM_DEVICE;
const INQUIRY = [0x12, 0, 0, 0, 36, 0];
const TEST_UNIT_READY = [0, 0, 0, 0, 0, 0];

function withDisk(options: Parameters<typeof rig>[0] = {}, diskOptions = {}, virtual = false) {
  const disk = new FakeDisk(diskOptions);
  disk.bytes.forEach((_, i) => {
    disk.bytes[i] = (i * 3 + (i >>> 9)) & 0xff;
  });
  const made = rig(options, virtual);
  made.vsp.attach(0, new DiskUnit(disk));
  return { disk, ...made };
}

describe('initialisation', () => {
  it('offers a SCSI controller', () => {
    const { offers } = rig();
    expect(offers[0].options).toMatchObject({ interfaceId: SCSI_INTERFACE_ID, name: 'scsi0' });
  });

  it.each(Object.entries(VstorVersion))('agrees on %s', async (_, version) => {
    const { vsp, exchange } = rig({ maxSubChannels: 3, maxTransferBytes: 0x40000 });
    const channel = new FakeHostChannel();
    vsp.open(channel);
    for (const payload of handshake(version)) {
      const answer = await exchange(channel, { payload });
      expect(answer).toMatchObject({ operation: VstorOperation.COMPLETE_IO, status: NtStatus.SUCCESS });
    }
    const multiChannel = version >= VstorVersion.WIN8;
    expect(VstorProperties.read(channel.completions[2].payload)).toMatchObject({
      maxChannelCount: multiChannel ? 3 : 0,
      channelFlags: multiChannel ? 1 : 0,
      maxTransferBytes: 0x40000,
    });
  });

  it('refuses a version that it does not know and waits for another', async () => {
    const { vsp, exchange } = rig();
    const channel = new FakeHostChannel();
    vsp.open(channel);
    const [begin, query] = handshake(0x0700);
    await exchange(channel, { payload: begin });
    expect((await exchange(channel, { payload: query })).status).toBe(NtStatus.REVISION_MISMATCH);
    VstorVersionQuery.write(query, { majorMinor: VstorVersion.WIN8 });
    expect((await exchange(channel, { payload: query })).status).toBe(NtStatus.SUCCESS);
  });

  it('refuses steps out of order, and goes on after them', async () => {
    const { vsp, exchange, count } = rig();
    const channel = new FakeHostChannel();
    vsp.open(channel);
    const [begin, version, properties, end] = handshake();
    for (const payload of [version, properties, end, srb(TEST_UNIT_READY)]) {
      expect((await exchange(channel, { payload })).status).toBe(NtStatus.INVALID_DEVICE_STATE);
    }
    await exchange(channel, { payload: begin });
    expect((await exchange(channel, { payload: begin })).status).toBe(NtStatus.INVALID_DEVICE_STATE);
    expect((await exchange(channel, { payload: version })).status).toBe(NtStatus.SUCCESS);
    expect(count('fault.storage.out-of-order')).toBe(5);
  });

  it('begins anew when the channel is opened again', async () => {
    const { vsp, openReady, exchange } = withDisk();
    const first = await openReady();
    await vsp.close(first);
    const second = new FakeHostChannel();
    vsp.open(second);
    expect((await exchange(second, { payload: srb(TEST_UNIT_READY) })).status).toBe(
      NtStatus.INVALID_DEVICE_STATE,
    );
    await vsp.close(second);
    const third = await openReady();
    expect((await exchange(third, { payload: srb(TEST_UNIT_READY) })).srbStatus).toBe(SrbStatus.SUCCESS);
  });

  it('does not do Fibre Channel', async () => {
    const { openReady, exchange } = rig();
    const answer = await exchange(await openReady(), { payload: control(VstorOperation.FCHBA_DATA) });
    expect(answer.status).toBe(NtStatus.INVALID_DEVICE_REQUEST);
  });

  it('creates sub-channels once, within its limit, and serves the same units on them', async () => {
    const { vsp, offers, openReady, exchange } = withDisk({ maxSubChannels: 2 });
    const primary = await openReady();
    const create = (subChannelCount: number) => ({
      payload: VstorSubChannels.encode({
        operation: VstorOperation.CREATE_SUB_CHANNELS,
        flags: 1,
        subChannelCount,
      }),
    });
    expect((await exchange(primary, create(3))).status).toBe(NtStatus.INVALID_PARAMETER);
    expect((await exchange(primary, create(2))).status).toBe(NtStatus.SUCCESS);
    expect((await exchange(primary, create(1))).status).toBe(NtStatus.INVALID_DEVICE_STATE);
    expect(offers[0].subChannels).toBe(2);
    const sub = new FakeHostChannel(1);
    vsp.open(sub);
    expect((await exchange(sub, { payload: handshake()[0] })).status).toBe(NtStatus.INVALID_DEVICE_STATE);
    expect((await exchange(sub, transfer(false, 1, 8, 1))).srbStatus).toBe(SrbStatus.SUCCESS);
  });
});

describe('commands', () => {
  it('move data between disk and guest memory, and are counted', async () => {
    const { disk, arena, openReady, exchange, count } = withDisk();
    const channel = await openReady();
    const read = await exchange(channel, transfer(false, 2, 16, 4));
    expect(read).toMatchObject({
      srbStatus: 1,
      scsiStatus: 0,
      dataTransferLength: 8192,
      status: 0,
      operation: 1,
    });
    expect(arena.bytes.slice(4 * PAGE_SIZE, 6 * PAGE_SIZE)).toEqual(disk.bytes.slice(1024, 1024 + 8192));
    arena.bytes.fill(0x77, 9 * PAGE_SIZE, 10 * PAGE_SIZE);
    const write = await exchange(channel, transfer(true, 8, 8, 9));
    expect(write).toMatchObject({ srbStatus: 1, dataTransferLength: 4096 });
    expect(disk.bytes.subarray(4096, 8192).every((byte) => byte === 0x77)).toBe(true);
    expect(count('device.scsi0.requests')).toBe(2);
    expect(count('device.scsi0.bytes.read')).toBe(8192);
    expect(count('device.scsi0.bytes.written')).toBe(4096);
  });

  it('use several ranges, at any offset', async () => {
    const { disk, arena, openReady, exchange } = withDisk();
    const { payload } = transfer(false, 0, 4, 0);
    const buffers = [
      { pages: [7], offset: 100, sizeBytes: 1000 },
      { pages: [20, 3], offset: 4000, sizeBytes: 5000 },
    ];
    const answer = await exchange(await openReady(), { payload, buffers });
    expect(answer.dataTransferLength).toBe(2048);
    const got = [
      arena.bytes.subarray(7 * PAGE_SIZE + 100, 7 * PAGE_SIZE + 1100),
      arena.bytes.subarray(20 * PAGE_SIZE + 4000, 21 * PAGE_SIZE),
      arena.bytes.subarray(3 * PAGE_SIZE, 3 * PAGE_SIZE + 2048 - 1000 - 96),
    ].flatMap((part) => [...part]);
    expect(Uint8Array.from(got)).toEqual(disk.bytes.slice(0, 2048));
  });

  it('answer in the order in which they end', async () => {
    const { disk, vsp, deliver, settle, openReady } = withDisk();
    const fast = new FakeDisk();
    vsp.attach(1, new DiskUnit(fast));
    const channel = await openReady();
    disk.hold = true;
    deliver(channel, { ...transfer(false, 0, 1, 1), id: 11 }, { ...transfer(false, 0, 1, 2, 1), id: 12 });
    await settle();
    expect(channel.completions.map(({ id }) => id)).toEqual([12]);
    disk.release();
    await settle();
    expect(channel.completions.map(({ id }) => id)).toEqual([12, 11]);
  });

  it('answer in the order in which they began where the clock is virtual', async () => {
    const { disk, vsp, deliver, settle, openReady } = withDisk({}, {}, true);
    vsp.attach(1, new DiskUnit(new FakeDisk()));
    const channel = await openReady();
    disk.hold = true;
    deliver(channel, { ...transfer(false, 0, 1, 1), id: 11 }, { ...transfer(false, 0, 1, 2, 1), id: 12 });
    await settle();
    expect(channel.completions).toEqual([]);
    disk.release();
    await settle();
    expect(channel.completions.map(({ id }) => id)).toEqual([11, 12]);
  });

  it('keep no more in progress than allowed; the rest waits in the ring', async () => {
    const { disk, deliver, settle, openReady } = withDisk({ maxInFlight: 4 });
    const channel = await openReady();
    disk.hold = true;
    deliver(channel, ...Array.from({ length: 10 }, (_, i) => ({ ...transfer(false, i, 1, 1), id: i + 1 })));
    expect([disk.held, channel.incoming.length]).toEqual([4, 6]);
    disk.release();
    await settle();
    expect([disk.held, channel.incoming.length, channel.completions.length]).toEqual([4, 2, 4]);
    disk.hold = false;
    disk.release();
    await settle();
    expect(channel.completions.map(({ id }) => id).sort((a, b) => a - b)).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
    ]);
  });

  it('carry sense data in a check condition', async () => {
    const { openReady, exchange, count } = withDisk({}, { blocks: 16 });
    const answer = await exchange(await openReady(), transfer(false, 100, 1, 1));
    expect(answer).toMatchObject({
      srbStatus: 0x84,
      scsiStatus: 2,
      senseInfoLength: 18,
      dataTransferLength: 0,
    });
    expect(answer.status).toBe(NtStatus.IO_DEVICE_ERROR);
    expect([answer.cdbOrSense[0], answer.cdbOrSense[2], answer.cdbOrSense[12]]).toEqual([0x70, 5, 0x21]);
    expect([...answer.cdbOrSense.subarray(18)]).toEqual([0, 0]);
    expect(count('device.scsi0.errors.check-condition')).toBe(1);
  });

  it('leave sense data to REQUEST SENSE where the guest wants it so', async () => {
    const { openReady, exchange, arena } = withDisk();
    const channel = await openReady();
    const payload = srb([0xc0, 0, 0, 0, 0, 0], undefined, { srbFlags: SrbFlags.DISABLE_AUTOSENSE });
    expect(await exchange(channel, { payload })).toMatchObject({ srbStatus: SrbStatus.ERROR, scsiStatus: 2 });
    const buffers = [{ pages: [1], offset: 0, sizeBytes: 18 }];
    await exchange(channel, { payload: srb([3, 0, 0, 0, 18, 0], { direction: IN, sizeBytes: 18 }), buffers });
    expect(arena.bytes[PAGE_SIZE + 12]).toBe(0x20);
  });

  it('say where the buffer was too small for the data', async () => {
    const { openReady, exchange } = withDisk();
    const buffers = [{ pages: [1], offset: 0, sizeBytes: 8 }];
    const answer = await exchange(await openReady(), {
      payload: srb(INQUIRY, { direction: IN, sizeBytes: 8 }),
      buffers,
    });
    expect(answer).toMatchObject({ srbStatus: SrbStatus.DATA_OVERRUN, dataTransferLength: 8 });
  });

  it('fail as medium errors where the host fails, which is counted', async () => {
    const { disk, openReady, exchange, count } = withDisk();
    disk.failure = new Error('EIO');
    disk.asynchronous = true;
    const answer = await exchange(await openReady(), transfer(false, 0, 1, 1));
    expect([answer.srbStatus, answer.cdbOrSense[2], answer.cdbOrSense[12]]).toEqual([0x84, 3, 0x11]);
    expect(count('device.scsi0.errors.host')).toBe(1);
  });

  it('do not reach memory that is not there', async () => {
    const { disk, openReady, exchange, count } = withDisk();
    const answer = await exchange(await openReady(), transfer(false, 0, 8, GUEST_PAGES - 1));
    expect(answer).toMatchObject({ srbStatus: SrbStatus.INVALID_REQUEST, dataTransferLength: 0 });
    expect([count('fault.dma.scsi0'), count('fault.storage.dma')]).toEqual([1, 1]);
    expect(disk.log).toEqual([]);
  });
});

describe('units that are not there', () => {
  it.each([
    ['LUN', { lun: 3 }],
    ['target', { targetId: 1 }],
    ['bus', { pathId: 7 }],
  ])('an absent %s answers INQUIRY with 0x7F, anything else with "no LUN"', async (_, address) => {
    const { arena, openReady, exchange, count } = withDisk();
    const channel = await openReady();
    const data = { direction: IN, sizeBytes: 36 };
    const buffers = [{ pages: [2], offset: 0, sizeBytes: 36 }];
    const inquiry = await exchange(channel, { payload: srb(INQUIRY, data, address), buffers });
    expect(inquiry).toMatchObject({ srbStatus: SrbStatus.SUCCESS, dataTransferLength: 36 });
    expect([arena.bytes[2 * PAGE_SIZE], arena.bytes[2 * PAGE_SIZE + 2]]).toEqual([0x7f, 5]);
    const ready = await exchange(channel, { payload: srb(TEST_UNIT_READY, undefined, address) });
    expect(ready).toMatchObject({ srbStatus: SrbStatus.INVALID_LUN, scsiStatus: 0 });
    expect(count('device.scsi0.errors.no-unit')).toBe(1);
  });

  it('lists the LUNs that are there, in order, at its one target', async () => {
    const { vsp, arena, openReady, exchange } = withDisk();
    vsp.attach(200, new DiskUnit(new FakeDisk()));
    vsp.attach(7, new DiskUnit(new FakeDisk()));
    const channel = await openReady();
    const cdb = [0xa0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0];
    const buffers = [{ pages: [2], offset: 0, sizeBytes: 4096 }];
    const answer = await exchange(channel, {
      payload: srb(cdb, { direction: IN, sizeBytes: 4096 }),
      buffers,
    });
    expect(answer.dataTransferLength).toBe(32);
    const data = arena.page(2);
    expect([data[3], data[9], data[17], data[25]]).toEqual([24, 0, 7, 200]);
    const other = srb(cdb, { direction: IN, sizeBytes: 4096 }, { targetId: 1 });
    expect((await exchange(channel, { payload: other, buffers })).dataTransferLength).toBe(8);
  });

  it('refuses LUNs that are taken or cannot be', () => {
    const { vsp } = withDisk();
    const unit = new DiskUnit(new FakeDisk());
    expect(() => vsp.attach(0, unit)).toThrow(expect.objectContaining({ code: 'LUN_IN_USE' }));
    expect(() => vsp.attach(255, unit)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }));
  });
});

describe('units that come and go', () => {
  it('has the guest scan again, once it is ready', async () => {
    const { vsp, openReady, settle, exchange } = withDisk();
    vsp.attach(1, new DiskUnit(new FakeDisk()));
    const channel = await openReady();
    expect(channel.sent).toEqual([]);
    vsp.attach(2, new DiskUnit(new FakeDisk()));
    await settle();
    expect(channel.sent.map((packet) => [packet.length, packet[0]])).toEqual([
      [VSTOR_PACKET_BYTES, VstorOperation.ENUMERATE_BUS],
    ]);
    expect((await exchange(channel, transfer(false, 0, 1, 1, 2))).srbStatus).toBe(SrbStatus.SUCCESS);
    expect(await vsp.detach(2)).toBe(true);
    expect(await vsp.detach(2)).toBe(false);
    await settle();
    expect(channel.sent.length).toBe(2);
    expect((await exchange(channel, transfer(false, 0, 1, 1, 2))).srbStatus).toBe(SrbStatus.INVALID_LUN);
  });

  it('lets a unit go only when its commands have ended', async () => {
    const { disk, vsp, deliver, settle, openReady } = withDisk();
    const channel = await openReady();
    disk.hold = true;
    deliver(channel, transfer(false, 0, 1, 1));
    let gone = false;
    const detached = vsp.detach(0).then(() => {
      gone = true;
    });
    await settle();
    expect(gone).toBe(false);
    disk.release();
    await detached;
    await settle();
    expect(channel.completions.length).toBe(1);
  });

  it('is silent to guests that know no notification', async () => {
    const { vsp, openReady, settle } = withDisk();
    const channel = await openReady(VstorVersion.WIN6);
    vsp.attach(1, new DiskUnit(new FakeDisk()));
    await settle();
    expect(channel.sent).toEqual([]);
  });
});

describe('resets and ends', () => {
  it('answers a reset after the commands that were in progress, and then wants attention', async () => {
    const { disk, vsp, deliver, settle, exchange, openReady } = withDisk();
    const other = new FakeDisk();
    vsp.attach(1, new DiskUnit(other));
    const channel = await openReady();
    disk.hold = true;
    other.hold = true;
    deliver(channel, { ...transfer(false, 0, 1, 1), id: 1 }, { ...transfer(false, 0, 1, 2, 1), id: 2 });
    const resetLun = srb([], undefined, { lun: 1 });
    resetLun[0] = VstorOperation.RESET_LUN;
    deliver(channel, { payload: resetLun, id: 3 }, { payload: control(VstorOperation.RESET_BUS), id: 4 });
    await settle();
    expect(channel.completions).toEqual([]);
    other.hold = false;
    other.release();
    await settle();
    expect(channel.completions.map(({ id }) => id)).toEqual([2, 3]);
    disk.hold = false;
    disk.release();
    await settle();
    expect(channel.completions.map(({ id }) => id)).toEqual([2, 3, 1, 4]);
    const attention = await exchange(channel, { payload: srb(TEST_UNIT_READY) });
    expect([attention.cdbOrSense[2], attention.cdbOrSense[12]]).toEqual([
      6,
      (Sense.BUS_RESET_OCCURRED >>> 8) & 0xff,
    ]);
    expect((await exchange(channel, { payload: srb(TEST_UNIT_READY) })).srbStatus).toBe(SrbStatus.SUCCESS);
  });

  it('closes only when nothing touches guest memory, and answers nothing afterwards', async () => {
    const { disk, vsp, deliver, settle, openReady } = withDisk();
    const channel = await openReady();
    disk.hold = true;
    deliver(channel, transfer(false, 0, 1, 1));
    let closed = false;
    const closing = vsp.close(channel).then(() => {
      closed = true;
    });
    await settle();
    expect(closed).toBe(false);
    disk.release();
    await closing;
    await settle();
    expect(channel.completions).toEqual([]);
  });

  it('answers a reset on one channel although another with commands was closed', async () => {
    const { disk, vsp, deliver, settle, openReady } = withDisk({ maxSubChannels: 1 });
    const primary = await openReady();
    const sub = new FakeHostChannel(1);
    vsp.open(sub);
    disk.hold = true;
    deliver(sub, transfer(false, 0, 1, 1));
    deliver(primary, { payload: control(VstorOperation.RESET_ADAPTER) });
    const closing = vsp.close(sub);
    disk.release();
    await closing;
    await settle();
    expect(primary.completions.length).toBe(1);
    expect(sub.completions).toEqual([]);
  });
});

describe('packets that make no sense', () => {
  it.each([
    ['an empty one', { payload: new Uint8Array(0) }],
    ['a header alone', { payload: control(VstorOperation.BEGIN_INITIALIZATION).subarray(0, 12) }],
    ['one whose ranges the ring refused', { ...transfer(false, 0, 8, 1), malformed: true }],
    ['one of transfer pages', { ...transfer(false, 0, 8, 1), type: PacketType.TRANSFER_PAGES }],
    [
      'more data than buffer',
      { ...transfer(false, 0, 8, 1), buffers: [{ pages: [1], offset: 0, sizeBytes: 4095 }] },
    ],
    ['data without buffer', { payload: transfer(false, 0, 8, 1).payload }],
    [
      'an offset beyond the page',
      { ...transfer(false, 0, 8, 1), buffers: [{ pages: [1, 2, 3], offset: 4096, sizeBytes: 4096 }] },
    ],
    ['more than the largest transfer', { payload: srb([0x28], { direction: IN, sizeBytes: 2 ** 32 - 1 }) }],
  ])('%s is answered and counted; the channel goes on', async (_, packet) => {
    const { openReady, exchange, count } = withDisk();
    const channel = await openReady();
    const answer = await exchange(channel, packet);
    expect(answer).toMatchObject({
      operation: VstorOperation.COMPLETE_IO,
      status: NtStatus.INVALID_PARAMETER,
    });
    expect(channel.completions[0].payload.length).toBe(VSTOR_PACKET_BYTES);
    expect(count('fault.storage.malformed')).toBe(1);
    expect((await exchange(channel, transfer(false, 0, 1, 1))).srbStatus).toBe(SrbStatus.SUCCESS);
  });

  it('answers requests of the older, shorter form in their own size', async () => {
    const { openReady, deliver } = withDisk();
    const channel = await openReady();
    deliver(channel, { payload: srb(TEST_UNIT_READY).subarray(0, 48) });
    expect(channel.completions[0].payload.length).toBe(48);
    expect(channel.completions[0].payload[14]).toBe(SrbStatus.SUCCESS);
  });

  it('gives exactly one answer of 64 bytes to each packet that asks for one, whatever it says', async () => {
    const packet = fc.record({
      payload: fc.oneof(
        fc.uint8Array({ minLength: 64, maxLength: 80 }),
        fc.uint8Array({ maxLength: 47 }),
        fc
          .tuple(
            fc.uint8Array({ minLength: 64, maxLength: 64 }),
            fc.integer({ min: 0, max: 15 }),
            fc.nat(255),
            fc.nat(1),
          )
          .map(([bytes, operation, code, lun]) => {
            bytes.set([operation, 0, 0, 0]);
            bytes.set([0, 0, 0, lun], 16);
            bytes.set([0, 0, 0, 0], 24);
            bytes[28] = code;
            return bytes;
          }),
      ),
      completionRequested: fc.boolean(),
      malformed: fc.boolean(),
      type: fc.constantFrom(PacketType.IN_BAND, PacketType.GPA_DIRECT, PacketType.TRANSFER_PAGES),
      buffers: fc.array(
        fc.record({
          pages: fc.array(fc.nat(GUEST_PAGES + 2), { minLength: 1, maxLength: 3 }),
          offset: fc.nat(4100),
          sizeBytes: fc.nat(4096),
        }),
        { maxLength: 3 },
      ),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(packet, { maxLength: 12 }), fc.boolean(), async (packets, asynchronous) => {
        const { disk, deliver, settle, openReady } = withDisk({ maxInFlight: 3 }, { blocks: 64 });
        disk.asynchronous = asynchronous;
        const channel = await openReady();
        deliver(channel, ...packets.map((one, i) => ({ ...one, id: i + 1 })));
        await settle(() => false);
        const expected = packets.flatMap((one, i) => (one.completionRequested ? [i + 1] : []));
        const answered = channel.completions.map(({ id }) => id).sort((a, b) => a - b);
        expect(answered).toEqual(expected);
        for (const { payload } of channel.completions) {
          expect(payload.length).toBe(VSTOR_PACKET_BYTES);
          expect(payload[0]).toBe(VstorOperation.COMPLETE_IO);
        }
      }),
      { numRuns: 120 },
    );
  });
});
