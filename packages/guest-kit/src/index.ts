export { CONSOLE_PORT } from './kernel/console.ts';
export { type KitDrivers, KitKernel, type KitMain } from './kernel/kernel.ts';
export { scanPciBus } from './kernel/pci.ts';
export { guestKitPlugin, type KitConsoleOptions, type KitGuestOptions } from './plugin.ts';
export { KitEngine, kitProcessor } from './processor/kit-engine.ts';
export type { KitProgram, KitStep } from './processor/kit-vp.ts';
