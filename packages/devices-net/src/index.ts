export { createCable } from './backend/cable.ts';
export type { DeliveryLimits } from './backend/delivery-queue.ts';
export { formatMac, parseMac } from './backend/mac.ts';
export * from './backend/network.ts';
export { unplugged } from './backend/none.ts';
export * from './backend/port.ts';
export * from './frame/ethernet.ts';
export { finishFrame } from './frame/offload.ts';
export * from './plugin.ts';
export type { SwitchPortOptions } from './switch/switch-port.ts';
export { SWITCHES, Switches, type SwitchNetworkOptions } from './switch/switches.ts';
export { type SwitchKind, VirtualSwitch, type VirtualSwitchOptions } from './switch/virtual-switch.ts';
export type { PortVlan } from './switch/vlan.ts';
export { type NetworkDevice, type NetworkOptions, networkKind } from './vsp/network-kind.ts';
export {
  NetworkVsp,
  type NetworkVspOptions,
  type NetworkVspServices,
} from './vsp/network-vsp.ts';
