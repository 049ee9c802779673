import type { Guid } from '@kensho/core';
import { badImage, unsupportedImage } from '../image-error.ts';
import { ParentLocatorEntry, ParentLocatorHeader, VHDX_LOCATOR_TYPE } from './layout.ts';

/** How a differencing image finds its parent ([MS-VHDX] 2.6.2.6.3). */
export interface ParentLocator {
  /** What the parent's DataWriteGuid may be: tells whether it is still as it was when the child was made. */
  readonly linkages: readonly Guid[];
  /** Relative to the child's directory, as stored. */
  readonly relativePath?: string;
  readonly absolutePath?: string;
}

export function decodeParentLocator(name: string, item: Uint8Array): ParentLocator {
  const header = ParentLocatorHeader.read(item);
  if (header.LocatorType !== VHDX_LOCATOR_TYPE) {
    throw unsupportedImage(
      name,
      `its parent is of type ${header.LocatorType}, not VHDX`,
      'convert it to a VHDX of its own',
    );
  }
  const text = (offset: number, length: number) => {
    if (offset + length > item.length) throw badImage(name, 'the VHDX parent locator is damaged');
    return new TextDecoder('utf-16le').decode(item.subarray(offset, offset + length));
  };
  const pairs = new Map<string, string>();
  for (let index = 0; index < header.KeyValueCount; index++) {
    const at = ParentLocatorHeader.sizeBytes + index * ParentLocatorEntry.sizeBytes;
    if (at + ParentLocatorEntry.sizeBytes > item.length)
      throw badImage(name, 'the VHDX parent locator is damaged');
    const entry = ParentLocatorEntry.read(item, at);
    pairs.set(text(entry.KeyOffset, entry.KeyLength), text(entry.ValueOffset, entry.ValueLength));
  }
  // The second one is there while a child is being merged into its parent.
  const linkages = ['parent_linkage', 'parent_linkage2']
    .map((key) => /^\{([0-9a-f-]{36})\}$/i.exec(pairs.get(key) ?? '')?.[1].toLowerCase())
    .filter((linkage) => linkage !== undefined);
  if (linkages.length === 0) throw badImage(name, 'the VHDX parent locator does not identify the parent');
  return {
    linkages,
    relativePath: pairs.get('relative_path'),
    absolutePath: pairs.get('absolute_win32_path'),
  };
}

export function encodeParentLocator(locator: ParentLocator): Uint8Array {
  const pairs = [
    ['parent_linkage', `{${locator.linkages[0]}}`],
    ['relative_path', locator.relativePath],
    ['absolute_win32_path', locator.absolutePath],
  ].filter((pair): pair is [string, string] => pair[1] !== undefined);
  const stringsOffset = ParentLocatorHeader.sizeBytes + pairs.length * ParentLocatorEntry.sizeBytes;
  const item = new Uint8Array(
    pairs.reduce((sum, [key, value]) => sum + 2 * (key.length + value.length), stringsOffset),
  );
  ParentLocatorHeader.write(item, { LocatorType: VHDX_LOCATOR_TYPE, KeyValueCount: pairs.length });
  let at = stringsOffset;
  const put = (value: string) => {
    const offset = at;
    item.set(Buffer.from(value, 'utf16le'), offset);
    at += 2 * value.length;
    return offset;
  };
  pairs.forEach(([key, value], index) => {
    ParentLocatorEntry.write(
      item,
      {
        KeyOffset: put(key),
        ValueOffset: put(value),
        KeyLength: 2 * key.length,
        ValueLength: 2 * value.length,
      },
      ParentLocatorHeader.sizeBytes + index * ParentLocatorEntry.sizeBytes,
    );
  });
  return item;
}
