import { PciCommand, PciRegister } from '@kensho/chipset';
import {
  GuestIoError,
  type GuestKernel,
  type GuestPciDriver,
  type GuestPciFunction,
  type GuestTask,
} from '@kensho/core';
import { MAC_BYTES } from '../backend/mac.ts';
import { GUEST_NETWORK_INTERFACES } from '../guest-interface.ts';
import {
  BusMode,
  CSR_PORT_BAR,
  Csr,
  DEC_VENDOR_ID,
  DEC21140_DEVICE_ID,
  MiiRegister,
  Srom,
} from '../protocol/dec21140.ts';
import { type TulipBuffers, TulipInterface } from './tulip-interface.ts';
import { TulipRegisters } from './tulip-registers.ts';

export interface TulipDriverOptions {
  /** @default 32 */
  readonly transmitBuffers?: number;
  /** @default 64 */
  readonly receiveBuffers?: number;
  /** Received frames that may wait for programs before they stay with the adapter. @default 1024 */
  readonly queueFrames?: number;
}

const BAR_IO_ADDRESS = 0xfffc;
const PHY_ADDRESSES = 32;
const NO_PHY = 0xffff;

/**
 * The legacy driver of kit guests for adapters with a DECchip 21140 and a PHY: publishes an interface for each, as
 * `eth<adapter>`.
 */
export class TulipDriver implements GuestPciDriver {
  readonly id = 'tulip';
  readonly #buffers: TulipBuffers;
  /** Adapters of each guest by their interrupt. */
  readonly #interfaces = new WeakMap<GuestKernel, Map<number, TulipInterface[]>>();

  constructor(options: TulipDriverOptions = {}) {
    this.#buffers = { transmitBuffers: 32, receiveBuffers: 64, queueFrames: 1024, ...options };
  }

  matches(fn: GuestPciFunction): boolean {
    return fn.vendorId === DEC_VENDOR_ID && fn.deviceId === DEC21140_DEVICE_ID;
  }

  *attach(fn: GuestPciFunction, kernel: GuestKernel): GuestTask {
    const interfaces = this.#interfacesOf(kernel);
    const number = [...interfaces.values()].reduce((sum, { length }) => sum + length, 0);
    try {
      const device = yield* bringUp(fn, kernel, `eth${number}`, this.#buffers);
      this.#connect(kernel, fn.read(PciRegister.INTERRUPT_LINE, 1), device);
      kernel.spawn(`${device.name} receive`, device.collect());
      kernel.spawn(`${device.name} link`, watch(kernel, device));
      kernel.publish(GUEST_NETWORK_INTERFACES, device);
    } catch (error) {
      if (!(error instanceof GuestIoError)) throw error;
      kernel.print(error.message);
    }
  }

  #interfacesOf(kernel: GuestKernel): Map<number, TulipInterface[]> {
    const known = this.#interfaces.get(kernel);
    if (known !== undefined) return known;
    const interfaces = new Map<number, TulipInterface[]>();
    this.#interfaces.set(kernel, interfaces);
    return interfaces;
  }

  /** Adapters share the board's interrupts. */
  #connect(kernel: GuestKernel, gsi: number, device: TulipInterface): void {
    const interfaces = this.#interfacesOf(kernel);
    const sharing = interfaces.get(gsi);
    if (sharing !== undefined) {
      sharing.push(device);
      return;
    }
    const all = [device];
    interfaces.set(gsi, all);
    kernel.connectInterrupt(gsi, () => {
      // The input takes the line's rise: it has to fall before it can rise again.
      while (all.filter((one) => one.service()).length > 0);
    });
  }
}

function* bringUp(
  fn: GuestPciFunction,
  kernel: GuestKernel,
  name: string,
  buffers: TulipBuffers,
): GuestTask<TulipInterface> {
  const command = fn.read(PciRegister.COMMAND, 2);
  fn.write(PciRegister.COMMAND, 2, command | PciCommand.IO_SPACE | PciCommand.BUS_MASTER);
  const port = fn.read(PciRegister.BAR0 + 4 * CSR_PORT_BAR, 4) & BAR_IO_ADDRESS;
  const registers = new TulipRegisters(kernel.cpu, port);
  if (port === 0 || !registers.present) throw new GuestIoError(`${name}: no registers`);
  registers.write(Csr.BUS_MODE, BusMode.SOFTWARE_RESET);
  registers.write(Csr.BUS_MODE, 0);
  const mac = new Uint8Array(MAC_BYTES);
  for (let i = 0; i < MAC_BYTES; i += 2) {
    const word = registers.readSerialRom((Srom.ADDRESS + i) / 2);
    mac.set([word & 0xff, word >> 8], i);
  }
  const device = new TulipInterface(name, mac, findPhy(registers, name), registers, kernel, buffers);
  yield* device.start();
  return device;
}

function findPhy(registers: TulipRegisters, name: string): number {
  registers.synchronizePhy();
  for (let address = 0; address < PHY_ADDRESSES; address++) {
    if (registers.readPhy(address, MiiRegister.STATUS) !== NO_PHY) return address;
  }
  throw new GuestIoError(`${name}: no PHY`);
}

/** Watches the link until the adapter is gone, and withdraws it then. */
function* watch(kernel: GuestKernel, device: TulipInterface): GuestTask {
  yield* device.watch(kernel);
  kernel.withdraw(GUEST_NETWORK_INTERFACES, device);
  device.free();
}
