import {
  ACPI_TABLES,
  DEVICES,
  type DeviceKind,
  type DeviceSpec,
  definePlugin,
  GPA_SPACE,
  GUEST_FAULTS,
  INTERRUPT_LINES,
  IO_PORTS,
  KenshoError,
  PARTITION_CONTROL,
  PARTITION_INFO,
  type Plugin,
  TIMERS,
  WORK,
} from '@kensho/core';
import { BOARD, Board } from './board.ts';
import { ExitPort, type ExitPortOptions } from './exit-port.ts';
import { FIRMWARE, Firmware, type FirmwareOptions } from './firmware.ts';
import { I8042, type I8042Options } from './i8042.ts';
import { PCI_BUS } from './pci/pci-bus.ts';
import { Pit, type PitOptions } from './pit.ts';
import { POWER_MANAGEMENT, PowerManagement } from './pm.ts';
import { PostPort } from './post.ts';
import { prepareRealMode } from './real-mode.ts';
import { Rtc, type RtcOptions } from './rtc.ts';
import { Uart, type UartOptions } from './uart.ts';

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

/** Puts {@link POWER_MANAGEMENT} into a partition that nothing else asks it of; takes no options. */
const pmKind: DeviceKind = {
  id: 'pm',
  description: 'Power management of the PIIX4: ACPI registers, PM timer, power button, reset',
  path: 'platform',
  create(partition) {
    partition.resolve(POWER_MANAGEMENT);
    return {};
  },
};

/** Takes {@link PitOptions}. */
const pitKind: DeviceKind = {
  id: 'pit',
  description: 'Interval timer (8254) with port 61h',
  path: 'platform',
  create(partition, spec) {
    const options = (spec.options ?? {}) as PitOptions;
    if (options.ticking !== undefined && typeof options.ticking !== 'boolean') {
      throw invalid(spec, 'ticking is true or false');
    }
    return new Pit(
      {
        ports: partition.resolve(IO_PORTS),
        timers: partition.resolve(TIMERS),
        interruptLines: partition.resolve(INTERRUPT_LINES),
      },
      options,
    );
  },
};

/** Interrupt vectors and controllers for real-mode code that brings none; takes no options. */
const realModeKind: DeviceKind = {
  id: 'real-mode',
  description: 'What a PC’s firmware leaves for real-mode code: interrupt vectors, PICs that know them',
  path: 'platform',
  create: (partition) => ({
    start: () => prepareRealMode({ gpa: partition.resolve(GPA_SPACE), pic: partition.resolve(BOARD).pic }),
  }),
};

/** Takes {@link RtcOptions}. */
const rtcKind: DeviceKind = {
  id: 'rtc',
  description: 'Real-time clock and CMOS memory (MC146818)',
  path: 'platform',
  create(partition, spec) {
    const options = (spec.options ?? {}) as RtcOptions;
    const { baseTimeMs } = options;
    if (baseTimeMs !== undefined && !(baseTimeMs >= 0 && baseTimeMs <= MAX_BASE_TIME_MS)) {
      throw invalid(spec, 'baseTimeMs is a time between 1970 and 9999, in milliseconds since 1970');
    }
    return new Rtc(
      {
        ports: partition.resolve(IO_PORTS),
        timers: partition.resolve(TIMERS),
        interruptLines: partition.resolve(INTERRUPT_LINES),
        memoryBytes: partition.resolve(PARTITION_INFO).memoryBytes,
      },
      options,
    );
  },
};

/** Takes {@link UartOptions}. */
const uartKind: DeviceKind = {
  id: 'uart',
  description: 'Serial port (16550A): COM1 or COM2',
  path: 'platform',
  create(partition, spec) {
    const options = (spec.options ?? {}) as UartOptions;
    const { com, backend } = options;
    if (com !== undefined && com !== 1 && com !== 2) throw invalid(spec, 'com is 1 or 2');
    if (backend !== undefined && typeof backend.send !== 'function') {
      throw invalid(spec, 'backend is a SerialBackend');
    }
    const uart = new Uart(
      {
        ports: partition.resolve(IO_PORTS),
        interruptLines: partition.resolve(INTERRUPT_LINES),
        work: partition.resolve(WORK),
      },
      options,
    );
    partition.resolve(FIRMWARE).describeComPort(com ?? 1);
    return uart;
  },
};

