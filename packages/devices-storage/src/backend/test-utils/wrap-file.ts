import type { BlockFile } from '../block-file.ts';

/** The same file with some of its behaviour replaced. */
export function wrapFile(file: BlockFile, replaced: Partial<BlockFile>): BlockFile {
  return {
    name: file.name,
    readOnly: file.readOnly,
    get sizeBytes() {
      return file.sizeBytes;
    },
    read: (offset, target) => file.read(offset, target),
    write: (offset, source) => file.write(offset, source),
    truncate: (sizeBytes) => file.truncate(sizeBytes),
    flush: () => file.flush(),
    close: () => file.close(),
    ...replaced,
  };
}

/** The file for reading only: an attempt to change it fails. */
export function frozenFile(file: BlockFile): BlockFile {
  const refuse = () => Promise.reject(new Error(`${file.name} is read-only and was changed`));
  return wrapFile(file, { readOnly: true, write: refuse, truncate: refuse, close: () => {} });
}
