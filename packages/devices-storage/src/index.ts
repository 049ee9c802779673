export * from './backend/disk.ts';