/** Takes {@link I8042Options}. */
const i8042Kind: DeviceKind = {
  id: 'i8042',
  description: 'Keyboard controller, with or without a keyboard, and its way to reset the machine',
  path: 'platform',
  create(partition, spec) {
    const options = (spec.options ?? {}) as I8042Options;
    if (options.keyboard !== undefined && typeof options.keyboard !== 'boolean') {
      throw invalid(spec, 'keyboard is true or false');
    }
    const controller = new I8042(
      {
        ports: partition.resolve(IO_PORTS),
        interruptLines: partition.resolve(INTERRUPT_LINES),
        control: partition.resolve(PARTITION_CONTROL),
        faults: partition.resolve(GUEST_FAULTS),
      },
      options,
    );
    if (options.keyboard) partition.resolve(FIRMWARE).describeKeyboard();
    return controller;
  },
};

const postKind: DeviceKind = {
  id: 'post',
  description: 'Port 80h',
  path: 'platform',
  create: (partition) => new PostPort(partition.resolve(IO_PORTS)),
};

/**
 * Takes {@link FirmwareOptions}. The tables name the devices that there are when the partition starts; the partition
 * needs {@link FIRMWARE_PAGES} device pages.
 */
const firmwareTablesKind: DeviceKind = {
  id: 'firmware-tables',
  description: 'ACPI and SMBIOS tables, which describe the board to a kernel',
  path: 'platform',
  create(partition, spec) {
    const firmware = partition.resolve(FIRMWARE);
    const options = (spec.options ?? {}) as FirmwareOptions;
    return { start: () => firmware.place(options), stop: () => firmware.remove() };
  },
};

/** Takes {@link ExitPortOptions}. */
const exitPortKind: DeviceKind = {
  id: 'exit-port',
  description: 'A port for test kernels, whose value ends the run',
  path: 'platform',
  create(partition, spec) {
    const options = (spec.options ?? {}) as ExitPortOptions;
    const { port } = options;
    if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port <= LAST_PORT)) {
      throw invalid(spec, `port is a number from 0 to 0x${LAST_PORT.toString(16)}`);
    }
    return new ExitPort(
      { ports: partition.resolve(IO_PORTS), control: partition.resolve(PARTITION_CONTROL) },
      options,
    );
  },
};

/** The last port that four bytes can be written to. */
const LAST_PORT = 0xfffc;

/** 9999-12-31: beyond it the century has no two digits. */
const MAX_BASE_TIME_MS = 253_402_214_400_000;

function invalid(spec: DeviceSpec, problem: string): KenshoError {
  return new KenshoError('INVALID_OPTIONS', `${spec.kind} ${spec.id}: ${problem}`);
}

/**
 * The Generation-1 board. Provides {@link INTERRUPT_LINES} and {@link PCI_BUS} in each partition; the board behind
 * them is made when the first device asks for one of the two, or by a device of kind `board`. The rest of the board
 * are device kinds of their own: `pit`, `rtc`, `pm`, `uart`, `i8042`, `post`. What they are is told to kernels by a
 * device of kind `firmware-tables`, which fills {@link ACPI_TABLES}.
 */
export const chipsetPlugin: Plugin = definePlugin({
  id: '@kensho/chipset',
  provides: [ACPI_TABLES, BOARD, FIRMWARE, INTERRUPT_LINES, PCI_BUS, POWER_MANAGEMENT],
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
    context.providePartition(FIRMWARE, {
      useFactory: (partition) =>
        new Firmware({ gpa: partition.resolve(GPA_SPACE), info: partition.resolve(PARTITION_INFO) }),
    });
    context.providePartition(ACPI_TABLES, { useFactory: (partition) => partition.resolve(FIRMWARE) });
    context.providePartition(POWER_MANAGEMENT, {
      useFactory: (partition) =>
        new PowerManagement({
          ports: partition.resolve(IO_PORTS),
          timers: partition.resolve(TIMERS),
          work: partition.resolve(WORK),
          interruptLines: partition.resolve(INTERRUPT_LINES),
          pciBus: partition.resolve(PCI_BUS),
          control: partition.resolve(PARTITION_CONTROL),
          faults: partition.resolve(GUEST_FAULTS),
        }),
    });
    const parts = [pitKind, rtcKind, pmKind, uartKind, i8042Kind, postKind];
    for (const kind of [boardKind, ...parts, firmwareTablesKind, realModeKind, exitPortKind])
      context.contribute(DEVICES, kind);
  },
});
