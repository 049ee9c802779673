import { DEVICES, type Device, DMA, definePlugin } from '@kensho/core';
import { Component } from '@kensho/integration-services';
import { type HostChannel, VMBUS, type VscDriver, vmbusPlugin } from '@kensho/vmbus';
import { expect, it } from 'vitest';
import { componentConformance, guestComponentConformance, runConformance } from '../src/index.ts';

const { interfaceId, instanceId, messageType } = Component.HEARTBEAT;

/** Begins well, but asks whenever it likes and waits for no answer. */
class Chatterbox implements Device {
  channel: HostChannel | undefined;

  async use(): Promise<void> {
    this.channel?.send(message(messageType, 1, new Uint8Array(40)));
  }

  stop(): void {
    this.channel = undefined;
  }
}

function message(type: number, id: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(28 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 1, true);
  view.setUint32(4, 20 + body.length, true);
  for (const [i, value] of [3, 0, type, 3, 0, body.length].entries()) view.setUint16(8 + 2 * i, value, true);
  bytes.set([id, 3], 24);
  bytes.set(body, 28);
  return bytes;
}

const OFFER = Uint8Array.from([1, 0, 1, 0, 0, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0]);

const plugin = definePlugin({
  id: 'chatterbox',
  needs: [VMBUS],
  register(context) {
    context.contribute(DEVICES, {
      id: 'chatterbox',
      description: 'a component with faults',
      path: 'enlightened',
      create(partition, { id }) {
        const device = new Chatterbox();
        const dma = partition.resolve(DMA).attach(id, 'passthrough');
        partition.resolve(VMBUS).offer(
          { interfaceId, instanceId, dma, name: id, pipe: true },
          {
            open(channel) {
              device.channel = channel;
              channel.send(message(0, 0, OFFER));
            },
            ready(channel) {
              while (channel.read() !== undefined);
            },
            close: () => {},
          },
        );
        return device;
      },
    });
  },
});

it('the suite finds the faults of a component, and no others', async () => {
  const suite = componentConformance({
    name: 'chatterbox',
    plugins: [vmbusPlugin, plugin],
    device: () => ({ kind: 'chatterbox', id: 'chatterbox' }),
    interfaceId,
    messageType,
    frameworks: ['3.0'],
    versions: ['3.0'],
    use: (partition) => (partition.device('chatterbox') as Chatterbox).use(),
    answer: () => 0,
  });
  const failures = await runConformance(suite);
  expect([...failures.keys()]).toEqual([
    'asks nothing of a guest that knows none of its versions, until it opens anew',
    'waits for the agreement as long as it takes',
    'has one request in the guest’s hands at a time',
    'leaves answers alone that are of another transaction, or come twice',
    'asks again only when a late answer has come, and tells who waited that it is late',
    'fails what is under way when the channel is closed, and begins anew when it is opened',
  ]);
});

/** Says yes to everything, and notices nothing. */
const yesMan: VscDriver = {
  id: 'yes-man',
  interfaceIds: [interfaceId],
  *attach(device) {
    const channel = yield* device.open({ ringSizeBytes: 16384 });
    for (;;) {
      for (let packet = channel.read(); packet !== undefined; packet = channel.read()) {
        const answer = packet.payload.slice();
        answer[25] = 5;
        channel.trySend(answer, 0, false);
        channel.flush();
      }
      yield* channel.readable.wait();
    }
  },
};

it('the suite finds the faults of a component’s end in the guest, and no others', async () => {
  const suite = guestComponentConformance({
    name: 'yes-man',
    vsc: () => yesMan,
    interfaceId,
    messageType,
    frameworks: ['3.0'],
    versions: ['3.0'],
    request: () => new Uint8Array(40),
  });
  const failures = await runConformance(suite);
  expect([...failures.keys()]).toEqual([
    'works with framework 3.0 and version 3.0',
    'agrees to nothing that it does not know',
    'refuses what is another component’s',
    'lets go of a device that is taken away, 500 times',
  ]);
});
