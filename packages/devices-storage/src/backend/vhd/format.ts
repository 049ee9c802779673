import { KenshoError } from '@kensho/core';
import type { DiskFormat, DiskImageCheck, DiskImageInfo, DiskImageSpec, DiskOpenOptions } from '../disk.ts';
import { HostFile } from '../host-file.ts';
import { createFile, withFile } from '../image-file.ts';
import { describeParent, findParent, ImageChain, parentPaths } from '../parent-path.ts';
import { checkVhd } from './check.ts';
import { createVhd } from './create.ts';
import { readFooter } from './footer.ts';
import { isVhd, openVhd, readBlocks, type VhdImage } from './image.ts';
import { SECTOR_BYTES } from './layout.ts';

/** VHD, fixed, dynamic and differencing, after Microsoft's specification 1.0. */
export const vhdFormat: DiskFormat = {
  id: 'vhd',
  description: 'Virtual Hard Disk: fixed, dynamic, differencing',
  extensions: ['.vhd', '.avhd', '.vpc'],
  recognises: isVhd,
  open: async (path, options) => (await openPath(path, options, ImageChain.empty)).disk,
  create,
  inspect,
  check,
};

async function openPath(path: string, options: DiskOpenOptions, chain: ImageChain): Promise<VhdImage> {
  const extended = chain.with(path);
  const file = HostFile.open(path, options);
  try {
    return await openVhd(file, {
      openParent: ({ relativePath, absolutePath }) =>
        openPath(findParent(path, [relativePath, absolutePath]), { ...options, readOnly: true }, extended),
    });
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function create(path: string, spec: DiskImageSpec): Promise<void> {
  if ((spec.logicalSectorBytes ?? SECTOR_BYTES) !== SECTOR_BYTES) {
    throw new KenshoError('BAD_DISK_SPEC', 'a VHD has sectors of 512 bytes; use VHDX for larger ones');
  }
  if (spec.parent === undefined) {
    return await createFile(path, (file) =>
      createVhd(file, {
        sizeBytes: spec.sizeBytes ?? 0,
        fixed: spec.allocation === 'fixed',
        blockBytes: spec.blockSizeBytes,
      }),
    );
  }
  const parent = await openPath(spec.parent, { readOnly: true }, ImageChain.empty);
  try {
    const { disk, uniqueId, timeStamp } = parent;
    const { relative, absolute } = parentPaths(path, spec.parent);
    await createFile(path, (file) =>
      createVhd(file, {
        sizeBytes: spec.sizeBytes ?? disk.sizeBytes,
        blockBytes: spec.blockSizeBytes,
        parent: { uniqueId, timeStamp, relativePath: relative, absolutePath: absolute },
      }),
    );
  } finally {
    await parent.disk.close();
  }
}

function inspect(path: string): Promise<DiskImageInfo> {
  return withFile(path, true, async (file) => {
    const footer = await readFooter(file);
    const blocks = await readBlocks(file, footer);
    const info = {
      format: 'vhd',
      kind: footer.kind,
      sizeBytes: footer.sizeBytes,
      fileSizeBytes: file.sizeBytes,
      logicalSectorBytes: SECTOR_BYTES,
      physicalSectorBytes: SECTOR_BYTES,
      id: footer.uniqueId,
      readOnly: false,
      creator: footer.creator,
    };
    if (blocks === undefined) return info;
    const { header, table } = blocks;
    let allocatedBlocks = 0;
    for (let block = 0; block < table.entryCount; block++) if (table.offset(block) >= 0) allocatedBlocks++;
    return {
      ...info,
      blockSizeBytes: header.blockBytes,
      allocatedBlocks,
      totalBlocks: table.entryCount,
      parent: header.parent && describeParent(path, [header.parent.relativePath, header.parent.absolutePath]),
    };
  });
}

function check(path: string, { repair }: { readonly repair: boolean }): Promise<DiskImageCheck> {
  return withFile(path, !repair, async (file) => ({ format: 'vhd', ...(await checkVhd(file)) }));
}
