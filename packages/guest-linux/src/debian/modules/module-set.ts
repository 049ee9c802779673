import fs from 'node:fs';
import path from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { KenshoError } from '@kensho/core';
import { decompressXz } from '../../decompress/lzma.ts';
import { type ModuleInfo, moduleName, readModuleInfo } from './modinfo.ts';

/** More than any module has. */
const MODULE_LIMIT_BYTES = 64 * 2 ** 20;
const MODULE_FILE = /^(?<name>.+)\.ko(?<compression>\.xz|\.zst)?$/;

/** A module that goes into the guest. */
export interface ChosenModule {
  readonly name: string;
  /** Below the kernel's folder of modules, without the ending of a compression. */
  readonly path: string;
  readonly info: ModuleInfo;
  /** Unpacked, as the guest gets it. */
  readonly bytes: Uint8Array;
}

/** Which modules are wanted. */
export interface ModuleChoice {
  /** Names or patterns with `*`; a kernel need not have them. */
  readonly wanted: readonly string[];
  /** Likewise, but a kernel that has none of a name, not even built in, is refused. */
  readonly required: readonly string[];
  /** Names or patterns of those that are left out, with all that need them. */
  readonly without: readonly string[];
}

/**
 * Chooses modules of a kernel with all that they depend on; each comes after those that it needs.
 *
 * @param folder - the kernel's modules: `/lib/modules/RELEASE`
 * @throws KenshoError NO_MODULE, BAD_MODULE
 */
export async function chooseModules(folder: string, choice: ModuleChoice): Promise<readonly ChosenModule[]> {
  const files = findModules(folder);
  const builtin = readBuiltin(folder);
  const isLeftOut = matcher(choice.without);
  const infos = new Map<string, Omit<ChosenModule, 'name'>>();
  const open = async (name: string) => {
    const file = files.get(name);
    if (file === undefined) return undefined;
    const known = infos.get(name);
    if (known !== undefined) return known;
    const bytes = await unpack(path.join(folder, file));
    const module = { path: file.replace(/\.(xz|zst)$/, ''), bytes, info: readModuleInfo(name, bytes) };
    infos.set(name, module);
    return module;
  };

  const chosen = new Map<string, ChosenModule>();
  /** @returns whether it can be loaded; one that depends on itself by way of others is a damaged kernel's */
  const add = async (name: string, above: readonly string[]): Promise<boolean> => {
    if (chosen.has(name) || builtin.has(name)) return true;
    if (isLeftOut(name) || above.includes(name)) return false;
    const module = await open(name);
    if (module === undefined) return false;
    const path = [...above, name];
    for (const needed of module.info.depends) if (!(await add(needed, path))) return false;
    for (const liked of module.info.softPre) await add(liked, path);
    chosen.set(name, { name, ...module });
    for (const liked of module.info.softPost) await add(liked, path);
    return true;
  };

  for (const pattern of choice.required) {
    const matches = matcher([pattern]);
    if ([...files.keys(), ...builtin].some(matches)) continue;
    throw new KenshoError('NO_MODULE', `the kernel ${path.basename(folder)} has no module ${pattern}`);
  }
  for (const pattern of [...choice.wanted, ...choice.required]) {
    const matches = matcher([pattern]);
    for (const name of [...files.keys()].filter(matches).sort()) await add(name, []);
  }
  return [...chosen.values()];
}

/** What `modprobe` looks modules up in, as `depmod` would write it for these. Names are below the folder of modules. */
export function moduleIndexes(modules: readonly ChosenModule[]): Readonly<Record<string, string>> {
  const byName = new Map(modules.map((module) => [module.name, module]));
  /** Nearest first, each once: `modprobe` loads them from the end. */
  const needs = (module: ChosenModule, found = new Set<ChosenModule>()): Set<ChosenModule> => {
    for (const name of module.info.depends) {
      const needed = byName.get(name);
      if (needed === undefined) continue;
      found.delete(needed);
      found.add(needed);
      needs(needed, found);
    }
    return found;
  };
  const lines = (of: (module: ChosenModule) => readonly string[]) =>
    modules
      .flatMap(of)
      .map((line) => `${line}\n`)
      .join('');
  return {
    'modules.dep': lines((module) => [
      [`${module.path}:`, ...[...needs(module)].map(({ path }) => path)].join(' '),
    ]),
    'modules.alias': lines(({ name, info }) => info.aliases.map((alias) => `alias ${alias} ${name}`)),
  };
}

function findModules(folder: string): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const file of fs.readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const name = MODULE_FILE.exec(path.basename(file))?.groups?.name;
    if (name !== undefined) files.set(moduleName(name), file);
  }
  return files;
}

function readBuiltin(folder: string): ReadonlySet<string> {
  const lines = fs.readFileSync(path.join(folder, 'modules.builtin'), 'utf8').split('\n');
  return new Set(lines.filter((line) => line !== '').map((line) => moduleName(path.basename(line, '.ko'))));
}

async function unpack(file: string): Promise<Uint8Array> {
  const bytes = fs.readFileSync(file);
  if (file.endsWith('.xz')) return await decompressXz(bytes, MODULE_LIMIT_BYTES);
  if (file.endsWith('.zst')) return zstdDecompressSync(bytes, { maxOutputLength: MODULE_LIMIT_BYTES });
  return bytes;
}

function matcher(patterns: readonly string[]): (name: string) => boolean {
  const source = patterns.map((pattern) =>
    moduleName(pattern)
      .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
      .replaceAll('*', '.*'),
  );
  const expression = new RegExp(`^(?:${source.join('|')})$`);
  return (name) => patterns.length > 0 && expression.test(name);
}
