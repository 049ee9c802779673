export { type BuildGuestOptions, buildGuest } from './debian/build.ts';
export { DEFAULT_MODULES, DEFAULT_PACKAGES } from './debian/defaults.ts';
export {
  type BuiltGuest,
  findGuest,
  GUEST_COMMAND_LINE,
  type GuestFile,
  type GuestManifest,
  listGuests,
  memoryForInitrd,
  removeGuest,
  withScript,
} from './debian/guest.ts';
export { type BootProtocol, type Kernel, readKernel } from './image/kernel.ts';
export type { KernelFault } from './image/kernel-file.ts';
export {
  type FileSource,
  guestLinuxPlugin,
  type LinuxGuestModule,
  type LinuxGuestOptions,
} from './plugin.ts';
