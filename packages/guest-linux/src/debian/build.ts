import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { KenshoError } from '@kensho/core';
import { Apt, type AptRequest, type DebianPackage, sha256Of } from './apt.ts';
import { runCommand } from './child-process.ts';
import {
  BUSYBOX,
  BUSYBOX_FILE,
  DEFAULT_MODULES,
  DEFAULT_PACKAGES,
  DONE_WITHOUT,
  OF_THE_KERNEL,
} from './defaults.ts';
import {
  APT_FOLDER,
  type BuiltGuest,
  checkGuestName,
  type GuestFile,
  type GuestManifest,
  readGuest,
  writeManifest,
} from './guest.ts';
import { composeTree, findKernel, type KernelFiles } from './image/compose.ts';
import { cpio } from './image/cpio.ts';
import type { FileTree } from './image/file-tree.ts';
import { DHCP_SCRIPT, HOTPLUG_SCRIPT, INIT_SCRIPT, SET_ADDRESSES_SCRIPT } from './image/init-script.ts';
import { makeRootDisk } from './image/root-disk.ts';
import { chooseModules, type ModuleChoice } from './modules/module-set.ts';

/** Which guest is wanted. */
export interface BuildGuestOptions {
  /** Where guests are, each in a folder with its name, and apt's files; made where it is absent. */
  readonly folder: string;
  /** @default the flavour, and the suite where one is given */
  readonly name?: string;
  /** `linux-image-FLAVOUR` is the kernel's package. @default 'amd64' */
  readonly kernelFlavour?: string;
  /**
   * The suite that the kernel is taken from, and what is made from its source, as in `bookworm-backports`.
   * @default whichever has the newest
   */
  readonly suite?: string;
  /** Debian's packages, beside busybox. @default {@link DEFAULT_PACKAGES} */
  readonly packages?: readonly string[];
  /** Kernel modules beside {@link DEFAULT_MODULES}; names or patterns with `*`. */
  readonly modules?: readonly string[];
  /** Kernel modules that are left out, with all that need them; names or patterns with `*`. */
  readonly withoutModules?: readonly string[];
  /** Puts the packages on a disk of that size, where there are too many for the guest's memory. @default in the initrd */
  readonly rootDiskBytes?: number;
  /** Downloads apt's lists anew, so that the newest packages are found. @default only where something is missing */
  readonly refresh?: boolean;
  /** Ends the build and throws its reason; nothing is left of it but what was downloaded. */
  readonly signal?: AbortSignal;
  /** Gets what is being done, one line each time. */
  readonly onProgress?: (line: string) => void;
  /** The programs that are run. @default Debian's, wherever PATH has them */
  readonly commands?: { readonly apt: string; readonly dpkgDeb: string; readonly mke2fs: string };
}

/** Changes when the same packages make another guest, of the same scripts. */
const BUILDER = 3;

/**
 * Builds a guest out of Debian's packages: a kernel, and an initramfs with busybox, modules and packages. It appears
 * under its name once it is whole; one that was made of the same before is left as it is.
 *
 * @returns the guest, and whether it was built just now
 * @throws KenshoError NO_APT, APT_FAILED, NO_PACKAGE, NO_SUITE, BAD_DOWNLOAD, NO_DPKG, BAD_PACKAGE, NO_KERNEL, NO_MODULE,
 * BAD_MODULE, NO_MKE2FS, ROOT_DISK_FAILED, INVALID_OPTION
 */
