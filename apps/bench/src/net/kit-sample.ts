import { KenshoError, type Plugin } from '@kensho/core';
import { type NetworkSpec, NetworkVsc, netPlugin, TulipDriver } from '@kensho/devices-net';
import { type KitGuest, runKitGuests } from '../kit-guests.ts';
import type { KitSampleRequest } from '../request.ts';
import { adapterOf, STATIONS, SWITCH } from './adapters.ts';
import { sumOfCounters } from './counters.ts';
import {
  type NetPlan,
  type ReceiverResult,
  receiverProgram,
  type SenderResult,
  senderProgram,
} from './kit-workload.ts';
import type { NetJob } from './options.ts';
import type { NetSample } from './results.ts';

/** The kernel, its drivers' rings and buffers. */
const GUEST_BYTES = 32 * 1024 * 1024;
/** The bus has been quiet for long by then: a host signals once more 100 ms after an open. */
const WARM_UP_NS = 300e6;
const WARM_UP_OPERATIONS = 20_000;

/** What the guests are plugged into, and who contributes it. */
interface SampledNetwork {
  readonly network: NetworkSpec;
  readonly plugins: readonly Plugin[];
}

/**
 * Lets two kit guests exchange packets. Throws KenshoError SAMPLE_FAILED, also where a packet arrived other than it was
 * sent, and VERIFICATION_FAILED.
 *
 * @param network - of both @default a switch
 */
export async function takeKitNetSample(
  request: KitSampleRequest,
  job: NetJob,
  { network, plugins }: SampledNetwork = { network: SWITCH, plugins: [] },
): Promise<NetSample> {
  const { path, run, order, seconds, seed } = request;
  const what = `${job.workload}, ${path}`;
  const plan: NetPlan = {
    workload: job.workload,
    ...STATIONS,
    warmUpNs: WARM_UP_NS,
    warmUpOperations: WARM_UP_OPERATIONS,
    windowNs: seconds * 1e9,
    // Both paths of a pair get the same bytes, each run others.
    seed: seed + run,
  };
  const { results, window } = await runKitGuests(
    what,
    [netPlugin, ...plugins],
    [guestOf('sender', request, plan, network), guestOf('receiver', request, plan, network)],
  );
  const sent = results[0] as SenderResult;
  const received = results[1] as ReceiverResult;
  for (const taken of [sent.path, received.path]) {
    if (taken !== path)
      throw new KenshoError('VERIFICATION_FAILED', `${what}: a guest took the ${taken} path`);
  }
  if (sent.operations === 0)
    throw new KenshoError('SAMPLE_FAILED', `${what}: nothing arrived within the window`);
  const [sender, receiver] = window.counters;
  return {
    job,
    run,
    order,
    ...sent,
    countedOperations: sent.operations,
    cpuNs: window.cpuNs,
    counters: sumOfCounters(window.counters),
    guestCounters: { sender, receiver },
    verification: { checkedBytes: received.checkedBytes },
  };
}

/** The same partition and program on both paths: what differs is whether integration services are installed. */
function guestOf(
  role: keyof typeof STATIONS,
  { path }: KitSampleRequest,
  plan: NetPlan,
  network: NetworkSpec,
): KitGuest {
  return {
    name: role,
    memoryBytes: GUEST_BYTES,
    devices: [adapterOf(path, STATIONS[role], network)],
    drivers: { vscs: path === 'enlightened' ? [new NetworkVsc()] : [], pci: [new TulipDriver()], ports: [] },
    main: role === 'sender' ? senderProgram(plan) : receiverProgram(plan),
  };
}
