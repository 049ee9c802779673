import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import type { SerialBackend } from '@kensho/chipset';
import {
  type CounterSnapshot,
  createHost,
  type DeviceSpec,
  type Host,
  type HostedPartition,
  type PartitionEnd,
  type Plugin,
  RealClock,
  VirtualClock,
} from '@kensho/core';
import { netPlugin } from '@kensho/devices-net';
import { DISK_FORMATS } from '@kensho/devices-storage';
import {
  type BuiltGuest,
  GUEST_COMMAND_LINE,
  listGuests,
  memoryForInitrd,
  withScript,
} from '@kensho/guest-linux';
import { MACHINE_PLUGINS, machineConfig } from '@kensho/machine';
import type { ControlledDisk } from '../../src/control/machine-control.ts';
import { openDisks, parseDisk } from '../../src/disks.ts';
import { guestsFolder } from '../../src/guests.ts';
import { nicDevices, parseForward, parseNic } from '../../src/nics.ts';

/** Guests that were built on this machine. */
export const GUESTS: readonly BuiltGuest[] = listGuests(guestsFolder());
/** Why there is nothing to test where there are none. */
export const NO_GUEST = "no guest is here: 'kensho guest build' makes one";

/** The one that boots soonest, for what does not depend on the kernel. */
export function quickest(): BuiltGuest {
  return soonest(GUESTS);
}

/** The one that boots soonest of those that have a module; undefined where none has. */
export function quickestWith(module: string): BuiltGuest | undefined {
  const having = GUESTS.filter((guest) => guest.manifest.modules.includes(module));
  return having.length === 0 ? undefined : soonest(having);
}

/** A Linux guest, and what it is to do. */
export interface LinuxOptions {
  readonly guest: BuiltGuest;
  /** What it runs when it is up, by a shell; it powers off behind it. */
  readonly script: string;
  /** Behind that of every guest. */
  readonly commandLine?: string;
  /** As `--disk` has them. */
  readonly disks?: readonly string[];
  /** As `--nic` has them. */
  readonly nics?: readonly string[];
  /** As `--forward` has them. */
  readonly forwards?: readonly string[];
  /** Further ones. */
  readonly devices?: readonly DeviceSpec[];
  /** @default true */
  readonly integration?: boolean;
  /** @default 1 */
  readonly vpCount?: number;
  /** With a virtual one a busy host makes no difference. @default 'virtual' */
  readonly clock?: 'real' | 'virtual';
  /** Gets each line that the script prints, and the machine. */
  readonly onLine?: (line: string, partition: HostedPartition) => void;
}

/** How a guest's run went. */
export interface LinuxReport {
  readonly end: PartitionEnd;
  /** What the script printed. */
  readonly output: readonly string[];
  /** What the kernel said, and the script complained of. */
  readonly console: readonly string[];
  readonly counters: CounterSnapshot;
}

/** A host for {@link LinuxMachine}s. */
export function linuxHost(plugins: readonly Plugin[] = []): Promise<Host> {
  return createHost({ plugins: [...MACHINE_PLUGINS, netPlugin, ...plugins] });
}

/** A Linux guest in a partition of a host. */
export class LinuxMachine {
  readonly partition: HostedPartition;
  readonly disks: readonly ControlledDisk[];
  readonly output: string[];
  readonly console: string[];

  static async create(host: Host, options: LinuxOptions): Promise<LinuxMachine> {
    const { guest, integration = true, clock = 'virtual' } = options;
    const output: string[] = [];
    const console: string[] = [];
    let machine: LinuxMachine | undefined;
    const media = await openDisks((options.disks ?? []).map(parseDisk), {
      integration,
      formats: host.contributions.all(DISK_FORMATS),
      clock: clock === 'real' ? new RealClock() : new VirtualClock(),
    });
    const script = new Lines((line) => {
      output.push(line);
      if (machine !== undefined) options.onLine?.(line, machine.partition);
    });
    const initrd = withScript(fs.readFileSync(guest.initrd), Buffer.from(`#!/bin/sh\n${options.script}`));
    const partition = await host.createPartition(
      machineConfig({
        memoryBytes: memoryForInitrd(initrd.length),
        vpCount: options.vpCount ?? 1,
        clock,
        integration,
        serial: new Lines((line) => console.push(line)),
        exitPort: undefined,
        devices: [
          { kind: 'uart', id: 'com2', options: { com: 2, backend: script } },
          ...media.devices,
          ...nicDevices((options.nics ?? []).map(parseNic), {
            integration,
            forwards: (options.forwards ?? []).map(parseForward),
            epochMs: Date.now(),
          }),
          ...(options.devices ?? []),
        ],
        guest: {
          kernel: guest.kernel,
          initrd,
          commandLine: `${GUEST_COMMAND_LINE} ${options.commandLine ?? ''}`.trim(),
        },
      }),
    );
    machine = new LinuxMachine(partition, media.disks, output, console, () => media.close());
    return machine;
  }

