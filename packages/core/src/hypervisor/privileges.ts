/**
 * Privileges to make hypercalls: the upper half of a partition's privilege mask, which a guest sees in EBX of CPUID
 * leaf 0x40000003 (TLFS, HV_PARTITION_PRIVILEGE_MASK).
 */
export const HypercallPrivilege = {
  /** Creating partitions, and every call that is restricted to operating on children. */
  CREATE_PARTITIONS: 1 << 0,
  ACCESS_PARTITION_ID: 1 << 1,
  ACCESS_MEMORY_POOL: 1 << 2,
  POST_MESSAGES: 1 << 4,
  SIGNAL_EVENTS: 1 << 5,
  CREATE_PORT: 1 << 6,
  CONNECT_PORT: 1 << 7,
  CPU_MANAGEMENT: 1 << 12,
  ACCESS_VP_REGISTERS: 1 << 17,
  ENABLE_EXTENDED_HYPERCALLS: 1 << 20,
} as const;

/** What the root partition may do: everything. */
export const ROOT_HYPERCALL_PRIVILEGES: number = Object.values(HypercallPrivilege).reduce(
  (all, bit) => all | bit,
  0,
);

/** What a child may do unless its creator says otherwise. */
export const CHILD_HYPERCALL_PRIVILEGES: number =
  HypercallPrivilege.POST_MESSAGES | HypercallPrivilege.SIGNAL_EVENTS;

/** What a child can be given at all. The rest stands for calls on partitions of one's own, which children have none of. */
export const GRANTABLE_HYPERCALL_PRIVILEGES: number =
  CHILD_HYPERCALL_PRIVILEGES |
  HypercallPrivilege.ACCESS_PARTITION_ID |
  HypercallPrivilege.ACCESS_VP_REGISTERS |
  HypercallPrivilege.ENABLE_EXTENDED_HYPERCALLS;
