export { createCable } from './backend/cable.ts';
export {
  type CaptureNetworkOptions,
  type CaptureOptions,
  capture,
} from './backend/capture/capture.ts';
export { CaptureFile } from './backend/capture/capture-file.ts';
export { type CapturedFrame, Direction, readCapture } from './backend/capture/pcapng.ts';
export { type ReplayNetworkOptions, type ReplayOptions, replay } from './backend/capture/replay.ts';
export {
  type DeliveryLimits,
  DeliveryQueue,
  type DeliveryQueueOptions,
} from './backend/delivery-queue.ts';
export { type ImpairedNetworkOptions, type ImpairmentOptions, impair } from './backend/impairment.ts';
export { formatMac, parseMac } from './backend/mac.ts';
export type * from './backend/nat/host.ts';
export { KeptPorts } from './backend/nat/kept-ports.ts';
export {
  Nat,
  type NatLoad,
  type NatOptions,
  type NatServices,
  type PortForward,
} from './backend/nat/nat.ts';
export type { NatNetworkOptions } from './backend/nat/nat-kind.ts';
export { nodeHost } from './backend/nat/node-host.ts';
export type { TcpLimits } from './backend/nat/tcp/flows.ts';
export * from './backend/network.ts';
export { unplugged } from './backend/none.ts';
export * from './backend/port.ts';
export { Tap, TapInterface, type TapOptions } from './backend/tap.ts';
export { TulipDriver, type TulipDriverOptions } from './driver/tulip-driver.ts';
export {
  TulipAdapter,
  type TulipAdapterOptions,
  type TulipServices,
} from './emulated/tulip-adapter.ts';
export { TulipFunction, type TulipFunctionServices } from './emulated/tulip-function.ts';
export { type TulipOptions, tulipKind } from './emulated/tulip-kind.ts';
export * from './frame/ethernet.ts';
export { finishFrame } from './frame/offload.ts';
export * from './guest-interface.ts';
export * from './plugin.ts';
export { NvspVersion } from './protocol/nvsp.ts';
export type { SwitchPortOptions } from './switch/switch-port.ts';
export { SWITCHES, Switches, type SwitchNetworkOptions } from './switch/switches.ts';
export { type SwitchKind, VirtualSwitch, type VirtualSwitchOptions } from './switch/virtual-switch.ts';
export type { PortVlan } from './switch/vlan.ts';
export { NetworkVsc, type NetworkVscOptions } from './vsc/network-vsc.ts';
export { type NetworkDevice, type NetworkOptions, networkKind } from './vsp/network-kind.ts';
export {
  NetworkVsp,
  type NetworkVspOptions,
  type NetworkVspServices,
} from './vsp/network-vsp.ts';
