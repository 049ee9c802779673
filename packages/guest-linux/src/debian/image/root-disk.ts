import fs from 'node:fs';
import path from 'node:path';
import { KenshoError } from '@kensho/core';
import { runCommand } from '../child-process.ts';
import type { FileTree } from './file-tree.ts';

/** By which the guest finds it. */
export const ROOT_DISK_LABEL = 'kensho';

export interface RootDiskOptions {
  readonly sizeBytes: number;
  /** A folder that is made for the time; on the file system that the tree's files are on. */
  readonly staging: string;
  readonly signal: AbortSignal | undefined;
  /** @default 'mke2fs' */
  readonly command?: string;
}

/**
 * Makes an image of an ext4 file system, without a partition table, that has a tree in it. Needs e2fsprogs, no root.
 * Devices are left out: the guest's kernel makes them.
 *
 * @throws KenshoError NO_MKE2FS, ROOT_DISK_FAILED
 */
export async function makeRootDisk(
  file: string,
  tree: FileTree,
  { sizeBytes, staging, signal, command = 'mke2fs' }: RootDiskOptions,
): Promise<void> {
  stage(tree, staging);
  const kibibytes = `${Math.floor(sizeBytes / 1024)}k`;
  const options = ['-q', '-t', 'ext4', '-L', ROOT_DISK_LABEL, '-E', 'root_owner=0:0', '-d', staging];
  try {
    const { exitCode, stderr } = await runCommand(command, [...options, file, kibibytes], {
      // Where programs of the administrator's are, which users need not have in theirs.
      environment: { PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` },
      signal,
    });
    if (exitCode === 0) return;
    const why = stderr.trim().split('\n').at(-1) ?? '';
    throw new KenshoError('ROOT_DISK_FAILED', `cannot make a root disk of ${kibibytes}: ${why}`);
  } catch (cause) {
    if (!(cause instanceof KenshoError) || cause.code !== 'NO_COMMAND') throw cause;
    throw new KenshoError('NO_MKE2FS', `a root disk needs e2fsprogs: ${cause.message}`, { cause });
  } finally {
    fs.rmSync(staging, { recursive: true });
  }
}

/** Files are linked, not copied. */
function stage(tree: FileTree, folder: string): void {
  fs.mkdirSync(folder);
  for (const [name, entry] of tree.entries()) {
    const file = path.join(folder, name);
    switch (entry.kind) {
      case 'folder':
        fs.mkdirSync(file);
        // Not by mkdir(), which heeds the umask.
        fs.chmodSync(file, entry.mode);
        break;
      case 'link':
        fs.symlinkSync(entry.target, file);
        break;
      case 'file':
        if (typeof entry.content === 'string') fs.linkSync(entry.content, file);
        else fs.writeFileSync(file, entry.content);
        fs.chmodSync(file, entry.mode);
        break;
      case 'device':
    }
  }
}
