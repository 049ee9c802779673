import {
  ACPI_TABLES,
  type AcpiTables,
  createHost,
  DEVICES,
  definePlugin,
  GPA_SPACE,
  type GpaSpace,
  type HostedPartition,
  PageArena,
  PROCESSORS,
  type ProcessorKind,
  type RegisterValue,
  VP_REGISTERS,
  VpExit,
} from '@kensho/core';
import { guestLinuxPlugin, type LinuxGuestOptions } from '../plugin.ts';

/** Keeps registers, runs nothing. */
const registerFile: ProcessorKind = {
  id: 'register-file',
  description: 'keeps registers',
  create: ({ memoryPages, overlayPages }) => ({
    arena: PageArena.allocate(memoryPages + overlayPages),
    createVp: () => {
      const registers = new Map<number, RegisterValue>();
      return {
        instructionsRetired: 0,
        run: () => VpExit.HALT,
        requestExit: () => {},
        setInterruptPending: () => {},
        injectNmi: () => {},
        init: () => {},
        startup: () => {},
        getRegister: (register, value) =>
          Object.assign(value, registers.get(register)) && registers.has(register),
        setRegister: (register, value) => registers.set(register, { ...value }) !== undefined,
        flushTlb: () => {},
      };
    },
    dispose: () => {},
  }),
};

/** The same without any register. */
const noRegisters: ProcessorKind = {
  ...registerFile,
  id: 'no-registers',
  create: (options) => {
    const engine = registerFile.create(options);
    const createVp: typeof engine.createVp = (...args) =>
      Object.assign(engine.createVp(...args), { setRegister: () => false });
    return { ...engine, createVp };
  },
};

export interface TestMachineOptions {
  readonly memoryBytes?: number;
  readonly processor?: 'register-file' | 'no-registers';
  readonly clock?: 'real' | 'virtual';
  readonly acpi?: AcpiTables;
  /** Run on the partition before anything is loaded. */
  readonly prepare?: (gpa: GpaSpace) => void;
}

/** A partition that a kernel was loaded into. */
export class LoadedMachine {
  readonly gpa: GpaSpace;
  readonly #partition: HostedPartition;

  constructor(partition: HostedPartition) {
    this.#partition = partition;
    this.gpa = partition.services.resolve(GPA_SPACE);
  }

  register(name: number, vpIndex = 0): bigint {
    return this.#partition.services.resolve(VP_REGISTERS).get(vpIndex, [name])[0];
  }

  bytes(gpa: number | bigint, sizeBytes: number): Uint8Array {
    const target = new Uint8Array(sizeBytes);
    if (!this.gpa.read(Number(gpa), target)) throw new Error(`no memory at ${gpa}`);
    return target;
  }

  /** A zero-terminated string. */
  text(gpa: number | bigint): string {
    let text = '';
    for (let at = Number(gpa); ; at++) {
      const [byte] = this.bytes(at, 1);
      if (byte === 0) return text;
      text += String.fromCharCode(byte);
    }
  }

  u64(gpa: number | bigint): bigint {
    return new DataView(this.bytes(gpa, 8).buffer).getBigUint64(0, true);
  }
}

/** Makes a partition and loads a kernel into it; throws what the loader throws. */
export async function loadInto(
  options: LinuxGuestOptions,
  machine: TestMachineOptions = {},
): Promise<LoadedMachine> {
  const { acpi, prepare } = machine;
  const host = await createHost({
    plugins: [
      guestLinuxPlugin,
      definePlugin({
        id: 'test',
        provides: acpi === undefined ? [] : [ACPI_TABLES],
        register(context) {
          context.contribute(PROCESSORS, registerFile);
          context.contribute(PROCESSORS, noRegisters);
          if (acpi !== undefined) context.providePartition(ACPI_TABLES, { useFactory: () => acpi });
          context.contribute(DEVICES, {
            id: 'prepare',
            description: 'prepares memory',
            path: 'platform',
            create(partition) {
              prepare?.(partition.resolve(GPA_SPACE));
              return {};
            },
          });
        },
      }),
    ],
  });
  const partition = await host.createPartition({
    name: 'test',
    processor: machine.processor ?? 'register-file',
    memoryBytes: machine.memoryBytes ?? 16 * 2 ** 20,
    // For what `prepare` maps beside RAM.
    devicePages: 1,
    vpCount: 2,
    clock: machine.clock ?? 'virtual',
    devices: [{ kind: 'prepare', id: 'prepare' }],
    guest: { kind: 'linux', options },
  });
  return new LoadedMachine(partition);
}
