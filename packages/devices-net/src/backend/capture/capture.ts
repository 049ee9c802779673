import fs from 'node:fs';
import { type Counter, KenshoError } from '@kensho/core';
import { ETHERNET_HEADER_BYTES, tagged } from '../../frame/ethernet.ts';
import {
  type NetworkKind,
  type NetworkServices,
  type NetworkSpec,
  networkServices,
  openNetwork,
} from '../network.ts';
import type { Frame, FrameOffload, NetworkAdapter, NetworkConnector, NetworkPort } from '../port.ts';
import { Direction, fileHeader, packetBlock, statisticsBlock } from './pcapng.ts';

export interface CaptureOptions {
  /** Where the capture goes; what is there is replaced. */
  readonly file: string;
  /** The time of day, in milliseconds since 1970, when the partition's clock was at 0. @default 0 */
  readonly epochMs?: number;
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
  async open(partition, options) {
    const { network, ...captureOptions } = options as CaptureNetworkOptions;
    return capture(await openNetwork(partition, network), captureOptions, networkServices(partition));
  },
};

/** What is collected before it is written at the latest. */
const BUFFER_BYTES = 256 * 1024;

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
      const file = new CaptureFile(adapter, options, services);
      let inner: NetworkPort;
      try {
        inner = network.connect({
          name: adapter.name,
          mac: adapter.mac,
          receive(frame) {
            const taken = adapter.receive(frame);
            if (taken) file.add(frame, Direction.INBOUND);
            return taken;
          },
          linkChanged: (up) => adapter.linkChanged(up),
        });
      } catch (error) {
        file.close();
        throw error;
      }
      return {
        get linkUp() {
          return inner.linkUp;
        },
        send(frame) {
          file.add(frame, Direction.OUTBOUND);
          inner.send(frame);
        },
        receiveReady: () => inner.receiveReady(),
        close() {
          inner.close();
          file.close();
        },
      };
    },
  };
}

class CaptureFile {
  readonly #services: NetworkServices;
  readonly #path: string;
  readonly #epochNs: bigint;
  readonly #maxBytes: number;
  readonly #frames: Counter;
  readonly #dropped: Counter;
  readonly #startNs: bigint;
  #fd: number | undefined;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #writtenBytes = 0;

  constructor(adapter: NetworkAdapter, options: CaptureOptions, services: NetworkServices) {
    this.#services = services;
    this.#path = options.file;
    this.#epochNs = BigInt(Math.round(options.epochMs ?? 0)) * 1_000_000n;
    this.#maxBytes = options.maxBytes ?? Number.POSITIVE_INFINITY;
    this.#frames = services.counters.counter(`network.${adapter.name}.capture.frames`);
    this.#dropped = services.counters.counter(`network.${adapter.name}.capture.dropped`);
    try {
      this.#fd = fs.openSync(options.file, 'w');
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      throw new KenshoError('CAPTURE_FILE', `${options.file}: cannot be written (${code}); choose another`, {
        cause,
      });
    }
    this.#startNs = this.#now();
    this.#write(
      fileHeader({ name: adapter.name, description: 'Adapter of a Kensho partition', mac: adapter.mac }),
    );
  }

  add(frame: Frame, direction: Direction): void {
    const whole = frame.bytes.length >= ETHERNET_HEADER_BYTES;
    const bytes = whole ? tagged(frame) : frame.bytes;
    const block = packetBlock(this.#now(), direction, bytes, commentOn(frame.offload));
    const fits = this.#writtenBytes + this.#pendingBytes + block.length <= this.#maxBytes;
    if (this.#fd === undefined || !fits) {
      this.#dropped.value++;
      return;
    }
    this.#frames.value++;
    this.#write(block);
  }

  close(): void {
    if (this.#fd === undefined) return;
    this.#write(
      statisticsBlock({
        startNs: this.#startNs,
        endNs: this.#now(),
        received: this.#frames.value + this.#dropped.value,
        dropped: this.#dropped.value,
      }),
    );
    this.#flush();
    if (this.#fd !== undefined) fs.closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** One write to the file for each round of the partition's work. */
  #write(block: Uint8Array): void {
    if (this.#pending.length === 0) this.#services.work.defer(() => this.#flush());
    this.#pending.push(block);
    this.#pendingBytes += block.length;
    if (this.#pendingBytes >= BUFFER_BYTES) this.#flush();
  }

  #flush(): void {
    const bytes = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    if (this.#fd === undefined || bytes.length === 0) return;
    try {
      for (let at = 0; at < bytes.length; ) at += fs.writeSync(this.#fd, bytes, at);
      this.#writtenBytes += bytes.length;
    } catch (error) {
      this.#services.log.error(`${this.#path}: the capture ends here`, { error });
      fs.closeSync(this.#fd);
      this.#fd = undefined;
    }
  }

  #now(): bigint {
    return this.#epochNs + BigInt(Math.round(this.#services.timers.clock.nowNs()));
  }
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