export async function buildGuest(options: BuildGuestOptions): Promise<{ guest: BuiltGuest; built: boolean }> {
  const plan = planOf(options);
  const apt = new Apt({
    folder: path.join(options.folder, APT_FOLDER),
    command: options.commands?.apt,
    signal: options.signal,
    onProgress: options.onProgress,
  });
  if (options.refresh) await apt.refresh(plan.request);
  let packages = await apt.resolve(plan.request);
  const existing = readGuest(options.folder, plan.name);
  if (existing?.manifest.key === keyOf(plan, packages)) return { guest: existing, built: false };

  let files: readonly string[];
  try {
    files = await apt.download(plan.request, packages);
  } catch (error) {
    if (!(error instanceof KenshoError) || error.code === 'NO_APT') throw error;
    // Archives drop what is superseded: the lists may be too old.
    await apt.refresh(plan.request);
    packages = await apt.resolve(plan.request);
    files = await apt.download(plan.request, packages);
  }
  const guest = await whole(options.folder, plan.name, (folder) =>
    build({ folder, plan, packages, files, options }),
  );
  return { guest, built: true };
}

interface Plan {
  readonly name: string;
  readonly kernelFlavour: string;
  readonly suite: string | undefined;
  readonly request: AptRequest;
  readonly modules: ModuleChoice;
  readonly rootDiskBytes: number | undefined;
}

function planOf(options: BuildGuestOptions): Plan {
  const { kernelFlavour = 'amd64', suite, packages = DEFAULT_PACKAGES } = options;
  const words = {
    'a kernel flavour': [kernelFlavour],
    'a suite': suite === undefined ? [] : [suite],
    'a package': packages,
  };
  for (const [what, given] of Object.entries(words)) {
    // Apt would take hyphens at the start for options, at the end for removal, and patterns for many packages.
    const bad = given.find((word) => !/^[a-z0-9][a-z0-9.+-]*[a-z0-9+]$/.test(word));
    if (bad !== undefined) throw new KenshoError('INVALID_OPTION', `'${bad}' is no name of ${what}`);
  }
  const name = options.name ?? (suite === undefined ? kernelFlavour : `${kernelFlavour}-${suite}`);
  checkGuestName(name);
  const fromSuite = (name: string) => (suite === undefined ? name : `${name}/${suite}`);
  const wanted = packages.map((each) => (OF_THE_KERNEL.includes(each) ? fromSuite(each) : each));
  const kernel = fromSuite(`linux-image-${kernelFlavour}`);
  return {
    name,
    kernelFlavour,
    suite,
    rootDiskBytes: options.rootDiskBytes,
    request: { packages: [kernel, BUSYBOX, ...wanted], without: DONE_WITHOUT, suite },
    modules: {
      wanted: DEFAULT_MODULES,
      required: options.modules ?? [],
      without: options.withoutModules ?? [],
    },
  };
}

function keyOf(plan: Plan, packages: readonly DebianPackage[]): string {
  const hashes = packages.map(({ sha256 }) => sha256).sort();
  const inputs = JSON.stringify([
    BUILDER,
    [INIT_SCRIPT, HOTPLUG_SCRIPT, DHCP_SCRIPT, SET_ADDRESSES_SCRIPT],
    plan.kernelFlavour,
    plan.suite,
    plan.modules,
    plan.rootDiskBytes,
    hashes,
  ]);
  return createHash('sha256').update(inputs).digest('hex');
}

/** Makes a folder's content under another name, and gives it its own once it is whole. */
async function whole(
  parent: string,
  name: string,
  make: (folder: string) => Promise<void>,
): Promise<BuiltGuest> {
  const folder = path.join(parent, name);
  const temporary = path.join(parent, `.${name}.${randomBytes(4).toString('hex')}`);
  const old = `${temporary}.old`;
  fs.mkdirSync(temporary);
  try {
    await make(temporary);
    if (fs.existsSync(folder)) fs.renameSync(folder, old);
    fs.renameSync(temporary, folder);
  } finally {
    for (const gone of [temporary, old]) fs.rmSync(gone, { recursive: true, force: true });
  }
  const guest = readGuest(parent, name);
  if (guest === undefined) throw new KenshoError('NO_GUEST', `${folder} changed while it was being made`);
  return guest;
}

interface Build {
  readonly folder: string;
  readonly plan: Plan;
  readonly packages: readonly DebianPackage[];
  /** The packages' files. */
  readonly files: readonly string[];
  readonly options: BuildGuestOptions;
}

