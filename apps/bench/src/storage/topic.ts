import type { BenchGuest } from '../options.ts';
import { size } from '../report/format.ts';
import type { Topic } from '../topic.ts';
import { jobName, type StorageJob } from './options.ts';
import { STORAGE_REPORT_SCHEMA, type StorageReport } from './results.ts';

/** What differs between the guests in how a sample is taken. */
const METHOD: Readonly<Record<BenchGuest, readonly string[]>> = {
  kit: [
    'Each sample is a new process with a new host, partition and guest. The paths take turns, A B then B A, so that what drifts favours neither.',
    'Partition, disk and guest program are the same on both paths. On the emulated one the guest’s integration services are not installed, so that it finds the IDE controller on the PCI bus by itself.',
    'The guest first reads the whole span and hashes it; the host compares that with its own reading of the image. In the window every read is checked against that first reading. After writes the guest reads everything back, checks each block against what was last written to it, and the host hashes the same span of the overlay by itself. The image is never written to.',
    'After a warm-up the guest marks the window’s start and end through a port, at which the host takes the counters; all requests of the window begin and end between the marks.',
  ],
  linux: [
    'Each run on each path is a new process with a new host, partition and boot of Debian’s unmodified kernel; fio does all jobs one after another, with direct I/O by libaio, submitted by up to half the depth at once. The paths take turns, A B then B A, so that what drifts favours neither.',
    'Machine, kernel, initramfs and disk are the same on both paths, clocks and timers are the hypervisor’s on both. Enlightened, Linux’ hv_storvsc has the disk, over VMBus; emulated, its ata_piix, because hv_storvsc is not loaded.',
    'The guest first reads the whole span and hashes it; the host compares that with its own reading of the image. After all jobs the guest hashes the span again, past its cache, and the host hashes the same span of the overlay by itself. The image is never written to.',
    'Operations, time and latencies are as fio reports them, by the guest’s clock. Counts and CPU time are of the steady part of each job: from a fifth of its bytes to nineteen twentieths, cut at the host by requests that arrive at the disk, so that fio’s start and end are not in them.',
    'Where the guest’s instructions went is sampled every 20,011 of them. A path’s own drivers are hv_vmbus and hv_storvsc, or libata and ata_piix; SCSI, block layer and fio are on both paths.',
  ],
};

/** The storage benchmark's units and words. */
export const storageTopic: Topic<StorageJob, StorageReport> = {
  reportSchema: STORAGE_REPORT_SCHEMA,
  comparisonSchema: 'kensho.bench.compare/2',
  jobName,
  bytesPerOperation: ({ blockBytes }) => blockBytes,
  unitOf: () => 'op',
  unit: 'operation',
  throughput: { unit: 'MB/s', bytesPerSecond: 1e6 },
  // What both go through (sd, scsi_mod, the block layer) is neither's.
  drivers: {
    enlightened: ['hv_vmbus', 'hv_storvsc'],
    emulated: ['libata', 'ata_piix', 'ata_generic'],
  },
  counts: [],
  comparable: ({ image }) => ({ image: image.sha256, format: image.format }),
  words: {
    title: 'storage over both paths',
    heading: 'One disk, one guest',
    setup: (report) =>
      `${spanText(report)} (${report.image.format}), from ${report.settings.memory ? 'the host’s memory' : 'a file of the host'}`,
    introduction(report) {
      const { image, settings } = report;
      const held = settings.memory ? ', held in memory' : '';
      return (
        `${spanText(report)} (${image.format}, ${size(image.sizeBytes)})${held}. ` +
        'Enlightened is VMBus and SCSI; emulated is a PIIX4 IDE controller.'
      );
    },
    verified: ({ samples }) => `in all ${samples.length} samples the guest read what the host reads.`,
    method: ({ settings }) => [
      ...METHOD[settings.guest],
      'An IDE channel has one command at a time: of the requests in flight all but one wait in the guest’s driver. Where the host answers at once, fewer are in flight than asked for, on either path; the tables say how many.',
    ],
    facts: ({ image }) => [['image', `SHA-256 of the span ${image.sha256}`]],
  },
};

function spanText({ guest, image, settings }: StorageReport): string {
  const on = settings.guest === 'linux' ? `${guest}, on` : 'On';
  return `${on} ${size(settings.spanBytes)} of ${image.generated ? 'a generated image' : image.name}`;
}
