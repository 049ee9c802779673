import { type Guid, guidFromBytes, guidToBytes } from '@kensho/core';
import { type BlockFile, readBytes } from '../block-file.ts';
import { badImage } from '../image-error.ts';
import type { VhdFooter } from './footer.ts';
import {
  ascii,
  checksum,
  DYNAMIC_HEADER_BYTES,
  DYNAMIC_HEADER_COOKIE,
  DYNAMIC_HEADER_VERSION,
  DynamicHeader,
  fromAscii,
  NO_OFFSET,
  PARENT_LOCATOR_COUNT,
  PARENT_LOCATORS_OFFSET,
  PARENT_NAME_BYTES,
  ParentLocatorEntry,
  PLATFORM_W2KU,
  PLATFORM_W2RU,
  SECTOR_BYTES,
} from './layout.ts';

/** How a differencing image finds its parent. */
export interface VhdParentLocator {
  readonly uniqueId: Guid;
  /** The parent's own; kept, but not checked: programs disagree on what it is. */
  readonly timeStamp: number;
  readonly relativePath?: string;
  readonly absolutePath?: string;
}

/** What the dynamic disk header says. */
export interface VhdDynamicHeader {
  readonly tableOffset: number;
  readonly tableEntries: number;
  readonly blockBytes: number;
  readonly parent?: VhdParentLocator;
  /** The end of the header, the table and the parent's paths. */
  readonly endBytes: number;
}

const MAX_PATH_BYTES = 64 * 1024;
const MAX_TABLE_ENTRIES = 2 ** 24;
const MAX_BLOCK_BYTES = 2 ** 28;

export async function readDynamicHeader(file: BlockFile, footer: VhdFooter): Promise<VhdDynamicHeader> {
  const { headerOffset } = footer;
  if (headerOffset % SECTOR_BYTES !== 0 || headerOffset + DYNAMIC_HEADER_BYTES > file.sizeBytes) {
    throw badImage(file.name, 'its VHD dynamic disk header lies outside the file');
  }
  const source = await readBytes(file, headerOffset, DYNAMIC_HEADER_BYTES);
  const header = DynamicHeader.read(source);
  if (ascii(header.Cookie) !== DYNAMIC_HEADER_COOKIE)
    throw badImage(file.name, 'it has no VHD dynamic disk header');
  if (header.Checksum !== checksum(source, DynamicHeader.offsetOf('Checksum'))) {
    throw badImage(file.name, 'the checksum of its VHD dynamic disk header is wrong');
  }
  const blockBytes = header.BlockSize;
  if (blockBytes < SECTOR_BYTES || blockBytes > MAX_BLOCK_BYTES || (blockBytes & (blockBytes - 1)) !== 0) {
    throw badImage(file.name, `a VHD block size of ${blockBytes} is not allowed`);
  }
  const needed = Math.ceil(footer.sizeBytes / blockBytes);
  if (header.MaxTableEntries < needed || needed > MAX_TABLE_ENTRIES) {
    throw badImage(
      file.name,
      `its VHD block allocation table has ${header.MaxTableEntries} entries, not ${needed}`,
    );
  }
  const tableOffset = Number(header.TableOffset);
  // Entries beyond those that the disk needs stand for nothing, but have their place.
  const tableEnd = tableOffset + Math.ceil((header.MaxTableEntries * 4) / SECTOR_BYTES) * SECTOR_BYTES;
  if (tableOffset % SECTOR_BYTES !== 0 || tableEnd > file.sizeBytes) {
    throw badImage(file.name, 'its VHD block allocation table lies outside the file');
  }
  let endBytes = Math.max(headerOffset + DYNAMIC_HEADER_BYTES, tableEnd);
  let parent: VhdParentLocator | undefined;
  if (footer.kind === 'differencing') {
    const paths = await readPaths(file, source);
    endBytes = Math.max(endBytes, paths.endBytes);
    parent = {
      uniqueId: guidFromBytes(header.ParentUniqueId),
      timeStamp: header.ParentTimeStamp,
      relativePath: paths.byPlatform.get(PLATFORM_W2RU),
      absolutePath: paths.byPlatform.get(PLATFORM_W2KU),
    };
  }
  endBytes = Math.ceil(endBytes / SECTOR_BYTES) * SECTOR_BYTES;
  return { tableOffset, tableEntries: needed, blockBytes, parent, endBytes };
}

