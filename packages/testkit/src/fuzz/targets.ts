import type { FuzzTarget } from './target.ts';
import { busTarget } from './targets/bus.ts';
import { componentTargets } from './targets/components.ts';
import { hypercallTarget } from './targets/hypercall.ts';
import { ideTarget } from './targets/ide.ts';
import { natTarget } from './targets/nat.ts';
import { netvspTarget } from './targets/netvsp.ts';
import { processorTarget } from './targets/processor.ts';
import { ringTarget } from './targets/ring.ts';
import { storvspTarget } from './targets/storvsp.ts';
import { synicTarget } from './targets/synic.ts';
import { tulipTarget } from './targets/tulip.ts';
import { vhdTarget } from './targets/vhd.ts';
import { vhdxTarget } from './targets/vhdx.ts';

/** Every fuzzer of Kensho's own. */
export const FUZZ_TARGETS: readonly FuzzTarget[] = [
  processorTarget,
  hypercallTarget,
  synicTarget,
  busTarget,
  ringTarget,
  storvspTarget,
  netvspTarget,
  tulipTarget,
  ideTarget,
  ...componentTargets,
  vhdTarget,
  vhdxTarget,
  natTarget,
];
