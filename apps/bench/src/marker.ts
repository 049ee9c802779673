import {
  COUNTERS,
  type CounterSnapshot,
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

/** How a partition's configuration asks for the marker. */
export interface MarkerOptions {
  /** Gets what was counted between the two marks. */
  readonly onWindow: (counters: CounterSnapshot) => void;
}

const marker: DeviceKind = {
  id: 'bench-marker',
  description: 'takes the partition’s counters at the moments that the guest names',
  path: 'platform',
  create(partition, spec): Device {
    const { onWindow } = spec.options as MarkerOptions;
    const ports = partition.resolve(IO_PORTS);
    const counters = partition.resolve(COUNTERS);
    let begin: CounterSnapshot | undefined;
    const region = {
      name: MARKER_REGION,
      port: MARKER_PORT,
      count: 1,
      handler: {
        read: () => 0xff,
        write(_offset: number, _sizeBytes: number, mark: number) {
          if (mark === MARK_BEGIN) begin = counters.snapshot();
          else if (mark === MARK_END && begin !== undefined) {
            onWindow(counterDifference(begin, counters.snapshot()));
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
