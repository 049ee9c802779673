import fs from 'node:fs';
import path from 'node:path';
import { KenshoError } from '@kensho/core';
import type { FileCopyService, FileSource } from '@kensho/integration-services';
import type { Arguments } from './arguments.ts';
import type { VerbContext } from './server.ts';

/** One file on its way. */
interface Copy {
  readonly from: string;
  /** The guest's path of the folder, with a slash at its end, and the name in it. */
  readonly folder: string;
  readonly name: string;
}

/**
 * Copies a file, or a folder with all that is in it, into the guest. A target with a slash at its end is the folder to
 * put it in; otherwise it is the path that it gets.
 */
export async function copyIntoGuest(
  service: FileCopyService,
  args: Arguments,
  context: VerbContext,
): Promise<{ files: number; bytes: number }> {
  const source = args.text('source');
  const target = args.text('target');
  const copies = plan(source, target, args.flag('recursive'));
  let bytes = 0;
  for (const { from, folder, name } of copies) {
    const file = await fs.promises.open(from, 'r');
    try {
      const { size } = await file.stat();
      await service.copy(sourceOf(file, from, size), {
        folder,
        name,
        overwrite: args.flag('overwrite'),
        createPath: args.flag('createPath') || args.flag('recursive'),
        signal: context.signal,
        onProgress: (done, total) => context.progress({ what: `${folder}${name}`, done, total }),
      });
      bytes += size;
    } finally {
      await file.close();
    }
  }
  return { files: copies.length, bytes };
}

function plan(source: string, target: string, recursive: boolean): Copy[] {
  const intoFolder = target.endsWith('/');
  const name = intoFolder ? path.posix.basename(source.replace(/\/+$/, '')) : path.posix.basename(target);
  const folder = intoFolder ? target : withSlash(path.posix.dirname(target));
  const stat = fs.statSync(source);
  if (stat.isFile()) return [{ from: source, folder, name }];
  if (!stat.isDirectory()) throw new KenshoError('NOT_A_FILE', `${source} is no file`);
  if (!recursive) throw new KenshoError('NOT_A_FILE', `${source} is a folder: copy it with --recursive`);
  const root = withSlash(`${folder}${name}`);
  // What is neither a file nor a folder is left out: links could lead anywhere.
  return fs
    .readdirSync(source, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => {
      const within = path.relative(source, entry.parentPath);
      return {
        from: path.join(entry.parentPath, entry.name),
        folder: within === '' ? root : withSlash(`${root}${within}`),
        name: entry.name,
      };
    })
    .sort((a, b) => (a.from < b.from ? -1 : 1));
}

function withSlash(folder: string): string {
  return folder.endsWith('/') ? folder : `${folder}/`;
}

function sourceOf(file: fs.promises.FileHandle, name: string, sizeBytes: number): FileSource {
  return {
    sizeBytes,
    async read(offset, target) {
      for (let done = 0; done < target.length; ) {
        const { bytesRead } = await file.read(target, done, target.length - done, offset + done);
        if (bytesRead === 0) throw new KenshoError('FILE_CHANGED', `${name} has become shorter`);
        done += bytesRead;
      }
    },
  };
}
