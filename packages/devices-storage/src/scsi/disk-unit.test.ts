import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BlockLimitsPage,
  be32,
  InquiryData,
  ReadCapacity10Data,
  ReadCapacity16Data,
  ScsiOp,
  ScsiStatus,
  Sense,
  UnmapDescriptor,
} from '../protocol/scsi.ts';
import { DiskUnit } from './disk-unit.ts';
import { DISK_ID, FakeDisk, send, sendData } from './test-utils/fake-disk.ts';

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');

function make(options: ConstructorParameters<typeof FakeDisk>[0] = {}) {
  const disk = new FakeDisk(options);
  for (let i = 0; i < disk.bytes.length; i++) disk.bytes[i] = (i * 7 + (i >>> 9)) & 0xff;
  return { disk, unit: new DiskUnit(disk) };
}

const readCdb = {
  6: (lba: number, count: number) => [0x08, lba >>> 16, (lba >>> 8) & 0xff, lba & 0xff, count, 0],
  10: (lba: number, count: number) => [0x28, 0, 0, 0, lba >>> 8, lba & 0xff, 0, count >>> 8, count & 0xff, 0],
  12: (lba: number, count: number) => [
    0xa8,
    0,
    0,
    0,
    lba >>> 8,
    lba & 0xff,
    0,
    0,
    count >>> 8,
    count & 0xff,
    0,
    0,
  ],
  16: (lba: number, count: number, high = 0) => [
    ...[0x88, 0, high, 0, 0, 0, 0, 0, lba >>> 8, lba & 0xff],
    ...[0, 0, count >>> 8, count & 0xff, 0, 0],
  ],
};
/** The write that belongs to a read. */
const asWrite = (cdb: readonly number[], flags = 0) =>
  cdb.map((byte, i) => (i === 0 ? byte + 2 : i === 1 ? byte | flags : byte));

