export * from './backend/network.ts';
export * from './backend/port.ts';
export * from './frame/ethernet.ts';
export { finishFrame } from './frame/offload.ts';
export * from './plugin.ts';
