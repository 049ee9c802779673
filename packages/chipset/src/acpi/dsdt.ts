import { APIC_PAGE_GPA, APIC_PAGE_SIZE, MMIO_HOLE_START, type RamSlot } from '@kensho/core';
import { PIIX4_ISA_DEVFN, PIRQ_INITIAL_IRQ } from '../pci/isa-bridge.ts';
import { PM_BASE, PM_PORTS, SLP_TYP_S5 } from '../pm.ts';
import { COM_PORTS } from '../uart.ts';
import {
  type Aml,
  amlConcat,
  amlDevice,
  amlEisaId,
  amlInteger,
  amlName,
  amlPackage,
  amlScope,
  amlString,
} from './aml.ts';
import {
  busNumbers,
  fixedMemory,
  ioPorts,
  ioWindow,
  isaInterrupt,
  memoryWindow64,
  resourceTemplate,
} from './resources.ts';

/** The I/O APIC, which ends what PCI and VMBus devices may have of the hole below 4 GiB. */
export const IO_APIC_GPA = 0xfec00000;
const IO_APIC_SIZE = 0x1000;

const PRESENT = 0x0f;
const PCI_DEVICES = 32;
const PCI_PINS = 4;
const CONFIG_PORTS = { port: 0xcf8, count: 8 } as const;
const PORT_COUNT = 0x10000;

/** What the DSDT describes beside the board itself. */
export interface DsdtConfig {
  readonly vpCount: number;
  readonly comPorts: readonly (1 | 2)[];
  readonly keyboard: boolean;
  readonly vmbus: boolean;
  readonly highMmio: RamSlot | undefined;
}

/** The terms of the DSDT. Names of processors and COM ports follow Hyper-V's. */
export function dsdtBody(config: DsdtConfig): Aml {
  const sleep = (type: number) => amlPackage(amlInteger(type), amlInteger(type));
  return amlConcat([
    amlName('\\_S0', sleep(0)),
    amlName('\\_S5', sleep(SLP_TYP_S5)),
    amlScope(
      '\\_SB',
      ...Array.from({ length: config.vpCount }, (_, vp) => processor(vp)),
      amlDevice(
        'APIC',
        amlName('_HID', amlEisaId('PNP0003')),
        amlName(
          '_CRS',
          resourceTemplate(
            fixedMemory(APIC_PAGE_GPA, APIC_PAGE_SIZE),
            fixedMemory(IO_APIC_GPA, IO_APIC_SIZE),
          ),
        ),
      ),
      pciBus(config),
    ),
  ]);
}

/** The uid that the MADT knows a processor by. */
export function processorUid(vpIndex: number): number {
  return vpIndex + 1;
}

function processor(vpIndex: number): Aml {
  const uid = processorUid(vpIndex);
  return amlDevice(
    `P${uid.toString(16).toUpperCase().padStart(3, '0')}`,
    amlName('_HID', amlString('ACPI0007')),
    amlName('_UID', amlInteger(uid)),
    amlName('_STA', amlInteger(PRESENT)),
  );
}

/** The host bridge and all behind it: VMBus devices get their MMIO from the same windows. */
function pciBus(config: DsdtConfig): Aml {
  const { highMmio } = config;
  const configEnd = CONFIG_PORTS.port + CONFIG_PORTS.count;
  return amlDevice(
    'PCI0',
    amlName('_HID', amlEisaId('PNP0A03')),
    amlName('_UID', amlInteger(0)),
    amlName('_BBN', amlInteger(0)),
    amlName(
      '_CRS',
      resourceTemplate(
        busNumbers(0, 0),
        ioPorts(CONFIG_PORTS.port, CONFIG_PORTS.count),
        ioWindow(0, CONFIG_PORTS.port),
        ioWindow(configEnd, PORT_COUNT - configEnd),
        memoryWindow64(MMIO_HOLE_START, IO_APIC_GPA - MMIO_HOLE_START),
        ...(highMmio === undefined ? [] : [memoryWindow64(highMmio.gpa, highMmio.sizeBytes)]),
      ),
    ),
    amlName('_PRT', interruptRouting()),
    isaBridge(config),
    ...(config.vmbus ? [vmbus()] : []),
  );
}

/** Every pin of every device, at the interrupt that the ISA bridge routes all of them to. */
function interruptRouting(): Aml {
  const routes: Aml[] = [];
  for (let device = 1; device < PCI_DEVICES; device++) {
    for (let pin = 0; pin < PCI_PINS; pin++) {
      routes.push(
        amlPackage(
          amlInteger(device * 0x10000 + 0xffff),
          amlInteger(pin),
          amlInteger(0),
          amlInteger(PIRQ_INITIAL_IRQ),
        ),
      );
    }
  }
  return amlPackage(...routes);
}

function isaBridge({ comPorts, keyboard }: DsdtConfig): Aml {
  return amlDevice(
    'ISA',
    amlName('_ADR', amlInteger((PIIX4_ISA_DEVFN >> 3) * 0x10000)),
    isaDevice('PIC', 'PNP0000', ioPorts(0x20, 2), ioPorts(0xa0, 2), ioPorts(0x4d0, 2), isaInterrupt(2)),
    isaDevice('TIMR', 'PNP0100', ioPorts(0x40, 4), isaInterrupt(0)),
    isaDevice('SPKR', 'PNP0800', ioPorts(0x61, 1)),
    isaDevice('RTC0', 'PNP0B00', ioPorts(0x70, 2), isaInterrupt(8)),
    isaDevice('MBRD', 'PNP0C02', ioPorts(0xb2, 2), ioPorts(PM_BASE, PM_PORTS)),
    ...(keyboard ? [isaDevice('PS2K', 'PNP0303', ioPorts(0x60, 1), ioPorts(0x64, 1), isaInterrupt(1))] : []),
    ...comPorts.map(serialPort),
  );
}

function isaDevice(name: string, id: string, ...resources: readonly Uint8Array[]): Aml {
  return amlDevice(name, amlName('_HID', amlEisaId(id)), amlName('_CRS', resourceTemplate(...resources)));
}

function serialPort(com: 1 | 2): Aml {
  const { port, irq } = COM_PORTS[com];
  return amlDevice(
    `UAR${com}`,
    amlName('_HID', amlEisaId('PNP0501')),
    amlName('_UID', amlInteger(com)),
    amlName('_DDN', amlString(`COM${com}`)),
    amlName('_CRS', resourceTemplate(ioPorts(port, 8), isaInterrupt(irq))),
  );
}

/** Linux's VMBus driver asks for a `_CRS` of the device's own, though nothing is in it. */
function vmbus(): Aml {
  return amlDevice(
    'VMBS',
    amlName('_HID', amlString('VMBus')),
    amlName('_UID', amlInteger(0)),
    amlName('_STA', amlInteger(PRESENT)),
    amlName('_CRS', resourceTemplate()),
  );
}
