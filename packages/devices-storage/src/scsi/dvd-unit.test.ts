import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CapabilitiesPage, DiscInformation, TrackInformation } from '../protocol/mmc.ts';
import { be16, be32, ReadCapacity10Data, ScsiOp, Sense } from '../protocol/scsi.ts';
import { DvdUnit } from './dvd-unit.ts';
import { DISK_ID, FakeDisk, send } from './test-utils/fake-disk.ts';

const TEST_UNIT_READY = [0, 0, 0, 0, 0, 0];
const EVENT_STATUS = [0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0];
const EJECT = [0x1b, 0, 0, 0, 2, 0];
const LOAD = [0x1b, 0, 0, 0, 3, 0];
const PREVENT = [0x1e, 0, 0, 0, 1, 0];
const ALLOW = [0x1e, 0, 0, 0, 0, 0];
const read10 = (lba: number, count: number) => [0x28, 0, 0, 0, lba >>> 8, lba & 0xff, 0, 0, count, 0];

function make(blocks = 300) {
  const disk = new FakeDisk({ blocks, blockBytes: 2048, readOnly: true });
  disk.bytes.forEach((_, i) => {
    disk.bytes[i] = (i * 13 + (i >>> 11)) & 0xff;
  });
  return { disk, drive: new DvdUnit(DISK_ID, disk) };
}

