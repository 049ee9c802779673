export { Board, type BoardServices } from './board.ts';
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
export { chipsetPlugin } from './plugin.ts';
