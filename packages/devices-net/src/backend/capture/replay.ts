import fs from 'node:fs';
import { KenshoError, type Timer } from '@kensho/core';
import { ETHERNET_HEADER_BYTES, untagged } from '../../frame/ethernet.ts';
import { DeliveryQueue } from '../delivery-queue.ts';
import { type NetworkKind, type NetworkServices, networkServices } from '../network.ts';
import type { NetworkConnector } from '../port.ts';
import { type CapturedFrame, Direction, readCapture } from './pcapng.ts';

export interface ReplayOptions {
  /** How many times as fast as it was captured. @default 1 */
  readonly speed?: number;
  /** Which frames the adapter gets: those that came in where they were captured, or all. @default 'inbound' */
  readonly frames?: 'inbound' | 'all';
}

/** Options of network kind `replay`. */
export interface ReplayNetworkOptions extends ReplayOptions {
  /** A pcapng file. */
  readonly file: string;
}

/** Network kind `replay`; takes {@link ReplayNetworkOptions}. */
export const replayKind: NetworkKind = {
  id: 'replay',
  description: 'The frames of a pcapng file, at their times',
  open(partition, options) {
    const { file, ...replayOptions } = options as ReplayNetworkOptions;
    let bytes: Uint8Array;
    try {
      bytes = fs.readFileSync(file);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      throw new KenshoError('CAPTURE_FILE', `${file}: cannot be read (${code}); check the path`, { cause });
    }
    return replay(framesOf(file, bytes), replayOptions, networkServices(partition));
  },
};

/** The frames of a capture; what is wrong with it is told with its name. */
function framesOf(file: string, bytes: Uint8Array): CapturedFrame[] {
  try {
    return readCapture(bytes);
  } catch (cause) {
    if (!(cause instanceof KenshoError)) throw cause;
    throw new KenshoError(cause.code, `${file}: ${cause.message}`, { cause });
  }
}

/**
 * A network on which frames come as they did once, from the moment an adapter is plugged in. What it sends goes
 * nowhere. Frames of which the capture says nothing about the direction count as inbound. Counts
 * `network.<adapter>.dropped`.
 */
export function replay(
  captured: readonly CapturedFrame[],
  options: ReplayOptions,
  { timers, work, counters }: NetworkServices,
): NetworkConnector {
  const { speed = 1, frames: which = 'inbound' } = options;
  if (!(speed > 0)) throw new KenshoError('BAD_REPLAY', `a speed of ${speed}: give a number above 0`);
  const frames = captured.filter(
    ({ direction, bytes }) =>
      bytes.length >= ETHERNET_HEADER_BYTES && (which === 'all' || direction !== Direction.OUTBOUND),
  );
  let taken = false;
  return {
    connect(adapter) {
      if (taken) throw new Error(`${adapter.name}: the socket is taken`);
      taken = true;
      const queue = new DeliveryQueue(adapter, work, {
        dropped: counters.counter(`network.${adapter.name}.dropped`),
      });
      const startNs = timers.clock.nowNs();
      let next = 0;
      let timer: Timer | undefined;
      const arm = () => {
        if (next === frames.length) return;
        timer = timers.at(startNs + frames[next].timeNs / speed, () => {
          queue.push(untagged(Uint8Array.from(frames[next++].bytes)));
          arm();
        });
      };
      arm();
      return {
        linkUp: true,
        send: () => {},
        receiveReady: () => queue.ready(),
        close() {
          timer?.cancel();
          queue.close();
        },
      };
    },
  };
}
