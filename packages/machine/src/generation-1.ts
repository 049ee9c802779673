import { chipsetPlugin, FIRMWARE_PAGES, type SerialBackend } from '@kensho/chipset';
import type { DeviceSpec, PartitionConfig, Plugin } from '@kensho/core';
import { storagePlugin } from '@kensho/devices-storage';
import { guestLinuxPlugin, type LinuxGuestOptions } from '@kensho/guest-linux';
import { processorX64Plugin } from '@kensho/processor-x64';
import { vmbusPlugin } from '@kensho/vmbus';

/** What a machine that runs kernels is made of. */
export const MACHINE_PLUGINS: readonly Plugin[] = [
  processorX64Plugin,
  vmbusPlugin,
  chipsetPlugin,
  storagePlugin,
  guestLinuxPlugin,
];

/** How one such machine differs from another. */
export interface MachineOptions {
  readonly memoryBytes: number;
  readonly vpCount: number;
  /** With a virtual clock the calendar begins at a fixed date, so that runs repeat. */
  readonly clock: 'real' | 'virtual';
  /** See PartitionConfig.randomSeed. */
  readonly randomSeed?: number;
  /** Whether the guest gets to know that it runs on Hyper-V. */
  readonly integration: boolean;
  /** What COM1 is connected to. */
  readonly serial: SerialBackend;
  /** Where a guest ends the run with a code, if anywhere. */
  readonly exitPort: number | undefined;
  /** For real-mode code that brings no interrupt handlers: what a PC's firmware leaves it. @default false */
  readonly realMode?: boolean;
  /** Beside the board. */
  readonly devices?: readonly DeviceSpec[];
  readonly guest: LinuxGuestOptions;
}

/** The Generation-1 machine with all of its board, as a partition of a host with {@link MACHINE_PLUGINS}. */
export function machineConfig(options: MachineOptions): PartitionConfig {
  const { clock, exitPort, integration, realMode = false } = options;
  return {
    name: 'machine',
    processor: 'x64',
    memoryBytes: options.memoryBytes,
    devicePages: FIRMWARE_PAGES,
    vpCount: options.vpCount,
    clock,
    randomSeed: options.randomSeed,
    enlightened: integration,
    devices: [
      { kind: 'board', id: 'board' },
      { kind: 'pit', id: 'pit', options: { ticking: realMode } },
      { kind: 'rtc', id: 'rtc', options: clock === 'real' ? { baseTimeMs: Date.now() } : {} },
      { kind: 'pm', id: 'pm' },
      { kind: 'i8042', id: 'i8042' },
      { kind: 'post', id: 'post' },
      { kind: 'uart', id: 'com1', options: { com: 1, backend: options.serial } },
      { kind: 'firmware-tables', id: 'firmware-tables' },
      ...(realMode ? [{ kind: 'real-mode', id: 'real-mode' }] : []),
      ...(integration ? [{ kind: 'vmbus', id: 'vmbus' }] : []),
      ...(exitPort === undefined
        ? []
        : [{ kind: 'exit-port', id: 'exit-port', options: { port: exitPort } }]),
      ...(options.devices ?? []),
    ],
    guest: { kind: 'linux', options: options.guest },
  };
}
