import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { KenshoError } from '@kensho/core';

/** A name beside `file` with the same ending, for what is to become `file` once it is whole. */
function temporaryName(file: string): string {
  const { dir, name, ext } = path.parse(file);
  return path.join(dir, `.${name}.${randomBytes(4).toString('hex')}.tmp${ext}`);
}

/** Throws what making the folder would, without making it: for work that is long and ends with writing there. */
export function checkFolder(folder: string): void {
  let existing = path.resolve(folder);
  while (!fs.existsSync(existing)) existing = path.dirname(existing);
  if (!fs.statSync(existing).isDirectory()) throw new KenshoError('NO_FOLDER', `${existing} is no folder`);
  fs.accessSync(existing, fs.constants.W_OK);
}

/** Makes a folder and those above it. Node's own recursive form never returns where a file system refuses new ones. */
export function makeFolder(folder: string): void {
  const missing: string[] = [];
  for (let at = path.resolve(folder); !fs.existsSync(at); at = path.dirname(at)) missing.unshift(at);
  for (const at of missing) fs.mkdirSync(at);
}

/** A file's content. What is thrown where it cannot be read names it, which Node leaves out for a folder. */
export function readWhole(file: string): Buffer {
  try {
    return fs.readFileSync(file);
  } catch (error) {
    throw Object.assign(error as Error, { path: file });
  }
}

/** Replaces a text file as a whole. */
export function writeWhole(file: string, text: string): void {
  const temporary = temporaryName(file);
  try {
    fs.writeFileSync(temporary, text);
    fs.renameSync(temporary, file);
  } finally {
    fs.rmSync(temporary, { force: true });
  }
}

/**
 * Makes a file that appears under its name only once it is whole: `make` gets a temporary name in the same folder,
 * which is gone again where it fails. Throws KenshoError FILE_EXISTS unless `force` says that it may be replaced.
 */
export async function makeWhole(
  file: string,
  force: boolean,
  make: (temporary: string) => Promise<void>,
): Promise<void> {
  const existing = fs.statSync(file, { throwIfNoEntry: false });
  if (existing !== undefined && !existing.isFile()) {
    throw new KenshoError('FILE_EXISTS', `${file} is there and is no regular file`);
  }
  if (existing !== undefined && !force) {
    throw new KenshoError(
      'FILE_EXISTS',
      `${file} is there already: choose another name, or replace it with --force`,
    );
  }
  const temporary = temporaryName(file);
  try {
    await make(temporary);
    fs.renameSync(temporary, file);
  } catch (error) {
    // Nobody knows the temporary name.
    if (!(error instanceof KenshoError)) throw error;
    throw new KenshoError(error.code, error.message.replaceAll(temporary, file), { cause: error });
  } finally {
    fs.rmSync(temporary, { force: true });
  }
}
