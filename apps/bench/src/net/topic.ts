import type { CounterSnapshot } from '@kensho/core';
import type { BenchGuest } from '../options.ts';
import type { OwnCount, Topic } from '../topic.ts';
import { type NetJob, PAYLOAD_BYTES } from './options.ts';
import { NET_REPORT_SCHEMA, type NetReport, type NetSample } from './results.ts';

/** What differs between the guests in how a sample is taken. */
const METHOD: Readonly<Record<BenchGuest, readonly string[]>> = {
  kit: [
    'Each sample is a new process with a new host, two partitions on one switch, and two guests. The paths take turns, A B then B A, so that what drifts favours neither.',
    'Partitions, switch and programs are the same on both paths. On the emulated one the guests’ integration services are not installed, so that they find the DEC 21140 on the PCI bus by themselves.',
    'Kit guests have no TCP. Their programs send frames with TCP’s or UDP’s headers and keep a window of their own: 256 KiB in flight for tcp-stream, of which the receiver confirms every second packet or every large segment, and 512 datagrams in flight for the UDP workloads, of which it confirms every 64th. What is sent is what the adapter offers: segments of 64 KB and unfinished checksums enlightened, finished packets of at most 1,500 bytes emulated.',
    'The receiver compares every byte with what was sent, and every sequence number with the one that is due; a byte that differs, or a packet that is lost or comes twice, ends the run.',
    'After a warm-up the sender marks the window’s start and end through a port, at which the host takes both guests’ counters; everything that is sent in the window is confirmed before its end.',
  ],
  linux: [
    'Each run on each path is a new process with a new host, two partitions on one switch, and two boots of Debian’s unmodified kernel, which do all jobs one after another. The paths take turns, A B then B A, so that what drifts favours neither.',
    'Machines, kernel and initramfs are the same on both paths, clocks and timers are the hypervisor’s on both. Enlightened, Linux’ hv_netvsc has the adapter, over VMBus; emulated, its tulip, because hv_netvsc is not loaded.',
    'Streams are iperf3’s, over TCP, and over UDP as fast as the sender can, so that datagrams are lost where the receiver is slower: operations are those that arrived. iperf3 has no requests and answers: tcp-rr is sockperf’s ping-pong over TCP.',
    'Beside the jobs the sender sends a file of random bytes by TCP; both guests hash it, and the host compares the hashes. TCP’s and UDP’s counts of wrong checksums have to be zero in both guests.',
    'Operations, time and latencies are as iperf3 and sockperf report them, by the guest’s clock. Counts and CPU time are of the steady part of each job: from a fifth of its packets to nineteen twentieths, cut at the host by packets that the sender’s adapter hands to the switch; a datagram that is lost later counts there. With tcp-rr a packet of the sender’s is a round trip.',
    'Where the guests’ instructions went is sampled every 20,011 of them, in both.',
  ],
};

function ofGuest(guest: 'sender' | 'receiver', name: string): OwnCount['of'] {
  return (sample) => (sample as NetSample).guestCounters[guest][name] ?? 0;
}

function sumOf(counters: CounterSnapshot, matches: RegExp): number {
  return Object.entries(counters).reduce((sum, [name, count]) => sum + (matches.test(name) ? count : 0), 0);
}

/** The network benchmark's units and words. */
export const netTopic: Topic<NetJob, NetReport> = {
  reportSchema: NET_REPORT_SCHEMA,
  comparisonSchema: 'kensho.bench.net.compare/1',
  jobName: ({ workload }) => workload,
  bytesPerOperation: ({ workload }) => PAYLOAD_BYTES[workload] * (workload === 'tcp-rr' ? 2 : 1),
  unitOf: ({ workload }) => (workload === 'tcp-rr' ? 'round trip' : 'packet'),
  unit: 'packet or round trip',
  throughput: { unit: 'Mbit/s', bytesPerSecond: 125_000 },
  drivers: {
    enlightened: ['hv_vmbus', 'hv_netvsc'],
    emulated: ['tulip'],
  },
  counts: [
    { label: 'sender’s interrupts', of: ofGuest('sender', 'interrupt.delivered') },
    { label: 'receiver’s interrupts', of: ofGuest('receiver', 'interrupt.delivered') },
    { label: 'frames on the switch', of: ({ counters }) => sumOf(counters, /^switch\..+\.in\.frames$/) },
  ],
  comparable: () => ({}),
  words: {
    title: 'networking over both paths',
    heading: 'Two guests on one switch',
    setup: ({ guest, settings }) =>
      `Two guests on one switch, MTU 1500: ${guest}` +
      (settings.guest === 'linux'
        ? '\nOf datagrams, rates are of those that arrived; times and counts are per datagram that was sent.'
        : ''),
    introduction: (report) =>
      `${report.settings.guest === 'linux' ? report.guest : 'Programs on the kit kernel'}, in two partitions on one virtual switch, MTU 1500; all of it on one thread. ` +
      'Enlightened is VMBus, NVSP and RNDIS; emulated is a DEC 21140. Counts and times are of both guests together.',
    verified: ({ samples, settings }) =>
      settings.guest === 'kit'
        ? `in all ${samples.length} samples every byte arrived as it was sent, once and in order.`
        : `in all ${samples.length} samples a file arrived as it was sent, and no checksum was wrong.`,
    method: ({ settings }) => [
      ...METHOD[settings.guest],
      'A packet is what goes onto a wire as one: a segment that is sent whole, for the hardware to cut, counts as the packets it would be cut into. Confirmations are not counted as packets; what they cost is in the counts.',
      'Bytes copied are those of VMBus’ packets, and those of frames, out of the sender’s memory and into the receiver’s; what a DEC 21140 receives has its padding and check sequence with it.',
    ],
    facts: () => [],
  },
};
