import fs from 'node:fs';
import path from 'node:path';
import { KenshoError } from '@kensho/core';
import { cpio } from './image/cpio.ts';
import { ROOT_DISK_LABEL } from './image/root-disk.ts';

/** What a guest was made of; beside its files as `manifest.json`. */
export interface GuestManifest {
  /** Of what it was made from; the same again makes the same guest. */
  readonly key: string;
  readonly kernelRelease: string;
  readonly kernelFlavour: string;
  readonly suite?: string;
  /** With `name` as dpkg knows it. */
  readonly packages: readonly { readonly name: string; readonly version: string; readonly sha256: string }[];
  /** In the order in which they could be loaded. */
  readonly modules: readonly string[];
  readonly files: {
    readonly kernel: GuestFile;
    readonly initrd: GuestFile;
    /** Where the packages are on a disk instead of in the initrd. */
    readonly rootDisk?: GuestFile;
  };
}

/** A file of a guest, as it was when it was made. */
export interface GuestFile {
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** A guest that was built. */
export interface BuiltGuest {
  readonly name: string;
  readonly folder: string;
  /** A path. */
  readonly kernel: string;
  /** A path. */
  readonly initrd: string;
  /** A path, of a raw disk image, where the packages are on a disk. */
  readonly rootDisk?: string;
  /** The kernel's command line with which it boots, its console on the first serial port. */
  readonly commandLine: string;
  readonly manifest: GuestManifest;
}

const MANIFEST = 'manifest.json';
/** Of names and of folders: those of the builder's begin differently. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._+-]*$/;
/** The folder beside the guests' that has apt's files. */
export const APT_FOLDER = 'apt';

/** The kernel's command line with which a guest without a root disk boots, its console on the first serial port. */
export const GUEST_COMMAND_LINE = 'console=ttyS0 panic=-1';

/** Throws KenshoError INVALID_OPTION for a name that a guest cannot have. */
export function checkGuestName(name: string): void {
  if (NAME.test(name) && name !== APT_FOLDER) return;
  throw new KenshoError(
    'INVALID_OPTION',
    `a guest cannot be called '${name}': letters, digits, dots and hyphens make a name`,
  );
}

/**
 * The guests in a folder, by name. What is no guest there is passed over.
 *
 * @param folder - where guests are built
 */
export function listGuests(folder: string): readonly BuiltGuest[] {
  if (!fs.existsSync(folder)) return [];
  const names = fs.readdirSync(folder).filter((name) => NAME.test(name) && name !== APT_FOLDER);
  return names.sort().flatMap((name) => readGuest(folder, name) ?? []);
}

/**
 * The guest of that name. Throws KenshoError NO_GUEST where there is none.
 *
 * @param folder - where guests are built
 */
export function findGuest(folder: string, name: string): BuiltGuest {
  checkGuestName(name);
  const guest = readGuest(folder, name);
  if (guest !== undefined) return guest;
  const others = listGuests(folder).map((other) => other.name);
  const instead = others.length === 0 ? '' : `, but ${others.join(', ')}`;
  throw new KenshoError('NO_GUEST', `there is no guest ${name}${instead}: 'kensho guest build' makes guests`);
}

/** Removes a guest. Throws KenshoError NO_GUEST where there is none. */
export function removeGuest(folder: string, name: string): void {
  fs.rmSync(findGuest(folder, name).folder, { recursive: true });
}

/** The guest of that name; undefined where there is none, or what there is is not whole. */
export function readGuest(folder: string, name: string): BuiltGuest | undefined {
  const own = path.join(folder, name);
  try {
    const manifest: GuestManifest = JSON.parse(fs.readFileSync(path.join(own, MANIFEST), 'utf8'));
    const { rootDisk } = manifest.files;
    const whole = Object.entries(manifest.files).every(
      ([file, { sizeBytes }]) => fs.statSync(path.join(own, file)).size === sizeBytes,
    );
    if (!whole) return undefined;
    return {
      name,
      folder: own,
      kernel: path.join(own, 'kernel'),
      initrd: path.join(own, 'initrd'),
      ...(rootDisk === undefined ? {} : { rootDisk: path.join(own, 'rootDisk') }),
      commandLine:
        rootDisk === undefined ? GUEST_COMMAND_LINE : `${GUEST_COMMAND_LINE} root=LABEL=${ROOT_DISK_LABEL}`,
      manifest,
    };
  } catch {
    return undefined;
  }
}

const MIB = 2 ** 20;

/**
 * RAM with which a guest boots whose initrd has that size, and is not compressed: while Linux unpacks it there are two
 * of it, of which the unpacked one may take half of the memory (the size of a tmpfs).
 */
export function memoryForInitrd(initrdBytes: number): number {
  return Math.max(512, Math.ceil((3 * initrdBytes) / MIB)) * MIB;
}

/** Ends the making of a guest: without a manifest a folder is none. */
export function writeManifest(folder: string, manifest: GuestManifest): void {
  fs.writeFileSync(path.join(folder, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
}

/**
 * An initrd with a script of the user's: the guest runs it when it is ready, then powers off. What the script prints
 * goes to COM2 where the machine has that, else to the console; what it complains of to the console, where a line
 * `kensho: exit STATUS` follows.
 *
 * @param initrd - of a guest that was built
 * @param script - an executable file, as a rule `#!/bin/sh` and what follows
 */
export function withScript(initrd: Uint8Array, script: Uint8Array): Uint8Array {
  const entries = [
    ['kensho', { kind: 'folder', mode: 0o755 }],
    ['kensho/run', { kind: 'file', mode: 0o755, content: script }],
  ] as const;
  return Buffer.concat([initrd, ...cpio(entries)]);
}
