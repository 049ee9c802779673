import {
  type CounterSnapshot,
  type Counters,
  counterDifference,
  DEVICES,
  type Device,
  type DeviceKind,
  definePlugin,
  IO_PORTS,
} from '@kensho/core';

/** Where the guest says that a measured window begins or ends: a port that nothing else uses. */
export const MARKER_PORT = 0x5e0;
export const MARK_BEGIN = 1;
export const MARK_END = 2;
/** Names the marker's own intercepts, which are left out of the figures. */
export const MARKER_REGION = 'bench-marker';

/** What happened between the two marks. */
export interface MarkedWindow {
  /** Of each partition that is watched. */
  readonly counters: readonly CounterSnapshot[];
  /** Processor time of the host's process, all threads. */
  readonly cpuNs: number;
}

/** How a partition's configuration asks for the marker. */
export interface MarkerOptions {
  /** Whose counters are taken at the marks; asked at each mark. */
  readonly watched: () => readonly Counters[];
  readonly onWindow: (window: MarkedWindow) => void;
}

const marker: DeviceKind = {
  id: 'bench-marker',
  description: 'takes partitions’ counters at the moments that the guest names',
  path: 'platform',
  create(partition, spec): Device {
    const { watched, onWindow } = spec.options as MarkerOptions;
    const ports = partition.resolve(IO_PORTS);
    let begin: { counters: readonly CounterSnapshot[]; cpu: NodeJS.CpuUsage } | undefined;
    const snapshots = () => watched().map((counters) => counters.snapshot());
    const region = {
      name: MARKER_REGION,
      port: MARKER_PORT,
      count: 1,
      handler: {
        read: () => 0xff,
        write(_offset: number, _sizeBytes: number, mark: number) {
          if (mark === MARK_BEGIN) {
            begin = { counters: snapshots(), cpu: process.cpuUsage() };
          } else if (mark === MARK_END && begin !== undefined) {
            const { user, system } = process.cpuUsage(begin.cpu);
            const { counters } = begin;
            onWindow({
              counters: snapshots().map((after, index) => counterDifference(counters[index], after)),
              cpuNs: (user + system) * 1000,
            });
            begin = undefined;
          }
        },
      },
    };
    ports.add(region);
    return { stop: () => ports.remove(region) };
  },
};

/** The marker device, contributed as any third party would. */
export const markerPlugin = definePlugin({
  id: '@kensho/bench/marker',
  register: (context) => context.contribute(DEVICES, marker),
});
