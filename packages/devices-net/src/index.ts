export * from './backend/port.ts';
