export * from './channel.ts';
export * from './guest/contract.ts';
export * from './ring/ring-memory.ts';
export * from './ring/ring-reader.ts';
export * from './ring/ring-writer.ts';
