import { definePlugin, PageArena, type Plugin, PROCESSORS, type ProcessorKind, VpExit } from '@kensho/core';

/** A processor whose guest does nothing. */
const idle: ProcessorKind = {
  id: 'idle',
  description: 'halts',
  create: (options) => ({
    arena: PageArena.allocate(options.memoryPages + options.overlayPages),
    createVp: () => ({
      instructionsRetired: 0,
      run: () => VpExit.HALT,
      requestExit: () => {},
      setInterruptPending: () => {},
      injectNmi: () => {},
      init: () => {},
      startup: () => {},
      getRegister: () => false,
      setRegister: () => false,
      flushTlb: () => {},
    }),
    dispose: () => {},
  }),
};

/** Processor `idle`. */
export const idleProcessorPlugin: Plugin = definePlugin({
  id: 'idle-processor',
  register: (context) => context.contribute(PROCESSORS, idle),
});
