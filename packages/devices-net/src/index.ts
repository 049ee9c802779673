export * from './backend/network.ts';
export * from './backend/port.ts';
export * from './plugin.ts';