describe('a drive with a disc', () => {
  it('is a removable CD/DVD device', async () => {
    const { data } = await send(make().drive, [0x12, 0, 0, 0, 36, 0]);
    expect([data[0], data[1]]).toEqual([5, 0x80]);
    expect(Buffer.from(data.subarray(16, 32)).toString()).toBe('Virtual DVD-ROM ');
  });

  it('reads blocks of 2048 bytes', async () => {
    const { disk, drive } = make();
    const { data } = await send(drive, read10(5, 2));
    expect(data).toEqual(disk.bytes.slice(5 * 2048, 7 * 2048));
    expect((await send(drive, read10(299, 2))).sense).toBe(Sense.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE);
    expect((await send(drive, read10(0, 2), 2048)).sense).toBe(Sense.INVALID_FIELD_IN_CDB);
    disk.failure = new Error('EIO');
    expect((await send(drive, read10(0, 1))).sense).toBe(Sense.UNRECOVERED_READ_ERROR);
  });

  it('tells its capacity, also of an image with small sectors', async () => {
    const capacity = [0x25, ...new Array<number>(9).fill(0)];
    expect(ReadCapacity10Data.read((await send(make().drive, capacity)).data)).toEqual({
      lastLogicalBlockAddress: 299,
      blockLength: 2048,
    });
    const drive = new DvdUnit(DISK_ID, new FakeDisk({ blocks: 13 }));
    expect(be32((await send(drive, capacity)).data, 0)).toBe(2);
  });

  it('takes no image whose sectors are larger than its blocks', () => {
    const large = new FakeDisk({ blocks: 10, blockBytes: 4096, readOnly: true });
    const refusal = expect.objectContaining({ code: 'UNSUPPORTED_SECTOR_SIZE' });
    expect(() => new DvdUnit(DISK_ID, large)).toThrow(refusal);
    const { disk, drive } = make();
    expect(() => drive.insert(large)).toThrow(refusal);
    expect(drive.medium).toBe(disk);
  });

  it('has a table of contents of one data track', async () => {
    const { drive } = make(4500);
    const lba = await send(drive, [0x43, 0, 0, 0, 0, 0, 0, 0, 20, 0]);
    expect([...lba.data]).toEqual([
      ...[0, 18, 1, 1],
      ...[0, 0x14, 1, 0, 0, 0, 0, 0],
      ...[0, 0x14, 0xaa, 0, 0, 0, 4500 >>> 8, 4500 & 0xff],
    ]);
    const leadOut = await send(drive, [0x43, 2, 0, 0, 0, 0, 0xaa, 0, 12, 0]);
    expect([...leadOut.data.subarray(8)]).toEqual([0, 1, 2, 0]);
    const session = await send(drive, [0x43, 0, 0, 0, 0, 0, 0, 0, 12, 0x40]);
    expect([...session.data]).toEqual([0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0]);
    expect((await send(drive, [0x43, 0, 0, 0, 0, 0, 2, 0, 12, 0])).sense).toBe(Sense.INVALID_FIELD_IN_CDB);
  });

  it('describes its disc and track as Linux reads them', async () => {
    const { drive } = make();
    const disc = DiscInformation.read((await send(drive, [0x51, 0, 0, 0, 0, 0, 0, 0, 34, 0])).data);
    expect(disc).toMatchObject({ dataLength: 32, status: 0x0e, lastTrackInLastSession: 1 });
    const track = await send(drive, [0x52, 1, 0, 0, 0, 1, 0, 0, 36, 0]);
    expect(TrackInformation.read(track.data)).toMatchObject({ startAddress: 0, size: 300, track: 1 });
    expect((await send(drive, [0x52, 1, 0, 0, 0, 2, 0, 0, 36, 0])).sense).toBe(Sense.INVALID_FIELD_IN_CDB);
  });

  it('has a capabilities page in both forms of MODE SENSE', async () => {
    const { drive } = make();
    const ten = await send(drive, [0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 128, 0]);
    const page = CapabilitiesPage.read(ten.data, 8);
    expect(page).toMatchObject({ pageCode: 0x2a, reads: 0x0b, mechanism: 0x29 });
    expect(page.maximumSpeedKBps / 176).toBe(32);
    expect((await send(drive, [0x1a, 0, 0x2a, 0, 128, 0])).data.length).toBe(4 + 22);
  });

  it('tells profile and features', async () => {
    const cd = await send(make().drive, [0x46, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
    expect(be16(cd.data, 6)).toBe(0x0008);
    expect(be32(cd.data, 0)).toBe(cd.data.length - 4);
    const one = await send(make().drive, [0x46, 2, 0, 0x1e, 0, 0, 0, 1, 0, 0]);
    expect([...one.data.subarray(8)]).toEqual([0, 0x1e, 0x09, 4, 0, 0, 0, 0]);
    const empty = await send(new DvdUnit(DISK_ID), [0x46, 1, 0, 0, 0, 0, 0, 1, 0, 0]);
    expect(be16(empty.data, 6)).toBe(0);
  });
});

describe('the tray', () => {
  it('reports an empty drive', async () => {
    const drive = new DvdUnit(DISK_ID);
    for (const cdb of [TEST_UNIT_READY, read10(0, 1), [0x25, ...new Array<number>(9).fill(0)]]) {
      expect(await send(drive, cdb)).toMatchObject({ sense: Sense.MEDIUM_NOT_PRESENT_TRAY_CLOSED });
    }
    expect([...(await send(drive, EVENT_STATUS)).data]).toEqual([0, 6, 4, 0x10, 0, 0, 0, 0]);
  });

  it('tells of a disc that was put in: an event, and an attention once', async () => {
    const drive = new DvdUnit(DISK_ID);
    drive.insert(make().disk);
    expect([...(await send(drive, EVENT_STATUS)).data]).toEqual([0, 6, 4, 0x10, 2, 2, 0, 0]);
    expect([...(await send(drive, EVENT_STATUS)).data]).toEqual([0, 6, 4, 0x10, 0, 2, 0, 0]);
    expect((await send(drive, TEST_UNIT_READY)).sense).toBe(Sense.MEDIUM_MAY_HAVE_CHANGED);
    expect((await send(drive, TEST_UNIT_READY)).status).toBe(0);
  });

  it('opens and closes as the guest asks, with the disc in it', async () => {
    const { disk, drive } = make();
    expect((await send(drive, EJECT)).status).toBe(0);
    expect((await send(drive, TEST_UNIT_READY)).sense).toBe(Sense.MEDIUM_NOT_PRESENT_TRAY_OPEN);
    expect((await send(drive, EVENT_STATUS)).data.subarray(4, 6)).toEqual(Uint8Array.of(3, 1));
    expect(drive.medium).toBe(disk);
    await send(drive, LOAD);
    expect((await send(drive, TEST_UNIT_READY)).sense).toBe(Sense.MEDIUM_MAY_HAVE_CHANGED);
    expect((await send(drive, read10(0, 1))).status).toBe(0);
  });

  it('stays closed while the guest prevents removal, until it is forced or reset', async () => {
    const { drive } = make();
    await send(drive, PREVENT);
    expect((await send(drive, EJECT)).sense).toBe(Sense.MEDIUM_REMOVAL_PREVENTED);
    expect(await drive.eject()).toBe(false);
    expect((await send(drive, EVENT_STATUS)).data[4]).toBe(1);
    expect((await send(drive, TEST_UNIT_READY)).status).toBe(0);
    await send(drive, ALLOW);
    expect(await drive.eject()).toBe(true);
    expect(drive.medium).toBeUndefined();

    const other = make().drive;
    await send(other, PREVENT);
    expect(await other.eject(true)).toBe(true);
    const third = make().drive;
    await send(third, PREVENT);
    third.reset(Sense.BUS_RESET_OCCURRED);
    expect(await third.eject()).toBe(true);
  });

  it('gives a medium back only when nothing reads it any more', async () => {
    const { disk, drive } = make();
    disk.hold = true;
    const reading = drive.execute(Uint8Array.from(read10(0, 1)), [new Uint8Array(2048)], []);
    let out = false;
    const ejected = drive.eject().then(() => {
      out = true;
    });
    await Promise.resolve();
    expect(out).toBe(false);
    disk.release();
    await ejected;
    expect((await reading).status).toBe(0);
  });

  it('answers any command of any length', async () => {
    const operation = fc.oneof(fc.constantFrom(...Object.values(ScsiOp)), fc.nat(255));
    await fc.assert(
      fc.asyncProperty(
        operation,
        fc.uint8Array({ maxLength: 15 }),
        fc.nat(4096),
        async (code, rest, room) => {
          const result = await send(make(8).drive, [code, ...rest], room);
          expect([0, 2]).toContain(result.status);
          expect(result.sense !== 0).toBe(result.status === 2);
          expect(result.transferred).toBeLessThanOrEqual(room);
        },
      ),
      { numRuns: 150 },
    );
  });
});
