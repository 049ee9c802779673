import { checkVhdx, createRamDisk, createVhdx, openVhdx } from '@kensho/devices-storage';
import type { Random } from '../../random.ts';
import { PatchedFile } from '../patched-file.ts';
import type { FuzzTarget } from '../target.ts';
import { type ImageFormat, imageSubject, type SoundImage, type Structure } from './image.ts';

const MIB = 2 ** 20;
const DISK_BYTES = 6 * MIB;
const PARENT_ID = '6f1e2d3c-0000-4000-8000-000000000abc';

const HEADERS = [64 * 1024, 128 * 1024];
const HEADER_BYTES = 4096;
const REGION_TABLES = [192 * 1024, 256 * 1024];
const REGION_TABLE_BYTES = 64 * 1024;
const LOG_OFFSET = MIB;
const LOG_BYTES = MIB;
const METADATA_OFFSET = 2 * MIB;
const METADATA_ITEMS = METADATA_OFFSET + 64 * 1024;
const BAT_OFFSET = 3 * MIB;
const LOG_SIGNATURE = 0x65676f6c;
const LOG_SECTOR_BYTES = 4096;
const CHECKSUM = 4;

/** VHDX images that were changed in places that matter, also while their log is in use. */
export const vhdxTarget: FuzzTarget = {
  id: 'vhdx',
  description: 'damaged VHDX images with and without a log to replay: checked, opened, used, closed',
  corpus: [
    // A log that the header puts beyond the end of the file.
    3100791935, 3389801454,
    // A log that asks for changes to the headers.
    1152041564, 2275183404,
    // A sparse file of terabytes: more places for blocks than fit memory.
    1756951690,
  ],
  create: () => imageSubject(format),
};

const format: ImageFormat = {
  images: async () => [
    await image({}),
    await image({ log: true }),
    await image({ parent: true }),
    await image({ parent: true, log: true }),
    await image({ fixed: true }),
    await image({ logicalSectorBytes: 4096, log: true }),
  ],
  open: async (file, random) =>
    (await openVhdx(file, { newGuid: guids(random), openParent: async () => parent() })).disk,
  check: async (file, random) => (await checkVhdx(file, guids(random))).problems,
};

function parent() {
  return { disk: createRamDisk({ sizeBytes: DISK_BYTES, id: PARENT_ID }), dataWriteGuid: PARENT_ID };
}

function guids(random: Random): () => string {
  return () => `${random.u32().toString(16).padStart(8, '0')}-0000-4000-8000-000000000000`;
}

interface ImageOptions {
  readonly parent?: boolean;
  readonly fixed?: boolean;
  readonly logicalSectorBytes?: number;
  /** As a crash leaves it: the log holds what was committed last. */
  readonly log?: boolean;
}

async function image(options: ImageOptions): Promise<SoundImage> {
  const file = PatchedFile.empty();
  let serial = 1;
  const newGuid = () => `6f1e2d3c-0000-4000-8000-${(serial++).toString(16).padStart(12, '0')}`;
  await createVhdx(file, {
    sizeBytes: options.fixed === true ? MIB : DISK_BYTES,
    fixed: options.fixed,
    blockBytes: MIB,
    logicalSectorBytes: options.logicalSectorBytes,
    newGuid,
    parent:
      options.parent === true
        ? { linkages: [PARENT_ID], relativePath: '.\\p.vhdx', absolutePath: 'C:\\p.vhdx' }
        : undefined,
  });
  const { disk } = await openVhdx(file, { newGuid, openParent: async () => parent() });
  for (const at of [0, MIB - 4096, 3 * MIB]) {
    if (at < disk.sizeBytes) await disk.write(at, [new Uint8Array(4096).fill(0x11)]);
    await disk.flush();
  }
  const crashed = file.copy();
  await disk.close();
  const structures: Structure[] = [
    ...HEADERS.map((offsetBytes) => ({
      offsetBytes,
      lengthBytes: 80,
      seal: sealing(offsetBytes, HEADER_BYTES),
    })),
    ...REGION_TABLES.map((offsetBytes) => ({
      offsetBytes,
      lengthBytes: 80,
      seal: sealing(offsetBytes, REGION_TABLE_BYTES),
    })),
    { offsetBytes: METADATA_OFFSET, lengthBytes: 32 * 7 },
    { offsetBytes: METADATA_ITEMS, lengthBytes: 64 },
    { offsetBytes: BAT_OFFSET, lengthBytes: 64 },
  ];
  if (options.parent === true) structures.push({ offsetBytes: METADATA_ITEMS, lengthBytes: 320 });
  if (options.log === true) structures.push(...logStructures(crashed));
  return { file: options.log === true ? crashed : file.copy(), structures };
}

/** The entries of the log and the sectors behind their headers. */
function logStructures(file: PatchedFile): Structure[] {
  const found: Structure[] = [];
  for (let at = LOG_OFFSET; at < LOG_OFFSET + LOG_BYTES; at += LOG_SECTOR_BYTES) {
    const head = new Uint8Array(16);
    file.read(at, [head]);
    const view = new DataView(head.buffer);
    if (view.getUint32(0, true) !== LOG_SIGNATURE) continue;
    const seal = sealing(at, view.getUint32(8, true));
    found.push({ offsetBytes: at, lengthBytes: 64, seal }, { offsetBytes: at + 64, lengthBytes: 64, seal });
  }
  return found;
}

/** Writes a structure's checksum anew. */
function sealing(offsetBytes: number, sizeBytes: number): (file: PatchedFile) => void {
  return (file) => {
    if (offsetBytes + sizeBytes > file.sizeBytes) return;
    const bytes = new Uint8Array(sizeBytes);
    file.read(offsetBytes, [bytes]);
    const view = new DataView(bytes.buffer);
    view.setUint32(CHECKSUM, 0, true);
    view.setUint32(CHECKSUM, crc32c(bytes), true);
    file.write(offsetBytes, [bytes.subarray(0, CHECKSUM + 4)]);
  };
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  return crc;
});

function crc32c(bytes: Uint8Array): number {
  let crc = ~0;
  for (let i = 0; i < bytes.length; i++) crc = CRC_TABLE[(crc ^ bytes[i]) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}
