import { rmSync } from 'node:fs';
import { HostFile } from './host-file.ts';

/** Opens an image file for as long as `use` takes. */
export async function withFile<T>(
  path: string,
  readOnly: boolean,
  use: (file: HostFile) => Promise<T>,
): Promise<T> {
  const file = HostFile.open(path, { readOnly });
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

/** Makes an image file; one that could not be finished is removed again. */
export async function createFile(path: string, write: (file: HostFile) => Promise<void>): Promise<void> {
  const file = HostFile.create(path);
  try {
    await write(file);
  } catch (error) {
    await file.close();
    rmSync(path, { force: true });
    throw error;
  }
  await file.close();
}
