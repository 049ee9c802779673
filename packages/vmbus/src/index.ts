export * from './channel.ts';
export * from './guest/contract.ts';
