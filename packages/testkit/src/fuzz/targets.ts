import type { FuzzTarget } from './target.ts';
import { busTarget } from './targets/bus.ts';
import { hypercallTarget } from './targets/hypercall.ts';
import { synicTarget } from './targets/synic.ts';

/** Every fuzzer of Kensho's own. */
export const FUZZ_TARGETS: readonly FuzzTarget[] = [hypercallTarget, synicTarget, busTarget];
