import type { Counter } from '@kensho/core';
import { ETHERNET_HEADER_BYTES, tagged } from '../../frame/ethernet.ts';
import {
  type Held,
  holdNetwork,
  type NetworkKind,
  type NetworkServices,
  type NetworkSpec,
  networkServices,
  withNetwork,
} from '../network.ts';
import type { Frame, FrameOffload, NetworkAdapter, NetworkConnector, NetworkPort } from '../port.ts';
import { CaptureFile } from './capture-file.ts';
import { Direction, packetBlock } from './pcapng.ts';

export interface CaptureOptions {
  /** Where the capture goes; a capture that is there is replaced, another file is not. Or a file that is open, which goes on. */
  readonly file: string | CaptureFile;
  /**
   * The time of day, in milliseconds since 1970, when the partition's clock was at 0; a function says what it is now,
   * when an adapter is plugged in. @default 0
   */
  readonly epochMs?: number | (() => number);
  /** Beyond this length of the file frames are only counted as dropped. @default no limit */
  readonly maxBytes?: number;
}

/** Options of network kind `capture`. */
export interface CaptureNetworkOptions extends CaptureOptions {
  /** The network whose frames are captured. */
  readonly network: NetworkSpec;
}

/** Network kind `capture`; takes {@link CaptureNetworkOptions}. */
export const captureKind: NetworkKind = {
  id: 'capture',
  description: 'Another network, its frames written to a pcapng file',
  open(partition, options) {
    const { network, ...captureOptions } = options as CaptureNetworkOptions;
    return withNetwork(partition, network, (inner) =>
      capture(inner, captureOptions, networkServices(partition)),
    );
  },
  async hold(contributions, options): Promise<Held<CaptureNetworkOptions>> {
    const given = options as CaptureNetworkOptions;
    const network = await holdNetwork(contributions, given.network);
    try {
      const file = typeof given.file === 'string' ? new CaptureFile(given.file) : given.file;
      return {
        options: { ...given, file, network: network.spec },
        async release() {
          if (file !== given.file) file.close();
          await network.release();
        },
      };
    } catch (error) {
      await network.release();
      throw error;
    }
  },
};

/**
 * A network whose frames in both directions are written to a file that Wireshark reads. Work that was left to the
 * hardware is noted in a frame's comment: its checksum is not there yet, and it may be longer than the MTU. Counts
 * `network.<adapter>.capture.frames` and `.dropped`. Throws KenshoError CAPTURE_FILE when connected.
 */
export function capture(
  network: NetworkConnector,
  options: CaptureOptions,
  services: NetworkServices,
): NetworkConnector {
  return {
    connect(adapter) {
      const recorder = new Recorder(adapter, options, services);
      let inner: NetworkPort;
      try {
        inner = network.connect({
          name: adapter.name,
          mac: adapter.mac,
          receive(frame) {
            const taken = adapter.receive(frame);
            if (taken) recorder.add(frame, Direction.INBOUND);
            return taken;
          },
          linkChanged: (up) => adapter.linkChanged(up),
        });
      } catch (error) {
        recorder.close();
        throw error;
      }
      return {
        get linkUp() {
          return inner.linkUp;
        },
        send(frame) {
          recorder.add(frame, Direction.OUTBOUND);
          inner.send(frame);
        },
        receiveReady: () => inner.receiveReady(),
        close() {
          inner.close();
          recorder.close();
        },
      };
    },
    close: () => network.close?.(),
  };
}

/** Writes the frames of one adapter. */
class Recorder {
  readonly #services: NetworkServices;
  readonly #file: CaptureFile;
  /** Whether the file ends with the adapter. */
  readonly #owned: boolean;
  readonly #maxBytes: number;
  readonly #epochNs: bigint;
  readonly #frames: Counter;
  readonly #dropped: Counter;
  #flushQueued = false;

  constructor(adapter: NetworkAdapter, options: CaptureOptions, services: NetworkServices) {
    const { file, epochMs = 0, maxBytes = Number.POSITIVE_INFINITY } = options;
    this.#services = services;
    this.#maxBytes = maxBytes;
    this.#frames = services.counters.counter(`network.${adapter.name}.capture.frames`);
    this.#dropped = services.counters.counter(`network.${adapter.name}.capture.dropped`);
    this.#owned = typeof file === 'string';
    this.#file = typeof file === 'string' ? new CaptureFile(file) : file;
    const nowNs = this.#clockNs();
    const epochNs = typeof epochMs === 'number' ? nanoseconds(epochMs) : nanoseconds(epochMs()) - nowNs;
    // A clock that began anew does not take the file back in time.
    const { lastNs } = this.#file;
    this.#epochNs = epochNs + nowNs < lastNs ? lastNs - nowNs : epochNs;
    this.#file.begin(adapter, this.#epochNs + nowNs);
    this.#flushLater();
  }

  add(frame: Frame, direction: Direction): void {
    const whole = frame.bytes.length >= ETHERNET_HEADER_BYTES;
    const bytes = whole ? tagged(frame) : frame.bytes;
    const timeNs = this.#epochNs + this.#clockNs();
    const block = packetBlock(timeNs, direction, bytes, commentOn(frame.offload));
    if (this.#file.add(block, timeNs, this.#maxBytes)) this.#frames.value++;
    else this.#dropped.value++;
    if (this.#file.full) this.#flush();
    else this.#flushLater();
  }

  close(): void {
    this.#file.end(this.#epochNs + this.#clockNs());
    this.#flush();
    if (this.#owned) this.#file.close();
  }

  /** One write to the file for each round of the partition's work. */
  #flushLater(): void {
    if (this.#flushQueued) return;
    this.#flushQueued = true;
    this.#services.work.defer(() => {
      this.#flushQueued = false;
      this.#flush();
    });
  }

  #flush(): void {
    const error = this.#file.flush();
    if (error !== undefined) {
      this.#services.log.error(`${this.#file.path}: the capture ends here`, { error });
    }
  }

  #clockNs(): bigint {
    return BigInt(Math.round(this.#services.timers.clock.nowNs()));
  }
}

function nanoseconds(ms: number): bigint {
  return BigInt(Math.round(ms)) * 1_000_000n;
}

function commentOn(offload: FrameOffload | undefined): string | undefined {
  if (offload === undefined) return undefined;
  const left: string[] = [];
  if (offload.segmentPayloadBytes !== undefined) {
    left.push(`to be cut into segments of ${offload.segmentPayloadBytes} bytes`);
  }
  if (offload.checksum !== undefined) left.push('its checksum to be finished');
  if (offload.ipv4HeaderChecksum === true) left.push('its IPv4 header checksum to be filled in');
  return left.length === 0 ? undefined : `left to the hardware: ${left.join(', ')}`;
}
