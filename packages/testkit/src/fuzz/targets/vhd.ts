import { checkVhd, createRamDisk, createVhd, openVhd } from '@kensho/devices-storage';
import { PatchedFile } from '../patched-file.ts';
import type { FuzzTarget } from '../target.ts';
import { type ImageFormat, imageSubject, type SoundImage, type Structure } from './image.ts';

const DISK_BYTES = 4 * 2 ** 20;
const BLOCK_BYTES = 512 * 1024;
const PARENT_ID = '6f1e2d3c-0000-4000-8000-000000000abc';
const ID = '6f1e2d3c-0000-4000-8000-000000000def';

const FOOTER_BYTES = 512;
const HEADER_OFFSET = 512;
const HEADER_BYTES = 1024;
const TABLE_OFFSET = HEADER_OFFSET + HEADER_BYTES;
const FOOTER_CHECKSUM = 64;
const HEADER_CHECKSUM = 36;

/** VHD images that were changed in places that matter. */
export const vhdTarget: FuzzTarget = {
  id: 'vhd',
  description: 'damaged VHD images, fixed, dynamic and differencing: checked, opened, used, closed',
  corpus: [
    // A block at the last place that the table can name: the next one would be beyond it.
    1565423316,
    // A table that the header makes longer than the file.
    3845719665, 802809002,
  ],
  create: () => imageSubject(format),
};

const format: ImageFormat = {
  images: async () => [await image({ fixed: true }), await image({}), await image({ parent: true })],
  open: async (file) => (await openVhd(file, { openParent: async () => parent() })).disk,
  check: async (file) => (await checkVhd(file)).problems,
};

function parent() {
  const disk = createRamDisk({ sizeBytes: DISK_BYTES, id: PARENT_ID });
  return { disk, uniqueId: PARENT_ID, timeStamp: 1 };
}

async function image(options: { readonly fixed?: boolean; readonly parent?: boolean }): Promise<SoundImage> {
  const file = PatchedFile.empty();
  await createVhd(file, {
    sizeBytes: options.fixed === true ? 64 * 1024 : DISK_BYTES,
    fixed: options.fixed,
    blockBytes: BLOCK_BYTES,
    newGuid: () => ID,
    nowMs: () => 1e12,
    parent:
      options.parent === true
        ? { uniqueId: PARENT_ID, timeStamp: 1, relativePath: '.\\p.vhd', absolutePath: 'C:\\p.vhd' }
        : undefined,
  });
  const { disk } = await openVhd(file, { openParent: async () => parent() });
  for (const at of [0, BLOCK_BYTES - 512, 3 * BLOCK_BYTES]) {
    if (at < disk.sizeBytes) await disk.write(at, [new Uint8Array(512).fill(0x11)]);
  }
  await disk.close();
  const structures: Structure[] = [sealed(file.sizeBytes - FOOTER_BYTES, FOOTER_BYTES, 88, FOOTER_CHECKSUM)];
  if (options.fixed !== true) {
    structures.push(
      sealed(0, FOOTER_BYTES, 88, FOOTER_CHECKSUM),
      sealed(HEADER_OFFSET, HEADER_BYTES, 64, HEADER_CHECKSUM),
      sealed(HEADER_OFFSET, HEADER_BYTES, HEADER_BYTES, HEADER_CHECKSUM),
      { offsetBytes: TABLE_OFFSET, lengthBytes: 48 },
      // Paths of the parent, or the first block's bitmap.
      { offsetBytes: TABLE_OFFSET + 512, lengthBytes: 1536 },
    );
  }
  return { file: file.copy(), structures };
}

/** A structure with a checksum: the one's complement of the sum of its other bytes. */
function sealed(offsetBytes: number, sizeBytes: number, lengthBytes: number, field: number): Structure {
  return {
    offsetBytes,
    lengthBytes,
    seal(target) {
      const at = Math.min(offsetBytes, target.sizeBytes);
      const bytes = new Uint8Array(Math.min(sizeBytes, target.sizeBytes - at));
      if (bytes.length < sizeBytes) return;
      target.read(at, [bytes]);
      const view = new DataView(bytes.buffer);
      view.setUint32(field, 0);
      view.setUint32(field, ~bytes.reduce((sum, byte) => sum + byte, 0) >>> 0);
      target.write(at, [bytes]);
    },
  };
}
