/** Identity of logical units: standard INQUIRY data and vital product data pages (SPC-4 6.4 and 7.8). */
import { type Guid, guidToBytes } from '@kensho/core';
import type { DiskInfo } from '../backend/disk.ts';
import {
  BlockLimitsPage,
  be16,
  DeviceType,
  INQUIRY_VERSION_SPC3,
  InquiryData,
  Sense,
  VpdPage,
} from '../protocol/scsi.ts';
import { checkCondition, reply, type ScsiResult } from './result.ts';

/** What a unit says about itself. */
export interface Identity {
  /** Standard INQUIRY data. */
  readonly standard: Uint8Array;
  /** Vital product data pages by page code, page 0 among them. */
  readonly pages: ReadonlyMap<number, Uint8Array>;
}

/** Most descriptors of one UNMAP. */
export const MAX_UNMAP_DESCRIPTORS = 256;
/** Most bytes that one WRITE SAME covers. */
export const MAX_WRITE_SAME_BYTES = 64 * 1024 * 1024;

const ascii = new TextEncoder();
const VENDOR = 'Msft    ';

/** The identity of a disk. */
export function diskIdentity(disk: DiskInfo): Identity {
  const blockBytes = disk.logicalSectorBytes;
  const blocksPerPhysical = Math.max(1, disk.physicalSectorBytes / blockBytes);
  const limits = BlockLimitsPage.encode({
    optimalTransferGranularity: blocksPerPhysical,
    maximumUnmapLbaCount: disk.canTrim ? 0xffff_ffff : 0,
    maximumUnmapDescriptorCount: disk.canTrim ? MAX_UNMAP_DESCRIPTORS : 0,
    optimalUnmapGranularity: disk.canTrim ? blocksPerPhysical : 0,
    maximumWriteSameLength: BigInt(MAX_WRITE_SAME_BYTES / blockBytes),
  });
  const characteristics = new Uint8Array(60);
  characteristics[1] = 1; // medium rotation rate: does not rotate
  const provisioning = disk.canTrim
    ? Uint8Array.of(0, 0xe0, 2, 0) // UNMAP and both WRITE SAMEs deallocate; thin-provisioned
    : Uint8Array.of(0, 0, 0, 0);
  return identity(DeviceType.DISK, 0, 'Virtual Disk', disk.id, [
    [VpdPage.BLOCK_LIMITS, limits.subarray(4)],
    [VpdPage.BLOCK_DEVICE_CHARACTERISTICS, characteristics],
    [VpdPage.LOGICAL_BLOCK_PROVISIONING, provisioning],
  ]);
}

/** The identity of a CD/DVD drive; `id` stays the same for the same drive. */
export function dvdIdentity(id: Guid): Identity {
  return identity(DeviceType.CD_DVD, 0x80, 'Virtual DVD-ROM', id, []);
}

/** Standard INQUIRY data. */
export function standardInquiry(peripheral: number, removable: number, product: string): Uint8Array {
  return InquiryData.encode({
    peripheral,
    removable,
    version: INQUIRY_VERSION_SPC3,
    responseDataFormat: 2,
    additionalLength: InquiryData.sizeBytes - 5,
    commandQueue: 0x02,
    vendor: ascii.encode(VENDOR),
    product: ascii.encode(product.padEnd(16)),
    revision: ascii.encode('1.0 '),
  });
}

function identity(
  type: number,
  removable: number,
  product: string,
  id: Guid,
  more: readonly (readonly [number, Uint8Array])[],
): Identity {
  const contents: (readonly [number, Uint8Array])[] = [
    [VpdPage.UNIT_SERIAL_NUMBER, ascii.encode(id.replaceAll('-', ''))],
    [VpdPage.DEVICE_IDENTIFICATION, designators(id)],
    ...more,
  ];
  const codes = Uint8Array.of(VpdPage.SUPPORTED_PAGES, ...contents.map(([code]) => code));
  contents.unshift([VpdPage.SUPPORTED_PAGES, codes]);
  const pages = new Map(
    contents.map(([code, content]): [number, Uint8Array] => {
      const page = new Uint8Array(4 + content.length);
      page.set([type, code, content.length >>> 8, content.length & 0xff]);
      page.set(content, 4);
      return [code, page];
    }),
  );
  return { standard: standardInquiry(type, removable, product), pages };
}

/** Two designators of the unit (SPC-4 7.8.6): an NAA one, 16 bytes, and one of the vendor's own. */
function designators(id: Guid): Uint8Array {
  const seed = guidToBytes(id);
  // NAA 6, then Microsoft's company id 00-22-48, which guests know Hyper-V's disks by, then 100 bits of ours.
  const naa = Uint8Array.of(0x60, 0x02, 0x24, 0x80 | (seed[0] & 0x0f), ...seed.subarray(4));
  const vendor = ascii.encode(VENDOR + id.replaceAll('-', ''));
  return Uint8Array.of(0x01, 0x03, 0, naa.length, ...naa, 0x02, 0x01, 0, vendor.length, ...vendor);
}

/** Answers INQUIRY (SPC-4 6.4). */
export function inquire(cdb: Uint8Array, dataIn: readonly Uint8Array[], unit: Identity): ScsiResult {
  const vital = (cdb[1] & 0x01) !== 0;
  const code = cdb[2];
  if ((cdb[1] & 0xfe) !== 0 || (!vital && code !== 0)) return checkCondition(Sense.INVALID_FIELD_IN_CDB);
  const data = vital ? unit.pages.get(code) : unit.standard;
  if (data === undefined) return checkCondition(Sense.INVALID_FIELD_IN_CDB);
  return reply(dataIn, data, be16(cdb, 3));
}
