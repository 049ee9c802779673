export { type BootProtocol, type Kernel, readKernel } from './image/kernel.ts';
export type { KernelFault } from './image/kernel-file.ts';
export {
  type FileSource,
  guestLinuxPlugin,
  type LinuxGuestModule,
  type LinuxGuestOptions,
} from './plugin.ts';
