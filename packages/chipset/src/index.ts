export { type AcpiConfig, type AcpiTables, buildAcpiTables } from './acpi/tables.ts';
export { Board, type BoardServices } from './board.ts';
export { ExitPort, type ExitPortOptions, type ExitPortServices } from './exit-port.ts';
export { FIRMWARE_PAGES, type FirmwareOptions } from './firmware.ts';
export type { MemoryImage } from './firmware-table.ts';
export { I8042, type I8042Options, type I8042Services } from './i8042.ts';
export { PIIX4_IDE_DEVFN, PIIX4_PM_DEVFN, PIRQ_INITIAL_IRQ } from './pci/isa-bridge.ts';
export { devfnOf, PCI_BUS, type PciBus, pirqOf } from './pci/pci-bus.ts';
export {
  PciCommand,
  PciConfigSpace,
  type PciConfigSpaceOptions,
  PciRegister,
  type PciRegisterDefinition,
} from './pci/pci-config-space.ts';
export { mmioBar, type PciBar, type PciFunction, portBar, tryAddPorts } from './pci/pci-function.ts';
export { PIT_HZ, Pit, type PitOptions, type PitServices } from './pit.ts';
export { chipsetPlugin } from './plugin.ts';
export {
  PM_TIMER_HZ,
  POWER_MANAGEMENT,
  PowerManagement,
  type PowerManagementServices,
} from './pm.ts';
export { PostPort } from './post.ts';
export { Rtc, type RtcOptions, type RtcServices } from './rtc.ts';
export { ModemLines, type SerialBackend, type SerialLine } from './serial-backend.ts';
export { buildSmbiosTables, type SmbiosConfig, type SmbiosTables } from './smbios.ts';
export { COM_PORTS, Uart, type UartOptions, type UartServices } from './uart.ts';
