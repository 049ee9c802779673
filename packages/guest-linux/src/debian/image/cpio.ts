import fs from 'node:fs';
import type { TreeEntry } from './file-tree.ts';

const MAGIC = '070701';
const TRAILER = 'TRAILER!!!';
/** Kinds of files in the mode, as stat(2) has them. */
const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;
const S_IFCHR = 0o020000;
const PERMISSIONS = 0o7777;

/**
 * A file system as an archive that Linux unpacks as its initramfs: cpio "newc"
 * (Documentation/driver-api/early-userspace/buffer-format.rst). Times are zero and all is root's, so that the same tree
 * gives the same bytes. Its length is a multiple of four: another archive may follow.
 */
export function* cpio(entries: Iterable<readonly [name: string, entry: TreeEntry]>): Generator<Uint8Array> {
  let inode = 0;
  for (const [name, entry] of entries) {
    inode++;
    switch (entry.kind) {
      case 'folder':
        yield header({ name, inode, mode: S_IFDIR | (entry.mode & PERMISSIONS), links: 2 });
        break;
      case 'link':
        yield* withContent({ name, inode, mode: S_IFLNK | 0o777 }, Buffer.from(entry.target));
        break;
      case 'device': {
        const { major, minor } = entry;
        yield header({ name, inode, mode: S_IFCHR | (entry.mode & PERMISSIONS), major, minor });
        break;
      }
      case 'file': {
        const content = typeof entry.content === 'string' ? fs.readFileSync(entry.content) : entry.content;
        yield* withContent({ name, inode, mode: S_IFREG | (entry.mode & PERMISSIONS) }, content);
      }
    }
  }
  yield header({ name: TRAILER, inode: 0, mode: 0 });
}

interface Header {
  readonly name: string;
  readonly inode: number;
  readonly mode: number;
  readonly links?: number;
  readonly sizeBytes?: number;
  readonly major?: number;
  readonly minor?: number;
}

function* withContent(header_: Header, content: Uint8Array): Generator<Uint8Array> {
  yield header({ ...header_, sizeBytes: content.length });
  yield content;
  yield new Uint8Array(padding(content.length));
}

/** With the name behind it, padded. */
function header({ name, inode, mode, links = 1, sizeBytes = 0, major = 0, minor = 0 }: Header): Uint8Array {
  const nameBytes = Buffer.from(`${name}\0`);
  const user = 0;
  const group = 0;
  const mtime = 0;
  const checksum = 0;
  const numbers = [
    ...[inode, mode, user, group, links, mtime, sizeBytes],
    ...[0, 0, major, minor],
    ...[nameBytes.length, checksum],
  ];
  const fields = MAGIC + numbers.map((value) => value.toString(16).padStart(8, '0')).join('');
  const bytes = new Uint8Array(fields.length + nameBytes.length + padding(fields.length + nameBytes.length));
  bytes.set(Buffer.from(fields, 'latin1'));
  bytes.set(nameBytes, fields.length);
  return bytes;
}

/** To the next multiple of four. */
function padding(length: number): number {
  return -length & 3;
}
