import { switchKind } from '../switch/switches.ts';
import { captureKind } from './capture/capture.ts';
import { replayKind } from './capture/replay.ts';
import { impairedKind } from './impairment.ts';
import { natKind } from './nat/nat-kind.ts';
import type { NetworkKind } from './network.ts';
import { noneKind } from './none.ts';
import { tapKind } from './tap.ts';

/** The kinds of networks that this package contributes. */
export const BUILT_IN_NETWORKS: readonly NetworkKind[] = [
  noneKind,
  switchKind,
  natKind,
  tapKind,
  captureKind,
  replayKind,
  impairedKind,
];
