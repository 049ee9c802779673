import { KenshoError } from '@kensho/core';

/** What a kernel module says of itself, as `modinfo` shows it. */
export interface ModuleInfo {
  /** Modules whose symbols it uses. */
  readonly depends: readonly string[];
  /** Modules that it works better after. */
  readonly softPre: readonly string[];
  /** Modules that it asks for once it runs. */
  readonly softPost: readonly string[];
  /** What devices, file systems and the like ask for when they mean it; with wildcards. */
  readonly aliases: readonly string[];
}

const SECTION_HEADER_BYTES = 64;

/** Modules have hyphens in names of files, where the kernel has underscores. */
export function moduleName(name: string): string {
  return name.replaceAll('-', '_');
}

/**
 * Reads a module's `.modinfo`: strings `key=value`, each ended by a zero (include/linux/moduleparam.h).
 * Throws KenshoError BAD_MODULE.
 */
export function readModuleInfo(name: string, module: Uint8Array): ModuleInfo {
  const section = findModinfo(name, module);
  const lines = Buffer.from(section).toString('latin1').split('\0');
  const values = (key: string) =>
    lines.filter((line) => line.startsWith(`${key}=`)).map((line) => line.slice(key.length + 1));
  const softdeps = values('softdep').map(parseSoftdep);
  return {
    depends: values('depends').flatMap((list) =>
      list
        .split(',')
        .filter((one) => one !== '')
        .map(moduleName),
    ),
    softPre: softdeps.flatMap(({ pre }) => pre),
    softPost: softdeps.flatMap(({ post }) => post),
    aliases: values('alias'),
  };
}

/** `pre: a b post: c` */
function parseSoftdep(text: string): { readonly pre: readonly string[]; readonly post: readonly string[] } {
  const found = { pre: [] as string[], post: [] as string[] };
  let into = found.pre;
  for (const word of text.split(/\s+/)) {
    if (word === 'pre:') into = found.pre;
    else if (word === 'post:') into = found.post;
    else if (word !== '') into.push(moduleName(word));
  }
  return found;
}

/** The section `.modinfo` of an ELF file of 64 bits. */
function findModinfo(name: string, module: Uint8Array): Uint8Array {
  const view = new DataView(module.buffer, module.byteOffset, module.length);
  try {
    const headers = Number(view.getBigUint64(0x28, true));
    const count = view.getUint16(0x3c, true);
    const namesAt = sectionAt(view, headers + view.getUint16(0x3e, true) * SECTION_HEADER_BYTES).offset;
    for (let i = 0; i < count; i++) {
      const { nameOffset, offset, sizeBytes } = sectionAt(view, headers + i * SECTION_HEADER_BYTES);
      const at = namesAt + nameOffset;
      if (Buffer.from(module.subarray(at, at + 9)).toString('latin1') !== '.modinfo\0') continue;
      return module.subarray(offset, offset + sizeBytes);
    }
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new KenshoError('BAD_MODULE', `the kernel module ${name} is damaged`, { cause });
  }
  throw new KenshoError('BAD_MODULE', `the kernel module ${name} does not say what it is`);
}

function sectionAt(view: DataView, at: number): { nameOffset: number; offset: number; sizeBytes: number } {
  return {
    nameOffset: view.getUint32(at, true),
    offset: Number(view.getBigUint64(at + 0x18, true)),
    sizeBytes: Number(view.getBigUint64(at + 0x20, true)),
  };
}
