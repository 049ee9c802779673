export { branchLines } from './monitor.ts';
export { GdbServer, type GdbServerOptions } from './server.ts';