describe('identity', () => {
  it('is a Hyper-V disk in standard INQUIRY data', async () => {
    const { data } = await send(make().unit, [0x12, 0, 0, 0, 255, 0]);
    const inquiry = InquiryData.read(data);
    expect(data.length).toBe(36);
    expect(inquiry).toMatchObject({ peripheral: 0, removable: 0, version: 5, responseDataFormat: 2 });
    expect(inquiry.additionalLength).toBe(31);
    expect(inquiry.commandQueue & 2).toBe(2);
    expect(text(data.subarray(8))).toBe('Msft    Virtual Disk    1.0 ');
  });

  it('lists its vital product data pages and answers each', async () => {
    const { unit } = make();
    const { data } = await send(unit, [0x12, 1, 0, 0, 255, 0]);
    expect([...data.subarray(4)]).toEqual([0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
    for (const code of data.subarray(4)) {
      const page = await send(unit, [0x12, 1, code, 1, 0, 0]);
      expect(page.data[1]).toBe(code);
      expect(page.data.length).toBe(4 + page.data[2] * 256 + page.data[3]);
    }
  });

  it('has a serial number and an NAA designator that come from the disk', async () => {
    const { unit } = make();
    const serial = await send(unit, [0x12, 1, 0x80, 0, 255, 0]);
    expect(text(serial.data.subarray(4))).toBe(DISK_ID.replaceAll('-', ''));
    const designators = (await send(unit, [0x12, 1, 0x83, 0, 255, 0])).data.subarray(4);
    expect([...designators.subarray(0, 8)]).toEqual([0x01, 0x03, 0, 16, 0x60, 0x02, 0x24, 0x87]);
    expect([...designators.subarray(20, 24)]).toEqual([0x02, 0x01, 0, 40]);
  });

  it('reports limits and provisioning only where the disk can trim', async () => {
    const thin = BlockLimitsPage.read((await send(make().unit, [0x12, 1, 0xb0, 0, 255, 0])).data);
    expect(thin).toMatchObject({
      pageLength: 0x3c,
      optimalTransferGranularity: 8,
      optimalUnmapGranularity: 8,
    });
    expect(thin.maximumUnmapLbaCount).toBe(0xffff_ffff);
    const thick = make({ canTrim: false }).unit;
    const limits = BlockLimitsPage.read((await send(thick, [0x12, 1, 0xb0, 0, 255, 0])).data);
    expect(limits).toMatchObject({ maximumUnmapLbaCount: 0, maximumUnmapDescriptorCount: 0 });
    expect((await send(thick, [0x12, 1, 0xb2, 0, 255, 0])).data[5]).toBe(0);
    expect((await send(make().unit, [0x12, 1, 0xb2, 0, 255, 0])).data[5]).toBe(0xe0);
  });

  it('moves nothing for a page that it lacks', async () => {
    const result = await send(make().unit, [0x12, 1, 0x89, 0, 255, 0]);
    expect(result).toMatchObject({ status: 2, sense: Sense.INVALID_FIELD_IN_CDB, transferred: 0 });
  });

  it('cuts data to the allocation length, and says where the buffer was too small', async () => {
    const { unit } = make();
    expect(await send(unit, [0x12, 0, 0, 0, 5, 0])).toMatchObject({ transferred: 5, wanted: 5 });
    expect(await send(unit, [0x12, 0, 0, 0, 36, 0], 8)).toMatchObject({
      status: 0,
      transferred: 8,
      wanted: 36,
    });
  });
});

describe('capacity and modes', () => {
  it('tells its size', async () => {
    const { unit } = make({ blocks: 1000 });
    const short = ReadCapacity10Data.read((await send(unit, [0x25, ...new Array<number>(9).fill(0)])).data);
    expect(short).toEqual({ lastLogicalBlockAddress: 999, blockLength: 512 });
    const long = await send(unit, [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0]);
    expect(ReadCapacity16Data.read(long.data)).toEqual({
      lastLogicalBlockAddress: 999n,
      blockLength: 512,
      physicalBlockExponent: 3,
      provisioning: 0x80,
    });
  });

  it('says that READ CAPACITY(10) is not enough for a large disk', async () => {
    const { disk } = make();
    Object.defineProperty(disk, 'sizeBytes', { value: 2 ** 32 * 512 + 4096 });
    const { data } = await send(new DiskUnit(disk), [0x25, ...new Array<number>(9).fill(0)]);
    expect(be32(data, 0)).toBe(0xffff_ffff);
  });

  it('shows write protection and the cache in its mode pages', async () => {
    const six = await send(make({ readOnly: true }).unit, [0x1a, 0, 0x3f, 0, 4, 0]);
    expect([...six.data]).toEqual([4 + 12 + 20 + 12 - 1, 0, 0x90, 0]);
    const ten = await send(make().unit, [0x5a, 0, 0x08, 0, 0, 0, 0, 0, 64, 0]);
    expect(ten.data.length).toBe(28);
    expect([...ten.data.subarray(0, 11)]).toEqual([0, 26, 0, 0x10, 0, 0, 0, 0, 0x08, 18, 0x04]);
    const changeable = await send(make().unit, [0x1a, 0, 0x48, 0, 64, 0]);
    expect(changeable.data[6]).toBe(0x04);
  });

  it.each([
    ['saved values', [0x1a, 0, 0xc8, 0, 64, 0], Sense.SAVING_PARAMETERS_NOT_SUPPORTED],
    ['an unknown page', [0x1a, 0, 0x1c, 0, 64, 0], Sense.INVALID_FIELD_IN_CDB],
    ['a subpage', [0x1a, 0, 0x08, 1, 64, 0], Sense.INVALID_FIELD_IN_CDB],
  ])('refuses %s', async (_, cdb, sense) => {
    expect(await send(make().unit, cdb)).toMatchObject({ status: 2, sense });
  });

  it('lets the write cache be turned off: then every write is durable', async () => {
    const { disk, unit } = make();
    const list = new Uint8Array(24);
    list.set([0x08, 18, 0x00], 4);
    expect(await sendData(unit, [0x15, 0x10, 0, 0, 24, 0], list)).toMatchObject({ status: 0 });
    await sendData(unit, asWrite(readCdb[10](0, 1)), new Uint8Array(512));
    expect(disk.log).toEqual(['flush', 'write 0 512', 'flush']);
    expect((await send(unit, [0x1a, 0, 0x08, 0, 64, 0])).data[6]).toBe(0);
  });

  it.each([
    ['no page format', [0x15, 0x00, 0, 0, 24, 0], [], Sense.INVALID_FIELD_IN_CDB],
    ['saving', [0x15, 0x11, 0, 0, 24, 0], [], Sense.INVALID_FIELD_IN_CDB],
    ['a short list', [0x15, 0x10, 0, 0, 3, 0], [], Sense.PARAMETER_LIST_LENGTH_ERROR],
    ['a cut page', [0x15, 0x10, 0, 0, 14, 0], [0x08, 18, 4], Sense.PARAMETER_LIST_LENGTH_ERROR],
    ['another field', [0x15, 0x10, 0, 0, 24, 0], [0x08, 18, 5], Sense.INVALID_FIELD_IN_PARAMETER_LIST],
    ['another page', [0x15, 0x10, 0, 0, 24, 0], [0x1c, 10], Sense.INVALID_FIELD_IN_PARAMETER_LIST],
  ])('refuses a MODE SELECT with %s', async (_, cdb, page, sense) => {
    const list = new Uint8Array(24);
    list.set(page, 4);
    const { disk, unit } = make();
    expect(await sendData(unit, cdb, list)).toMatchObject({ status: 2, sense });
    expect(disk.log).toEqual([]);
  });
});

describe.each([6, 10, 12, 16] as const)('READ(%i) and WRITE(%i)', (length) => {
  it('move data between the disk and buffers of any shape', async () => {
    const { disk, unit } = make();
    const first = new Uint8Array(100);
    const second = new Uint8Array(2000);
    const result = await unit.execute(Uint8Array.from(readCdb[length](3, 2)), [first, second], []);
    expect(result).toMatchObject({ status: 0, transferred: 1024 });
    expect(first).toEqual(disk.bytes.slice(1536, 1636));
    expect(second.subarray(0, 924)).toEqual(disk.bytes.slice(1636, 2560));
    expect(second.subarray(924).every((byte) => byte === 0)).toBe(true);

    const data = new Uint8Array(1024).fill(0xa5);
    expect(await sendData(unit, asWrite(readCdb[length](7, 2)), data)).toMatchObject({ transferred: 1024 });
    expect(disk.bytes.slice(7 * 512, 9 * 512)).toEqual(data);
  });

  it('refuse what lies beyond the end', async () => {
    const { disk, unit } = make({ blocks: 100 });
    for (const [lba, count] of [
      [100, 1],
      [99, 2],
      [4000, 1],
    ]) {
      const sense = Sense.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE;
      expect(await send(unit, readCdb[length](lba, count))).toMatchObject({ status: 2, sense });
      const write = asWrite(readCdb[length](lba, count));
      expect(await sendData(unit, write, new Uint8Array(1024))).toMatchObject({ status: 2, sense });
    }
    expect(disk.log).toEqual([]);
  });

  it('refuse a buffer that is smaller than the transfer', async () => {
    const { disk, unit } = make();
    const sense = Sense.INVALID_FIELD_IN_CDB;
    expect(await send(unit, readCdb[length](0, 2), 1023)).toMatchObject({ status: 2, sense });
    const write = asWrite(readCdb[length](0, 2));
    expect(await sendData(unit, write, new Uint8Array(1023))).toMatchObject({ status: 2, sense });
    expect(disk.log).toEqual([]);
  });
});

describe('reading and writing', () => {
  it('reads 256 blocks for a count of 0 in six bytes, nothing in ten', async () => {
    const { disk, unit } = make();
    expect(await send(unit, readCdb[6](0, 0), 256 * 512)).toMatchObject({ transferred: 256 * 512 });
    expect(await send(unit, readCdb[10](0, 0))).toMatchObject({ status: 0, transferred: 0 });
    expect(disk.log).toEqual(['read 0 131072']);
  });

  it('takes an address beyond 2^53 for out of range', async () => {
    const result = await send(make().unit, readCdb[16](0, 1, 0xff));
    expect(result.sense).toBe(Sense.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE);
  });

  it('flushes behind a write with FUA', async () => {
    const { disk, unit } = make();
    await sendData(unit, asWrite(readCdb[10](1, 1), 0x08), new Uint8Array(512));
    expect(disk.log).toEqual(['write 512 512', 'flush']);
  });

  it('refuses protection information', async () => {
    const cdb = readCdb[10](0, 1);
    cdb[1] = 0x20;
    expect(await send(make().unit, cdb)).toMatchObject({ sense: Sense.INVALID_FIELD_IN_CDB });
  });

  it.each([false, true])('turns errors of the host into medium errors (later: %s)', async (asynchronous) => {
    const { disk, unit } = make();
    disk.asynchronous = asynchronous;
    disk.failure = new Error('EIO');
    const read = await send(unit, readCdb[10](0, 1));
    expect(read).toMatchObject({ status: 2, sense: Sense.UNRECOVERED_READ_ERROR, transferred: 0 });
    expect(read.cause?.message).toBe('EIO');
    const write = await sendData(unit, asWrite(readCdb[10](0, 1)), new Uint8Array(512));
    expect(write.sense).toBe(Sense.WRITE_ERROR);
    expect((await send(unit, [0x35, ...new Array<number>(9).fill(0)])).sense).toBe(Sense.WRITE_ERROR);
  });

  it('protects a read-only disk from every command that changes it', async () => {
    const { disk, unit } = make({ readOnly: true });
    const unmap = new Uint8Array(24);
    for (const [cdb, data] of [
      [asWrite(readCdb[10](0, 1)), new Uint8Array(512)],
      [[0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0], new Uint8Array(512)],
      [[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], unmap],
    ] as const) {
      expect(await sendData(unit, cdb, data)).toMatchObject({ status: 2, sense: Sense.WRITE_PROTECTED });
    }
    expect(disk.log).toEqual([]);
  });

  it('flushes only what came before: SYNCHRONIZE CACHE waits for writes in progress', async () => {
    const { disk, unit } = make();
    disk.hold = true;
    const write = unit.execute(Uint8Array.from(asWrite(readCdb[10](0, 1))), [], [new Uint8Array(512)]);
    const flush = unit.execute(Uint8Array.from([0x35, ...new Array<number>(9).fill(0)]), [], []);
    await Promise.resolve();
    expect(disk.log).toEqual(['write 0 512']);
    disk.hold = false;
    disk.release();
    expect((await write).status).toBe(0);
    expect((await flush).status).toBe(0);
    expect(disk.log).toEqual(['write 0 512', 'flush']);
  });

  it('flushes when it stops, and has nothing to eject', async () => {
    const { disk, unit } = make();
    expect((await send(unit, [0x1b, 0, 0, 0, 0, 0])).status).toBe(0);
    expect(disk.log).toEqual(['flush']);
    expect((await send(unit, [0x1b, 0, 0, 0, 2, 0])).sense).toBe(Sense.INVALID_FIELD_IN_CDB);
  });
});

describe('VERIFY', () => {
  const cdb = (flags: number, lba: number, count: number) => [0x2f, flags, 0, 0, 0, lba, 0, 0, count, 0];

  it('compares with the data that came', async () => {
    const { disk, unit } = make();
    const data = disk.bytes.slice(512, 512 * 4);
    expect(await sendData(unit, cdb(2, 1, 3), data)).toMatchObject({ status: 0, transferred: 1536 });
    data[1000] ^= 1;
    expect(await sendData(unit, cdb(2, 1, 3), data)).toMatchObject({ sense: Sense.MISCOMPARE_DURING_VERIFY });
    expect(await sendData(unit, cdb(2, 1, 4), data)).toMatchObject({ sense: Sense.INVALID_FIELD_IN_CDB });
  });

  it('checks the range where there is nothing to compare', async () => {
    const { unit } = make({ blocks: 16 });
    expect((await send(unit, cdb(0, 0, 16))).status).toBe(0);
    expect((await send(unit, cdb(0, 1, 16))).sense).toBe(Sense.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE);
    expect((await send(unit, cdb(6, 0, 1))).sense).toBe(Sense.INVALID_FIELD_IN_CDB);
  });
});

describe('WRITE SAME', () => {
  const cdb16 = (flags: number, lba: number, count: number) => [
    ...[0x93, flags, 0, 0, 0, 0, 0, 0, lba >>> 8, lba & 0xff],
    ...[0, 0, count >>> 8, count & 0xff, 0, 0],
  ];

  it('repeats a block, in writes of bounded size', async () => {
    const { disk, unit } = make({ blocks: 8192 });
    const pattern = Uint8Array.from({ length: 512 }, (_, i) => i & 0xff);
    const result = await sendData(unit, cdb16(0, 1, 5000), pattern);
    expect(result).toMatchObject({ status: 0, transferred: 512 });
    for (const block of [1, 2, 2500, 5000]) {
      expect(disk.bytes.slice(block * 512, (block + 1) * 512)).toEqual(pattern);
    }
    expect(disk.bytes[5001 * 512]).not.toBe(pattern[0]);
    expect(disk.log).toEqual([
      `write 512 ${1 << 20}`,
      `write ${512 + (1 << 20)} ${1 << 20}`,
      `write ${512 + (2 << 20)} ${5000 * 512 - (2 << 20)}`,
    ]);
  });

  it('writes zeroes without data, and to the end for a count of 0', async () => {
    const { disk, unit } = make({ blocks: 64 });
    expect((await send(unit, cdb16(1, 60, 0), 0)).status).toBe(0);
    expect(disk.log).toEqual([`write ${60 * 512} 2048`]);
    expect(disk.bytes.subarray(60 * 512).every((byte) => byte === 0)).toBe(true);
  });

  it('deallocates where asked to, if the disk can', async () => {
    const { disk, unit } = make();
    expect((await sendData(unit, cdb16(8, 2, 4), new Uint8Array(512))).status).toBe(0);
    expect(disk.log).toEqual(['trim 1024 2048']);
    const thick = make({ canTrim: false });
    const refused = await sendData(thick.unit, cdb16(8, 2, 4), new Uint8Array(512));
    expect(refused.sense).toBe(Sense.INVALID_FIELD_IN_CDB);
  });

  it('refuses more than its limit, anchors, and a missing block', async () => {
    const { disk, unit } = make({ blocks: 8 });
    Object.defineProperty(disk, 'sizeBytes', { value: 2 ** 30 });
    const large = new DiskUnit(disk);
    expect((await send(large, cdb16(1, 0, 0), 0)).sense).toBe(Sense.INVALID_FIELD_IN_CDB);
    expect((await send(unit, cdb16(0x10, 0, 1), 0)).sense).toBe(Sense.INVALID_FIELD_IN_CDB);
    expect((await send(unit, cdb16(0, 0, 1), 0)).sense).toBe(Sense.INVALID_FIELD_IN_CDB);
    expect(disk.log).toEqual([]);
  });
});

describe('UNMAP', () => {
  const list = (...ranges: readonly (readonly [number, number])[]) => {
    const data = new Uint8Array(8 + ranges.length * 16);
    new DataView(data.buffer).setUint16(2, ranges.length * 16);
    for (const [i, [lba, blockCount]] of ranges.entries()) {
      UnmapDescriptor.write(data, { logicalBlockAddress: BigInt(lba), blockCount }, 8 + i * 16);
    }
    return data;
  };
  const cdb = (length: number) => [0x42, 0, 0, 0, 0, 0, 0, length >>> 8, length & 0xff, 0];

  it('trims every range, skipping empty ones', async () => {
    const { disk, unit } = make();
    const data = list([8, 8], [100, 0], [32, 1]);
    expect(await sendData(unit, cdb(data.length), data)).toMatchObject({ status: 0 });
    expect(disk.log).toEqual(['trim 4096 4096', 'trim 16384 512']);
  });

  it('trims nothing where one range is wrong', async () => {
    const { disk, unit } = make();
    const data = list([8, 8], [1020, 8]);
    const result = await sendData(unit, cdb(data.length), data);
    expect(result.sense).toBe(Sense.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE);
    expect(disk.log).toEqual([]);
  });

  it.each([
    ['a list without a header', new Uint8Array(4), 4, Sense.PARAMETER_LIST_LENGTH_ERROR],
    ['less data than announced', new Uint8Array(8), 24, Sense.INVALID_FIELD_IN_CDB],
    [
      'too many ranges',
      list(...new Array<[number, number]>(257).fill([0, 1])),
      8 + 257 * 16,
      Sense.INVALID_FIELD_IN_PARAMETER_LIST,
    ],
  ])('refuses %s', async (_, data, length, sense) => {
    expect(await sendData(make().unit, cdb(length), data)).toMatchObject({ status: 2, sense });
  });

  it('is unknown to a disk that cannot trim', async () => {
    const { unit } = make({ canTrim: false });
    expect((await sendData(unit, cdb(8), new Uint8Array(8))).sense).toBe(
      Sense.INVALID_COMMAND_OPERATION_CODE,
    );
  });
});

describe('sense data and attention', () => {
  it('keeps the sense data of the last command until it is read', async () => {
    const { unit } = make();
    await send(unit, [0x5e, 0, 0, 0, 0, 0, 0, 0, 8, 0]);
    const sense = await send(unit, [0x03, 0, 0, 0, 18, 0]);
    expect([...sense.data]).toEqual([0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0]);
    expect((await send(unit, [0x03, 0, 0, 0, 18, 0])).data[2]).toBe(0);
  });

  it('reports an attention once, but never to INQUIRY', async () => {
    const { unit } = make();
    unit.reset(Sense.BUS_RESET_OCCURRED);
    unit.raise(Sense.BUS_RESET_OCCURRED);
    expect((await send(unit, [0x12, 0, 0, 0, 36, 0])).status).toBe(0);
    expect(await send(unit, [0, 0, 0, 0, 0, 0])).toMatchObject({
      status: 2,
      sense: Sense.BUS_RESET_OCCURRED,
    });
    expect((await send(unit, [0, 0, 0, 0, 0, 0])).status).toBe(0);
  });

  it('gives a pending attention to REQUEST SENSE', async () => {
    const { unit } = make();
    unit.raise(Sense.DEVICE_RESET_OCCURRED);
    expect((await send(unit, [0x03, 0, 0, 0, 18, 0])).data.subarray(12, 14)).toEqual(Uint8Array.of(0x29, 3));
    expect((await send(unit, [0, 0, 0, 0, 0, 0])).status).toBe(0);
  });

  it.each([
    ['PERSISTENT RESERVE IN', [ScsiOp.PERSISTENT_RESERVE_IN, 0, 0, 0, 0, 0, 0, 0, 8, 0]],
    ['PERSISTENT RESERVE OUT', [ScsiOp.PERSISTENT_RESERVE_OUT, 0, 0, 0, 0, 0, 0, 0, 24, 0]],
    ['LOG SENSE', [0x4d, 0, 0x40, 0, 0, 0, 0, 0, 4, 0]],
    ['a vendor command', [0xc1, 0, 0, 0, 0, 0]],
  ])('does not know %s', async (_, cdb) => {
    expect(await send(make().unit, cdb)).toMatchObject({ sense: Sense.INVALID_COMMAND_OPERATION_CODE });
  });

  it('answers any command of any length with a status, and sense where it failed', async () => {
    const operation = fc.oneof(fc.constantFrom(...Object.values(ScsiOp)), fc.nat(255));
    const cdbs = fc
      .tuple(operation, fc.uint8Array({ minLength: 0, maxLength: 15 }))
      .map(([code, rest]) => Uint8Array.of(code, ...rest));
    const buffer = fc.array(fc.uint8Array({ maxLength: 2048 }), { maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(cdbs, buffer, buffer, async (cdb, dataIn, dataOut) => {
        const { unit } = make({ blocks: 64 });
        const room = dataIn.reduce((sum, view) => sum + view.length, 0);
        const result = await unit.execute(cdb, dataIn, dataOut);
        const failed = result.status === ScsiStatus.CHECK_CONDITION;
        expect(failed || result.status === ScsiStatus.GOOD).toBe(true);
        expect(result.sense !== 0).toBe(failed);
        expect(result.cause).toBeUndefined();
        const moved = room + dataOut.reduce((sum, view) => sum + view.length, 0);
        expect(result.transferred).toBeLessThanOrEqual(moved);
        expect(result.wanted).toBeGreaterThanOrEqual(result.transferred);
      }),
      { numRuns: 400 },
    );
  });
});
