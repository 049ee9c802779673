import {
  DEVICES,
  type Device,
  type DeviceKind,
  definePlugin,
  GPA_SPACE,
  GUEST_FAULTS,
  INTERRUPT_LINES,
  IO_PORTS,
  KenshoError,
  type MmioHandler,
  type MmioRegion,
  PARTITION_INFO,
  PORTS,
  type PortHandler,
  type PortRegion,
} from '@kensho/core';
import { SynicTestPort } from './synic-test-port.ts';

/** Where kvm-unit-tests look for it, as in QEMU's `pc-testdev` (lib/x86/isr.h, x86/ioram.h, x86/realmode.c). */
const DATA_PORT = 0xe0;
const DATA_BYTES = 4;
const IRQ_PORT = 0x2000;
const IRQ_COUNT = 24;
const MEMORY_GPA = 0xff000000;
const MEMORY_BYTES = 0x10000;

/** Bytes that answer as a device does: every access is an intercept. */
function bytesOf(count: number): PortHandler & MmioHandler {
  const data = Buffer.alloc(count);
  return {
    read: (offset, sizeBytes) => data.readUIntLE(offset, sizeBytes),
    write: (offset, sizeBytes, value) => void data.writeUIntLE(value, offset, sizeBytes),
  };
}

const kernelTestKind: DeviceKind = {
  id: 'kernel-test',
  description:
    'What kvm-unit-tests try a machine with: ports, memory, and a hand on interrupt lines and the SynIC',
  path: 'emulated',
  create(partition): Device {
    const ports = partition.resolve(IO_PORTS);
    const gpa = partition.resolve(GPA_SPACE);
    const interruptLines = partition.resolve(INTERRUPT_LINES);
    const lines = Array.from({ length: IRQ_COUNT }, (_, gsi) => interruptLines.line(gsi));
    const regions: PortRegion[] = [
      { name: 'test-data', port: DATA_PORT, count: DATA_BYTES, handler: bytesOf(DATA_BYTES) },
      {
        name: 'test-irq',
        port: IRQ_PORT,
        count: IRQ_COUNT,
        handler: {
          read: () => 0,
          write: (line, _sizeBytes, value) => lines[line].set((value & 0xff) !== 0),
        },
      },
    ];
    const synic = partition.resolve(PARTITION_INFO).enlightened
      ? new SynicTestPort(partition.resolve(PORTS), partition.resolve(GUEST_FAULTS))
      : undefined;
    if (synic !== undefined) regions.push(synic.region);
    const memory: MmioRegion = {
      name: 'test-memory',
      gpa: MEMORY_GPA,
      sizeBytes: MEMORY_BYTES,
      handler: bytesOf(MEMORY_BYTES),
    };
    const release = () => {
      for (const region of regions) ports.remove(region);
      gpa.removeMmio(memory);
    };
    try {
      for (const region of regions) ports.add(region);
      if (!gpa.addMmio(memory)) {
        throw new KenshoError('MMIO_IN_USE', `${kernelTestKind.id}: something else has its memory`);
      }
    } catch (error) {
      release();
      throw error;
    }
    return {
      stop() {
        release();
        synic?.stop();
        for (const line of lines) line.set(false);
      },
    };
  },
};

/** Contributes the device kind `kernel-test`; no machine has it unless asked. */
export const kernelTestPlugin = definePlugin({
  id: '@kensho/testkit/kernel-test',
  needs: [INTERRUPT_LINES],
  register: (context) => context.contribute(DEVICES, kernelTestKind),
});
