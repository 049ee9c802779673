import {
  DEVICES,
  type DeviceKind,
  definePlugin,
  GPA_SPACE,
  GUEST_FAULTS,
  INTERRUPT_LINES,
  IO_PORTS,
  PARTITION_CONTROL,
  type Plugin,
} from '@kensho/core';
import { BOARD, Board } from './board.ts';
import { PCI_BUS } from './pci/pci-bus.ts';

/** Puts the board into a partition whose devices do not ask for it themselves; takes no options. */
const boardKind: DeviceKind = {
  id: 'board',
  description: 'The Generation-1 board: PCI bus, ISA bridge, I/O APIC and PICs',
  path: 'platform',
  create(partition) {
    partition.resolve(BOARD);
    return {};
  },
};

/**
 * The Generation-1 board. Provides {@link INTERRUPT_LINES} and {@link PCI_BUS} in each partition; the board behind
 * them is made when the first device asks for one of the two, or by a device of kind `board`.
 */
export const chipsetPlugin: Plugin = definePlugin({
  id: '@kensho/chipset',
  provides: [BOARD, INTERRUPT_LINES, PCI_BUS],
  register(context) {
    context.providePartition(BOARD, {
      useFactory: (partition) =>
        new Board({
          ports: partition.resolve(IO_PORTS),
          gpa: partition.resolve(GPA_SPACE),
          control: partition.resolve(PARTITION_CONTROL),
          faults: partition.resolve(GUEST_FAULTS),
        }),
    });
    context.providePartition(INTERRUPT_LINES, {
      useFactory: (partition) => partition.resolve(BOARD).interruptLines,
    });
    context.providePartition(PCI_BUS, { useFactory: (partition) => partition.resolve(BOARD).pciBus });
    context.contribute(DEVICES, boardKind);
  },
});