async function readPaths(
  file: BlockFile,
  header: Uint8Array,
): Promise<{ byPlatform: Map<string, string>; endBytes: number }> {
  const byPlatform = new Map<string, string>();
  let endBytes = 0;
  for (let index = 0; index < PARENT_LOCATOR_COUNT; index++) {
    const entry = ParentLocatorEntry.read(
      header,
      PARENT_LOCATORS_OFFSET + index * ParentLocatorEntry.sizeBytes,
    );
    const platform = ascii(entry.PlatformCode);
    const offset = Number(entry.PlatformDataOffset);
    const length = entry.PlatformDataLength;
    if (platform === '\0\0\0\0') continue;
    if (length > MAX_PATH_BYTES || offset + length > file.sizeBytes) {
      throw badImage(file.name, `its VHD parent locator "${platform}" lies outside the file`);
    }
    endBytes = Math.max(endBytes, offset + length);
    if (platform === PLATFORM_W2RU || platform === PLATFORM_W2KU) {
      const path = new TextDecoder('utf-16le').decode(await readBytes(file, offset, length));
      byPlatform.set(platform, path.split('\0', 1)[0]);
    }
  }
  return { byPlatform, endBytes };
}

/** A new image's header, and what goes where its locators say. */
export function encodeDynamicHeader(
  header: Omit<VhdDynamicHeader, 'endBytes'>,
  pathsOffset: number,
): { readonly header: Uint8Array; readonly paths: Uint8Array } {
  const { parent } = header;
  const target = DynamicHeader.encode({
    Cookie: fromAscii(DYNAMIC_HEADER_COOKIE),
    DataOffset: NO_OFFSET,
    TableOffset: BigInt(header.tableOffset),
    HeaderVersion: DYNAMIC_HEADER_VERSION,
    MaxTableEntries: header.tableEntries,
    BlockSize: header.blockBytes,
  });
  const paths: Uint8Array[] = [];
  let at = pathsOffset;
  if (parent !== undefined) {
    const path = parent.absolutePath ?? parent.relativePath ?? '';
    const name = path.slice(path.lastIndexOf('\\') + 1).slice(0, PARENT_NAME_BYTES / 2);
    DynamicHeader.write(target, {
      ParentUniqueId: guidToBytes(parent.uniqueId),
      ParentTimeStamp: parent.timeStamp,
      ParentUnicodeName: Buffer.from(name, 'utf16le').swap16(),
    });
    const stored: [string, string | undefined][] = [
      [PLATFORM_W2RU, parent.relativePath],
      [PLATFORM_W2KU, parent.absolutePath],
    ];
    for (const [platform, text] of stored) {
      if (text === undefined) continue;
      const data = Buffer.from(text, 'utf16le');
      const space = new Uint8Array(Math.ceil(data.length / SECTOR_BYTES) * SECTOR_BYTES);
      space.set(data);
      ParentLocatorEntry.write(
        target,
        {
          PlatformCode: fromAscii(platform),
          // The specification counts sectors here, Windows bytes; readers take both.
          PlatformDataSpace: space.length,
          PlatformDataLength: data.length,
          PlatformDataOffset: BigInt(at),
        },
        PARENT_LOCATORS_OFFSET + paths.length * ParentLocatorEntry.sizeBytes,
      );
      paths.push(space);
      at += space.length;
    }
  }
  DynamicHeader.write(target, { Checksum: checksum(target, DynamicHeader.offsetOf('Checksum')) });
  return { header: target, paths: Buffer.concat(paths) };
}
