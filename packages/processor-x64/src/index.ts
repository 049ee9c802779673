export { processorX64Plugin, x64Processor } from './plugin.ts';
export { X64Engine, type X64Options } from './x64-engine.ts';
