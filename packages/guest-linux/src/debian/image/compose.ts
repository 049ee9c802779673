import fs from 'node:fs';
import path from 'node:path';
import { type ChosenModule, moduleIndexes } from '../modules/module-set.ts';
import { FileTree } from './file-tree.ts';
import { DHCP_SCRIPT, HOTPLUG_SCRIPT, INIT_SCRIPT, SET_ADDRESSES_SCRIPT } from './init-script.ts';

/** What a guest's file system is made of. */
export interface Composition {
  /** Folders of the host, each with what a package has in it. */
  readonly packages: readonly string[];
  readonly kernelRelease: string;
  readonly modules: readonly ChosenModule[];
}

/** What nobody reads in a guest. */
const LEFT_OUT: ReadonlySet<string> = new Set(
  ['bug', 'doc', 'doc-base', 'info', 'lintian', 'locale', 'man', 'menu', 'pixmaps'].map(
    (name) => `usr/share/${name}`,
  ),
);
const CONSOLE = { mode: 0o600, major: 5, minor: 1 };

/** Puts a guest's file system together. No script of a package is run: what those would make is made here. */
export function composeTree({ packages, kernelRelease, modules }: Composition): FileTree {
  const tree = new FileTree();
  for (const [name, mode] of FOLDERS) tree.folder(name, mode);
  tree.link('var/run', '/run');
  tree.link('etc/mtab', '/proc/self/mounts');
  for (const [name, text] of Object.entries(ETC)) tree.text(`etc/${name}`, text);
  for (const folder of packages) tree.addFolder(folder, (name) => LEFT_OUT.has(name));
  if (!tree.has('usr/bin/sh')) tree.link('usr/bin/sh', 'busybox');
  tree.text('init', INIT_SCRIPT, 0o755);
  if (!tree.has('sbin/init')) tree.link('sbin/init', '/init');
  tree.text('usr/lib/kensho/hotplug', HOTPLUG_SCRIPT, 0o755);
  tree.text('etc/udhcpc/default.script', DHCP_SCRIPT, 0o755);
  const setAddresses = 'usr/libexec/hypervkvpd/hv_set_ifconfig';
  if (!tree.has(setAddresses)) tree.text(setAddresses, SET_ADDRESSES_SCRIPT, 0o755);
  // What process 1 has for its output before it mounts anything.
  tree.device('dev/console', CONSOLE.mode, CONSOLE.major, CONSOLE.minor);
  const moduleFolder = `usr/lib/modules/${kernelRelease}`;
  for (const module of modules) tree.file(`${moduleFolder}/${module.path}`, module.bytes);
  for (const [name, text] of Object.entries(moduleIndexes(modules)))
    tree.text(`${moduleFolder}/${name}`, text);
  return tree;
}

const FOLDERS: readonly (readonly [name: string, mode: number])[] = [
  ...['dev', 'mnt', 'proc', 'run', 'sys', 'var/lib/hyperv'].map((name) => [name, 0o755] as const),
  ['root', 0o700],
  ['tmp', 0o1777],
  ['var/tmp', 0o1777],
];

const ETC: Readonly<Record<string, string>> = {
  // What mount tries where it is told no kind; the kernel loads the module.
  filesystems: 'ext4\nvfat\niso9660\n',
  group: 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n',
  hostname: 'kensho\n',
  hosts: '127.0.0.1 localhost kensho\n',
  'nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
  passwd: 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n',
  shells: '/bin/sh\n',
};

/** The kernel among unpacked packages: its file and its modules. */
export interface KernelFiles {
  readonly release: string;
  readonly file: string;
  readonly moduleFolder: string;
}

/** Finds the kernel in a folder that its package was unpacked into, if that has one. */
export function findKernel(folder: string): KernelFiles | undefined {
  const boot = path.join(folder, 'boot');
  const file = fs.existsSync(boot)
    ? fs.readdirSync(boot).find((name) => name.startsWith('vmlinuz-'))
    : undefined;
  if (file === undefined) return undefined;
  const release = file.slice('vmlinuz-'.length);
  const moduleFolder = ['lib/modules', 'usr/lib/modules']
    .map((where) => path.join(folder, where, release))
    .find((where) => fs.existsSync(where));
  return moduleFolder === undefined ? undefined : { release, file: path.join(boot, file), moduleFolder };
}
