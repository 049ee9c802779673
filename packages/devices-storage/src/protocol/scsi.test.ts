import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { be32, be64, cdbLengthOf, formatSense, readSense, SENSE_BYTES, Sense, writeSense } from './scsi.ts';
import { VstorProperties, VstorSrb, VstorSubChannels, VstorVersionQuery } from './storvsp.ts';

describe('vstor packets', () => {
  it('lie as in struct vmscsi_request, 12 bytes into the packet', () => {
    expect(VstorSrb.sizeBytes).toBe(64);
    const offsets = {
      length: 0,
      srbStatus: 2,
      scsiStatus: 3,
      lun: 7,
      cdbLength: 8,
      senseInfoLength: 9,
      dataIn: 10,
      dataTransferLength: 12,
      cdbOrSense: 16,
      queueTag: 38,
      srbFlags: 40,
      timeOutValue: 44,
      queueSortKey: 48,
    } as const;
    for (const [field, offset] of Object.entries(offsets)) {
      expect([field, VstorSrb.offsetOf(field as keyof typeof offsets)]).toEqual([field, 12 + offset]);
    }
    expect(VstorVersionQuery.offsetOf('majorMinor')).toBe(12);
    expect(VstorProperties.offsetOf('maxChannelCount')).toBe(16);
    expect(VstorProperties.offsetOf('maxTransferBytes')).toBe(24);
    expect(VstorSubChannels.offsetOf('subChannelCount')).toBe(12);
  });
});

describe('sense data', () => {
  it('goes there and back for every code, and touches nothing else', () => {
    const target = new Uint8Array(SENSE_BYTES + 2).fill(0xff);
    for (const sense of Object.values(Sense)) {
      writeSense(target, 1, sense);
      expect(readSense(target.subarray(1))).toBe(sense);
      expect([target[0], target[SENSE_BYTES + 1]]).toEqual([0xff, 0xff]);
    }
  });

  it('is none where the format is another', () => {
    expect(readSense(Uint8Array.of(0x72, 5, 0x24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))).toBe(Sense.NO_SENSE);
    expect(readSense(Uint8Array.of(0x70, 0, 5))).toBe(Sense.NO_SENSE);
  });

  it('reads as people write it', () => {
    expect(formatSense(Sense.INVALID_FIELD_IN_CDB)).toBe('5/24/00');
    expect(formatSense(Sense.MISCOMPARE_DURING_VERIFY)).toBe('e/1d/00');
  });
});

it('knows the length of a CDB by its group', () => {
  expect([0x00, 0x28, 0x5a, 0x88, 0xa8].map(cdbLengthOf)).toEqual([6, 10, 10, 16, 12]);
});

it('reads big-endian numbers of 32 and 64 bits', () => {
  const bytes = new Uint8Array(8);
  const data = new DataView(bytes.buffer);
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (value) => {
      data.setBigUint64(0, value);
      expect(be32(bytes, 0)).toBe(Number(value >> 32n));
      expect(be64(bytes, 0)).toBe(Number(value >> 32n) * 2 ** 32 + Number(value & 0xffff_ffffn));
    }),
  );
});
