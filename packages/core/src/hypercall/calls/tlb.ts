import { HvStatus } from '../../hv-status.ts';
import type { HypercallDefinition, HypercallInvocation, HypercallTarget } from '../definition.ts';
import type { VpSet } from '../vp-set.ts';

/** HV_FLUSH_FLAGS. */
const FlushFlag = {
  ALL_PROCESSORS: 1 << 0,
  ALL_VIRTUAL_ADDRESS_SPACES: 1 << 1,
  NON_GLOBAL_MAPPINGS_ONLY: 1 << 2,
} as const;

const SPACE_FLAGS =
  FlushFlag.ALL_PROCESSORS | FlushFlag.ALL_VIRTUAL_ADDRESS_SPACES | FlushFlag.NON_GLOBAL_MAPPINGS_ONLY;
const LIST_FLAGS = FlushFlag.ALL_PROCESSORS | FlushFlag.ALL_VIRTUAL_ADDRESS_SPACES;

/** From this many pages on the whole TLB is dropped: what the guest can make the hypervisor do stays bounded. */
const MAX_LISTED_PAGES = 1024;

interface GvaRange {
  page: number;
  count: number;
}

/** Reads the ranges of a list call: bits 63:12 are a page number, bits 11:0 the number of further pages. */
function readRanges(call: HypercallInvocation, ranges: GvaRange[]): GvaRange[] | undefined {
  let pages = 0;
  ranges.length = 0;
  for (let i = call.repStart; i < call.repCount; i++) {
    const at = call.elementsOffset + i * 8;
    const lo = call.input.getUint32(at, true);
    const count = (lo & 0xfff) + 1;
    pages += count;
    if (pages > MAX_LISTED_PAGES) return undefined;
    ranges.push({ page: call.input.getUint32(at + 4, true) * 0x100000 + (lo >>> 12), count });
  }
  return ranges;
}

/**
 * The flush calls. Each has an address space u64, flags u64 and then a mask of VPs u64 or an HV_VP_SET. Translations
 * are dropped whatever address space they belong to, which the guest cannot tell from a flush of one.
 *
 * @param vps - scratch, for the partition's VPs
 */
export function tlbCalls(vps: VpSet): readonly HypercallDefinition[] {
  const ranges: GvaRange[] = [];

  const serve = (target: HypercallTarget, call: HypercallInvocation, allowed: number, extended: boolean) => {
    const { input } = call;
    const flags = input.getUint32(8, true);
    if ((flags & ~allowed) !== 0 || input.getUint32(12, true) !== 0) return HvStatus.INVALID_PARAMETER;
    if ((flags & FlushFlag.ALL_PROCESSORS) !== 0) {
      vps.setAll();
    } else if (extended) {
      const status = vps.readFrom(input, 16, call.variableHeaderBytes);
      if (status !== HvStatus.SUCCESS) return status;
    } else {
      vps.setMask(input.getUint32(16, true), input.getUint32(20, true));
    }
    const pages = call.repCount === 0 ? undefined : readRanges(call, ranges);
    for (let i = 0; i < target.vpCount; i++) if (vps.has(i)) target.flushTlb(i, pages);
    call.repsCompleted = call.repCount;
    return HvStatus.SUCCESS;
  };

  const rep = { inputElementBytes: 8, outputElementBytes: 0 };
  return [
    {
      name: 'HvCallFlushVirtualAddressSpace',
      inputBytes: 24,
      serve: (target, call) => serve(target, call, SPACE_FLAGS, false),
    },
    {
      name: 'HvCallFlushVirtualAddressList',
      inputBytes: 24,
      rep,
      serve: (target, call) => serve(target, call, LIST_FLAGS, false),
    },
    {
      name: 'HvCallFlushVirtualAddressSpaceEx',
      inputBytes: 32,
      variableHeader: true,
      serve: (target, call) => serve(target, call, SPACE_FLAGS, true),
    },
    {
      name: 'HvCallFlushVirtualAddressListEx',
      inputBytes: 32,
      variableHeader: true,
      rep,
      serve: (target, call) => serve(target, call, LIST_FLAGS, true),
    },
  ];
}
