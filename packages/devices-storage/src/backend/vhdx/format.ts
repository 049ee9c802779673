import { readBytes } from '../block-file.ts';
import type { DiskFormat, DiskImageCheck, DiskImageInfo, DiskImageSpec, DiskOpenOptions } from '../disk.ts';
import { HostFile } from '../host-file.ts';
import { hostIdentity } from '../host-identity.ts';
import { createFile, withFile } from '../image-file.ts';
import { describeParent, findParent, ImageChain, parentPaths } from '../parent-path.ts';
import { checkVhdx } from './check.ts';
import { createVhdx } from './create.ts';
import { isVhdx, openVhdx, readStructures, type VhdxImage } from './image.ts';

/** VHDX, fixed, dynamic and differencing, after [MS-VHDX]. */
export const vhdxFormat: DiskFormat = {
  id: 'vhdx',
  description: 'Virtual Hard Disk v2: fixed, dynamic, differencing',
  extensions: ['.vhdx', '.avhdx'],
  recognises: isVhdx,
  open: async (path, options) => (await openPath(path, options, ImageChain.empty)).disk,
  create,
  inspect,
  check,
};

async function openPath(path: string, options: DiskOpenOptions, chain: ImageChain): Promise<VhdxImage> {
  const extended = chain.with(path);
  const file = HostFile.open(path, options);
  try {
    return await openVhdx(file, {
      openParent: ({ relativePath, absolutePath }) =>
        openPath(findParent(path, [relativePath, absolutePath]), { ...options, readOnly: true }, extended),
    });
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function create(path: string, spec: DiskImageSpec): Promise<void> {
  if (spec.parent === undefined) {
    return await createFile(path, (file) =>
      createVhdx(file, {
        sizeBytes: spec.sizeBytes ?? 0,
        fixed: spec.allocation === 'fixed',
        blockBytes: spec.blockSizeBytes,
        logicalSectorBytes: spec.logicalSectorBytes,
      }),
    );
  }
  const parent = await openPath(spec.parent, { readOnly: true }, ImageChain.empty);
  try {
    const { disk, dataWriteGuid } = parent;
    const paths = parentPaths(path, spec.parent);
    await createFile(path, (file) =>
      createVhdx(file, {
        sizeBytes: spec.sizeBytes ?? disk.sizeBytes,
        blockBytes: spec.blockSizeBytes,
        logicalSectorBytes: disk.logicalSectorBytes,
        physicalSectorBytes: disk.physicalSectorBytes,
        parent: { linkages: [dataWriteGuid], relativePath: paths.relative, absolutePath: paths.absolute },
      }),
    );
  } finally {
    await parent.disk.close();
  }
}

function inspect(path: string): Promise<DiskImageInfo> {
  return withFile(path, true, async (file) => {
    const { metadata, bat } = await readStructures(file, hostIdentity.newGuid);
    let allocatedBlocks = 0;
    for (const { payload } of bat.present()) if (payload) allocatedBlocks++;
    const creator = new TextDecoder('utf-16le').decode(await readBytes(file, 8, 512));
    return {
      format: 'vhdx',
      kind:
        metadata.parent !== undefined ? 'differencing' : metadata.leaveBlocksAllocated ? 'fixed' : 'dynamic',
      sizeBytes: metadata.sizeBytes,
      fileSizeBytes: file.sizeBytes,
      logicalSectorBytes: metadata.logicalSectorBytes,
      physicalSectorBytes: metadata.physicalSectorBytes,
      id: metadata.diskId,
      readOnly: false,
      blockSizeBytes: metadata.blockBytes,
      allocatedBlocks,
      totalBlocks: bat.geometry.payloadBlocks,
      parent:
        metadata.parent && describeParent(path, [metadata.parent.relativePath, metadata.parent.absolutePath]),
      creator: creator.split('\0', 1)[0],
    };
  });
}

function check(path: string, { repair }: { readonly repair: boolean }): Promise<DiskImageCheck> {
  return withFile(path, !repair, async (file) => ({
    format: 'vhdx',
    ...(await checkVhdx(file, hostIdentity.newGuid)),
  }));
}
