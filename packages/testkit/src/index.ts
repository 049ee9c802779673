export * from './conformance/case.ts';
export { type ComponentSubject, componentConformance } from './conformance/component.ts';
export { type DiskSubject, diskConformance } from './conformance/disk.ts';
export { type EmulatedDeviceSubject, emulatedDeviceConformance } from './conformance/emulated-device.ts';
export { receive } from './conformance/guest-case.ts';
export { type GuestComponentSubject, guestComponentConformance } from './conformance/guest-component.ts';
export {
  type NetworkPortServices,
  type NetworkPortSubject,
  type NetworkUnderTest,
  networkPortConformance,
} from './conformance/network-port.ts';
export { type VscSubject, vscConformance } from './conformance/vsc.ts';
export { type VspSubject, vspConformance } from './conformance/vsp.ts';
export { type FuzzOptions, type FuzzResult, fuzz, replay } from './fuzz/driver.ts';
export {
  expectAlways,
  FuzzFailure,
  type FuzzSubject,
  type FuzzTarget,
  FuzzViolation,
} from './fuzz/target.ts';
export { FUZZ_TARGETS } from './fuzz/targets.ts';
export { fuzzWatched, type WatchOptions } from './fuzz/watch.ts';
export { type GuestRun, type GuestRunOptions, guestFailure, runGuest } from './guest-run.ts';
export { kernelTestPlugin } from './kernel-test-device.ts';
export { Random } from './random.ts';
