import { definePlugin, type Plugin } from '@kensho/core';
import { type Frame, NETWORKS, type NetworkConnector, openNetwork } from '@kensho/devices-net';
import { describe, expect, it } from 'vitest';
import { STATIONS, SWITCH } from './adapters.ts';
import { takeKitNetSample } from './kit-sample.ts';
import { NET_WORKLOADS, type NetWorkload } from './options.ts';
import type { NetSample } from './results.ts';

/** A switch behind something that does to each frame what is given. */
function through(change: (frame: Frame, send: (frame: Frame) => void) => void): Plugin {
  return definePlugin({
    id: 'test/through',
    register: (context) =>
      context.contribute(NETWORKS, {
        id: 'through',
        description: 'a switch behind something',
        async open(partition): Promise<NetworkConnector> {
          const socket = await openNetwork(partition, SWITCH);
          return {
            connect(adapter) {
              const port = socket.connect(adapter);
              return {
                linkUp: true,
                send: (frame) => change(frame, (changed) => port.send(changed)),
                receiveReady: () => port.receiveReady(),
                close: () => port.close(),
              };
            },
          };
        },
      }),
  });
}

function sampleOf(workload: NetWorkload, plugin?: Plugin): Promise<NetSample> {
  return takeKitNetSample(
    { path: 'enlightened', run: 0, order: 0, seconds: 0.02, seed: 1 },
    { workload },
    plugin && { network: { kind: 'through' }, plugins: [plugin] },
  );
}

/** Past the greeting. */
const FRAMES_BEFORE = 200;

describe('a sample of two kit guests', () => {
  it.each(NET_WORKLOADS)('ends well on a switch: %s', async (workload) => {
    const { operations, counters, guestCounters, latencyNs, verification } = await sampleOf(workload);
    expect(operations).toBeGreaterThan(0);
    expect(verification.checkedBytes).toBeGreaterThan(operations);
    expect(guestCounters.sender['interrupt.delivered'] + guestCounters.receiver['interrupt.delivered']).toBe(
      counters['interrupt.delivered'],
    );
    if (workload === 'tcp-rr') {
      expect(latencyNs?.p50).toBeGreaterThan(0);
      // A request and its answer: two frames, and an interrupt for each at either end, beside those of completions.
      expect(counters['device.nic0.frames.out']).toBe(2 * operations);
      expect(counters['interrupt.delivered'] / operations).toBeLessThanOrEqual(4);
    } else {
      expect(latencyNs).toBeUndefined();
      expect(counters['interrupt.delivered'] / operations).toBeLessThan(0.2);
    }
    if (workload === 'tcp-stream') expect(counters['device.nic0.large.out']).toBeGreaterThan(0);
  });

  it('fails where a byte arrives that was not sent', async () => {
    let frames = 0;
    const damaging = through((frame, send) => {
      const bytes = frame.bytes.slice();
      if (++frames === FRAMES_BEFORE) bytes[bytes.length - 1] ^= 1;
      send({ ...frame, bytes });
    });
    await expect(sampleOf('udp-stream', damaging)).rejects.toThrow(/did not arrive as it was sent/);
  });

  it('fails where a packet is lost, or comes twice', async () => {
    for (const times of [0, 2]) {
      let frames = 0;
      const careless = through((frame, send) => {
        const count = ++frames === FRAMES_BEFORE ? times : 1;
        for (let i = 0; i < count; i++) send(frame);
      });
      await expect(sampleOf('udp-small', careless)).rejects.toThrow(/arrived where \d+ was due/);
    }
  });

  it('fails where an answer is another', async () => {
    let answers = 0;
    const damaging = through((frame, send) => {
      const bytes = frame.bytes.slice();
      const isAnswer = bytes[11] === STATIONS.receiver.mac[5];
      if (isAnswer && ++answers === FRAMES_BEFORE) bytes[bytes.length - 1] ^= 1;
      send({ ...frame, bytes });
    });
    await expect(sampleOf('tcp-rr', damaging)).rejects.toThrow(/another answer than the request/);
  });
});
