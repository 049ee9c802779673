export {
  APIC_PAGE_GPA,
  APIC_PAGE_SIZE,
  ApicRegister,
  IA32_APIC_BASE,
  IA32_TSC_DEADLINE,
  SVR_SOFTWARE_ENABLE,
  X2APIC_MSR_BASE,
} from './apic/registers.ts';
export * from './clock.ts';
export * from './counters.ts';
export * from './devices.ts';
export * from './enlightenment/features.ts';
export * from './enlightenment/hv-msr.ts';
export * from './errors.ts';
export * from './guest/contract.ts';
export * from './guid.ts';
export * from './host.ts';
export * from './hv-status.ts';
export * from './hypercall/abi.ts';
export * from './hypercall/definition.ts';
export * from './hypercall/dispatcher.ts';
export {
  DEBUGGER,
  type DebugResume,
  type DebugStop,
  type PartitionDebugger,
} from './hypervisor/debugger.ts';
export * from './hypervisor/hypervisor.ts';
export * from './hypervisor/intercepts.ts';
export * from './hypervisor/partition.ts';
export * from './hypervisor/port-table.ts';
export * from './hypervisor/ports.ts';
export * from './hypervisor/privileges.ts';
export * from './hypervisor/properties.ts';
export * from './hypervisor/ram-layout.ts';
export * from './hypervisor/root-ports.ts';
export * from './hypervisor/run-loop.ts';
export * from './hypervisor/services.ts';
export * from './hypervisor/vp.ts';
export * from './hypervisor/work.ts';
export * from './logger.ts';
export * from './memory/arena.ts';
export * from './memory/dma.ts';
export * from './memory/gpa-space.ts';
export * from './memory/run-allocator.ts';
export * from './plugin/composer.ts';
export * from './plugin/lifecycle.ts';
export * from './plugin/plugin.ts';
export * from './plugin/token.ts';
export * from './processor/contract.ts';
export * from './processor/debug.ts';
export * from './processor/register-values.ts';
export * from './random.ts';
export * from './struct.ts';