  readonly #closeMedia: () => Promise<void>;

  private constructor(
    partition: HostedPartition,
    disks: readonly ControlledDisk[],
    output: string[],
    console: string[],
    closeMedia: () => Promise<void>,
  ) {
    this.partition = partition;
    this.disks = disks;
    this.output = output;
    this.console = console;
    this.#closeMedia = closeMedia;
  }

  /** Runs it to its end, or until somebody stops it. */
  async run(): Promise<LinuxReport> {
    const end = await this.partition.run();
    const { output, console } = this;
    return { end, output, console, counters: this.partition.counters.snapshot() };
  }

  /** Takes the partition and its disks away, whatever it does. */
  async close(): Promise<void> {
    await this.partition.close();
    await this.#closeMedia();
  }
}

/** Boots one guest on a host of its own, up to its end. */
export async function runLinux(
  options: LinuxOptions & { readonly plugins?: readonly Plugin[] },
): Promise<LinuxReport> {
  const host = await linuxHost(options.plugins);
  try {
    const machine = await LinuxMachine.create(host, options);
    try {
      return await machine.run();
    } finally {
      await machine.close();
    }
  } finally {
    await host.close();
  }
}

/** The other end of a serial port, by lines. */
class Lines implements SerialBackend {
  readonly #onLine: (line: string) => void;
  #line = '';

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }
  connect(): void {}
  send(byte: number): boolean {
    if (byte !== 0x0a) {
      this.#line += String.fromCharCode(byte);
      return true;
    }
    const line = this.#line.replace(/\r$/, '');
    this.#line = '';
    this.#onLine(line);
    return true;
  }
}

/** Where Debian keeps what only root runs as a rule. */
export const SYSTEM_PATH = '/usr/local/sbin:/usr/sbin:/sbin';
function soonest(guests: readonly BuiltGuest[]): BuiltGuest {
  const size = (guest: BuiltGuest) => guest.manifest.files.initrd.sizeBytes;
  return guests.reduce((best, guest) => (size(guest) < size(best) ? guest : best));
}

/** Why there is no file system to mount where the host cannot make one. */
export const NO_MKFS = 'mkfs.ext4 is not here: it comes with e2fsprogs';

/**
 * Makes a raw image with an ext4 file system that holds a folder's files.
 *
 * @returns false where the host has no mkfs.ext4
 */
export function makeExt4(image: string, folder: string, sizeMiB: number): boolean {
  fs.writeFileSync(image, '');
  fs.truncateSync(image, sizeMiB * 2 ** 20);
  const { status, error } = spawnSync('mkfs.ext4', ['-q', '-F', '-d', folder, image], {
    env: { ...process.env, PATH: `${process.env.PATH}:${SYSTEM_PATH}` },
  });
  if (error !== undefined && 'code' in error && error.code === 'ENOENT') return false;
  if (status !== 0) throw new Error(`mkfs.ext4 ended with ${status}`);
  return true;
}

/** Shell functions for scripts: a test states what it waits for. */
export const SHELL = `
set -e
# there DEVICE: waits until it is there
there() { n=0; until [ -b "$1" ]; do n=$((n+1)); [ $n -gt 200 ] && { echo "no $1"; exit 1; }; sleep 0.1; done; }
# gone DEVICE
gone() { n=0; while [ -b "$1" ]; do n=$((n+1)); [ $n -gt 200 ] && { echo "still $1"; exit 1; }; sleep 0.1; done; }
# hashes DEVICE [TYPE]: mounts it and prints its files' hashes
hashes() {
  there "$1"; mkdir -p /mnt; mount -t "\${2:-ext4}" -o ro "$1" /mnt
  (cd /mnt; find . -type f | sort | xargs sha256sum); umount /mnt
}
grep -qw ext4 /proc/filesystems || modprobe ext4
`;

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** As the shell's `hashes` prints them. */
export function hashesOf(folder: string): readonly string[] {
  const files = fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile());
  const names = files.map((file) => path.relative(folder, path.join(file.parentPath, file.name))).sort();
  return names.map((name) => `${sha256(fs.readFileSync(path.join(folder, name)))}  ./${name}`);
}
