import { existsSync, realpathSync } from 'node:fs';
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path';
import { KenshoError } from '@kensho/core';

/** Images in a chain, the youngest first, that are more likely a mistake than a need. */
const MAX_CHAIN = 64;

/** The images that are being opened, from the one that was asked for to its ancestors. */
export class ImageChain {
  readonly #paths: readonly string[];

  private constructor(paths: readonly string[]) {
    this.#paths = paths;
  }

  static readonly empty: ImageChain = new ImageChain([]);

  /** The chain with one more image. Throws KenshoError DISK_PARENT_LOOP. */
  with(path: string): ImageChain {
    const real = existsSync(path) ? realpathSync(path) : resolve(path);
    if (this.#paths.includes(real)) {
      throw new KenshoError(
        'DISK_PARENT_LOOP',
        `${path}: is its own ancestor; restore one of the images from a copy`,
      );
    }
    if (this.#paths.length === MAX_CHAIN) {
      throw new KenshoError(
        'DISK_PARENT_LOOP',
        `${path}: more than ${MAX_CHAIN} images in a chain; convert one of them to an image of its own`,
      );
    }
    return new ImageChain([...this.#paths, real]);
  }
}

/**
 * Where a parent is: the first of the stored paths at which there is something. They may be relative to the child,
 * and in the spelling of Windows.
 */
export function findParent(childPath: string, stored: readonly (string | undefined)[]): string {
  const tried: string[] = [];
  for (const path of stored) {
    if (path === undefined || path === '') continue;
    const plain = path.replace(/^\\\\\?\\/, '');
    const native = sep === '\\' ? plain : plain.replaceAll('\\', '/');
    if (native.includes('\0')) continue;
    const candidate = isAbsolute(native) ? native : resolve(dirname(childPath), native);
    if (existsSync(candidate)) return candidate;
    tried.push(candidate);
  }
  throw new KenshoError(
    'DISK_PARENT_MISSING',
    `${childPath}: its parent is not at ${tried.join(' or ') || 'any place it names'}; put it back there`,
  );
}

/** Where a parent is, or where it should be if it is not there. */
export function describeParent(
  childPath: string,
  stored: readonly (string | undefined)[],
): string | undefined {
  try {
    return findParent(childPath, stored);
  } catch {
    return stored.find((path) => path !== undefined);
  }
}

/** The paths to store in a child. */
export function parentPaths(childPath: string, parentPath: string): { relative?: string; absolute?: string } {
  if (sep !== '\\' && parentPath.includes('\\')) {
    throw new KenshoError(
      'BAD_DISK_PATH',
      `${parentPath}: a child cannot name a path with a backslash; rename it`,
    );
  }
  const path = relative(dirname(resolve(childPath)), resolve(parentPath));
  // On Windows there is no relative path to another drive, and absolute ones have a spelling that others understand.
  return {
    relative: isAbsolute(path) ? undefined : `.\\${path}`.replaceAll('/', '\\').replace('.\\..', '..'),
    absolute: sep === '\\' ? `\\\\?\\${resolve(parentPath)}` : undefined,
  };
}