async function build({ folder, plan, packages, files, options }: Build): Promise<void> {
  const { signal, onProgress } = options;
  const unpacked = path.join(folder, 'unpacked');
  fs.mkdirSync(unpacked);
  let kernel: KernelFiles | undefined;
  const folders: string[] = [];
  for (const [i, file] of files.entries()) {
    onProgress?.(`unpacking ${packages[i].name}, ${i + 1} of ${files.length}`);
    const into = path.join(unpacked, String(i));
    await unpack(options.commands?.dpkgDeb ?? 'dpkg-deb', file, into, signal);
    const found = findKernel(into);
    if (found === undefined) folders.push(into);
    else kernel = found;
  }
  if (kernel === undefined) {
    throw new KenshoError(
      'NO_KERNEL',
      `linux-image-${plan.kernelFlavour} brings no kernel: it is no flavour of Debian's`,
    );
  }
  onProgress?.('choosing kernel modules');
  const modules = await chooseModules(kernel.moduleFolder, plan.modules);
  signal?.throwIfAborted();

  onProgress?.('writing the initramfs');
  const initrd = path.join(folder, 'initrd');
  const { release } = kernel;
  const treeOf = (parts: readonly string[]) =>
    composeTree({ packages: parts, kernelRelease: release, modules });
  const { rootDiskBytes } = plan;
  const shell = folders.filter((each) => fs.existsSync(path.join(each, BUSYBOX_FILE)));
  writeArchive(initrd, treeOf(rootDiskBytes === undefined ? folders : shell));
  const rootDisk = path.join(folder, 'rootDisk');
  if (rootDiskBytes !== undefined) {
    onProgress?.('writing the root disk');
    const staging = path.join(folder, 'staging');
    await makeRootDisk(rootDisk, treeOf(folders), {
      sizeBytes: rootDiskBytes,
      staging,
      signal,
      command: options.commands?.mke2fs,
    });
  }
  fs.copyFileSync(kernel.file, path.join(folder, 'kernel'));
  fs.rmSync(unpacked, { recursive: true });
  signal?.throwIfAborted();
  const manifest: GuestManifest = {
    key: keyOf(plan, packages),
    kernelRelease: kernel.release,
    kernelFlavour: plan.kernelFlavour,
    ...(plan.suite === undefined ? {} : { suite: plan.suite }),
    packages: packages.map(({ name, version, sha256 }) => ({ name, version, sha256 })),
    modules: modules.map(({ name }) => name),
    files: {
      kernel: describe(path.join(folder, 'kernel')),
      initrd: describe(initrd),
      ...(rootDiskBytes === undefined ? {} : { rootDisk: describe(rootDisk) }),
    },
  };
  writeManifest(folder, manifest);
}

async function unpack(
  command: string,
  file: string,
  folder: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    const { exitCode, stderr } = await runCommand(command, ['--extract', file, folder], { signal });
    if (exitCode === 0) return;
    const why = stderr.trim().split('\n').at(-1) ?? '';
    throw new KenshoError('BAD_PACKAGE', `cannot unpack ${path.basename(file)}: ${why}`);
  } catch (cause) {
    if (!(cause instanceof KenshoError) || cause.code !== 'NO_COMMAND') throw cause;
    throw new KenshoError('NO_DPKG', `${cause.message}: it unpacks Debian's packages, and comes with dpkg`, {
      cause,
    });
  }
}

/** Not compressed: the host's disk has room, and the guest would have to unpack it. */
function writeArchive(file: string, tree: FileTree): void {
  const fd = fs.openSync(file, 'w');
  try {
    for (const chunk of cpio(tree.entries())) fs.writeFileSync(fd, chunk);
  } finally {
    fs.closeSync(fd);
  }
}

function describe(file: string): GuestFile {
  return { sizeBytes: fs.statSync(file).size, sha256: sha256Of(file) };
}
