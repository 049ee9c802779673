export * from './generation-1.ts';
