import type { PerOperation } from './per-operation.ts';

/** The rate at which cycles become time in a projection. */
export const REFERENCE_HZ = 3e9;

/** One kind of event on hardware, and who measured what it costs. */
export interface ExitCost {
  readonly id: string;
  /** What happens, as a reader of the report is told. */
  readonly event: string;
  readonly cycles: number;
  readonly source: string;
  readonly url: string;
}

const KERNEL_EXIT_CYCLES = 2008;
const KERNEL_EXIT_SOURCE =
  'S. Jitindar Singh, patch to the eIBRS exit mitigation, linux-kernel, October 2022: kvm-unit-tests outl_to_kernel, mean of 200 runs';
const KERNEL_EXIT_URL = 'https://lkml.iu.edu/hypermail/linux/kernel/2210.0/05508.html';

/**
 * What events cost on hardware, each as somebody published it for KVM; nobody publishes them for Hyper-V. Hyper-V too
 * serves hypercalls and synthetic MSRs in the hypervisor and hands accesses to emulated devices to a process of the
 * root partition, which is at least as far away as a process of the same kernel is.
 */
export const EXIT_COSTS = {
  hypercall: {
    id: 'hypercall',
    event: 'hypercall: exit, served by the hypervisor, entry',
    cycles: KERNEL_EXIT_CYCLES,
    source: KERNEL_EXIT_SOURCE,
    url: KERNEL_EXIT_URL,
  },
  msr: {
    id: 'msr',
    event: 'MSR access: exit, served by the hypervisor, entry',
    cycles: KERNEL_EXIT_CYCLES,
    source: KERNEL_EXIT_SOURCE,
    url: KERNEL_EXIT_URL,
  },
  cpuid: {
    id: 'cpuid',
    event: 'CPUID: exit, served by the hypervisor, entry',
    cycles: KERNEL_EXIT_CYCLES,
    source: KERNEL_EXIT_SOURCE,
    url: KERNEL_EXIT_URL,
  },
  halt: {
    id: 'halt',
    event: 'HLT: exit and entry; neither the time asleep nor the scheduler',
    cycles: KERNEL_EXIT_CYCLES,
    source: KERNEL_EXIT_SOURCE,
    url: KERNEL_EXIT_URL,
  },
  interrupt: {
    id: 'interrupt',
    event: 'interrupt to a running guest: one exit to inject it; its EOI counts where it exits',
    cycles: KERNEL_EXIT_CYCLES,
    source: KERNEL_EXIT_SOURCE,
    url: KERNEL_EXIT_URL,
  },
  portKernel: {
    id: 'portKernel',
    event: 'port of an interrupt controller: exit, served by the hypervisor, entry',
    cycles: KERNEL_EXIT_CYCLES,
    source: KERNEL_EXIT_SOURCE,
    url: KERNEL_EXIT_URL,
  },
  portUser: {
    id: 'portUser',
    event: 'port of an emulated device: exit, served by a user-mode device model, entry',
    cycles: 5809,
    source:
      'P. Bonzini, Linux commit ad3610919e6f "kvm: x86: avoid atomic operations on APICv vmentry", 2016: kvm-unit-tests inl_from_qemu, mean of 20 runs',
    url: 'https://git.kernel.org/torvalds/c/ad3610919e6f',
  },
  mmioKernel: {
    id: 'mmioKernel',
    event: 'register of an interrupt controller: exit, decode, served by the hypervisor, entry',
    cycles: 3609,
    source: 'M. S. Tsirkin, QEMU commit 29b39bc712b5 (pci-testdev), 2013: mmio-wildcard-eventfd',
    url: 'https://gitlab.com/qemu-project/qemu/-/commit/29b39bc712b5',
  },
  mmioUser: {
    id: 'mmioUser',
    event: 'MMIO of an emulated device: exit, decode, served by a user-mode device model, entry',
    cycles: 8796,
    source: 'M. S. Tsirkin, QEMU commit 29b39bc712b5 (pci-testdev), 2013: mmio-no-eventfd',
    url: 'https://gitlab.com/qemu-project/qemu/-/commit/29b39bc712b5',
  },
} as const satisfies Record<string, ExitCost>;

/** What readers of a projection must know. */
export const PROJECTION_ASSUMPTIONS: readonly string[] = [
  'It is computed, not measured: events of each kind per operation, counted here, times a published cost of one.',
  `Cycles become time at ${REFERENCE_HZ / 1e9} GHz. The costs were measured on several processors by several people.`,
  'Only exits and interrupts are priced. The disk or the network, copies, the device models themselves and time asleep are not.',
  'The user-mode costs are older than the mitigations for Meltdown and Spectre, which made such exits dearer: the emulated path comes off too well.',
];

/** What exits and interrupts would cost one operation on hardware. */
export interface Projection {
  readonly cyclesPerOperation: number;
  readonly microsecondsPerOperation: number;
  /** Cycles by {@link EXIT_COSTS} entry, those that are not zero. */
  readonly cyclesByEvent: Readonly<Record<string, number>>;
}

/** Events per operation, told apart by where hardware would serve them. */
export type ProjectedEvents = Readonly<Record<keyof typeof EXIT_COSTS, number>>;

/**
 * Prices the events of one operation.
 *
 * @param interruptController - accesses among the port and MMIO intercepts that the hypervisor itself would serve
 */
export function project(
  counts: Pick<PerOperation, 'intercepts' | 'interrupts'>,
  interruptController: { readonly port: number; readonly mmio: number },
): Projection {
  const { intercepts, interrupts } = counts;
  const events: ProjectedEvents = {
    hypercall: intercepts.hypercall,
    msr: intercepts.msr,
    cpuid: intercepts.cpuid,
    halt: intercepts.halt,
    interrupt: interrupts,
    portKernel: interruptController.port,
    portUser: intercepts.port - interruptController.port,
    mmioKernel: interruptController.mmio,
    mmioUser: intercepts.mmio - interruptController.mmio,
  };
  const cyclesByEvent: Record<string, number> = {};
  let cycles = 0;
  for (const { id, cycles: each } of Object.values<ExitCost>(EXIT_COSTS)) {
    const cost = events[id as keyof ProjectedEvents] * each;
    if (cost > 0) cyclesByEvent[id] = cost;
    cycles += cost;
  }
  return {
    cyclesPerOperation: cycles,
    microsecondsPerOperation: (cycles / REFERENCE_HZ) * 1e6,
    cyclesByEvent,
  };
}
