import type { HostedPartition } from '@kensho/core';
import { askFor, Component, type ComponentDefinition, IcStatus, KvpPool } from '@kensho/integration-services';
import { describe, it } from 'vitest';
import {
  type ComponentSubject,
  componentConformance,
  receive,
  registerConformance,
  vspConformance,
} from '../src/index.ts';
import { integrationPlugins as plugins, service } from './test-utils/integration.ts';

const HOUR_MS = 3_600_000;

interface Use extends Pick<ComponentSubject, 'use' | 'answer'> {
  readonly options?: unknown;
}

/** How the host uses a component, and how a guest answers. */
const USES: Readonly<Record<keyof typeof Component, Use>> = {
  HEARTBEAT: {
    options: { periodMs: HOUR_MS },
    // It asks of its own; in between, another beat.
    use: (partition) =>
      service(partition, 'heartbeat').component.run(function* () {
        const body = yield* askFor(
          'a beat',
          Uint8Array.from({ length: 40 }, () => 0),
          2000,
        );
        if (body[0] !== 1) throw new Error('no beat');
      }),
    answer(body) {
      new DataView(body.buffer, body.byteOffset).setUint32(0, body[0] + 256 * body[1] + 1, true);
      return 0;
    },
  },
  SHUTDOWN: {
    use: (partition) => service(partition, 'shutdown').request({ action: 'power-off' }),
    answer: () => 0,
  },
  TIME_SYNC: {
    options: { samplePeriodMs: HOUR_MS },
    use: (partition) => service(partition, 'timeSync').sync(),
    answer: () => 0,
  },
  KVP: {
    use: (partition) => service(partition, 'kvp').enumerate(KvpPool.GUEST),
    // Also to the host's items, which it sets.
    answer: (body) => (body[0] === 1 ? 0 : IcStatus.S_CONT),
  },
  VSS: { use: (partition) => service(partition, 'vss').backup(async () => {}), answer: () => 0 },
  FILE_COPY: {
    use: (partition: HostedPartition) =>
      service(partition, 'fileCopy').copy(
        { sizeBytes: 10_000, read: (_, target) => void target.fill(7) },
        { folder: '/tmp', name: 'file' },
      ),
    answer: () => 0,
  },
};

const names = (versions: ComponentDefinition['versions']) =>
  versions.map(({ major, minor }) => `${major}.${minor}`);

for (const [name, definition] of Object.entries(Component) as [
  keyof typeof Component,
  ComponentDefinition,
][]) {
  const { id, interfaceId, messageType } = definition;
  const { options, ...use } = USES[name];
  registerConformance(
    { describe, it },
    componentConformance({
      name: id,
      plugins,
      device: () => ({ kind: id, id, options }),
      interfaceId,
      messageType,
      frameworks: names(definition.frameworks),
      versions: names(definition.versions),
      ...use,
    }),
  );
}

/** An answer to a request of the host's, as an answer looks. */
const ANSWER = Uint8Array.from([
  1, 0, 0, 0, 60, 0, 0, 0, 3, 0, 0, 0, 1, 0, 3, 0, 0, 0, 40, 0, 0, 0, 0, 0, 1, 5, 0, 0,
]);
const REQUEST = new Uint8Array(68);
REQUEST.set(ANSWER);

registerConformance(
  { describe, it },
  vspConformance({
    name: 'heartbeat',
    plugins,
    device: () => ({ kind: 'heartbeat', id: 'heartbeat' }),
    interfaceId: Component.HEARTBEAT.interfaceId,
    requests: [REQUEST, ANSWER],
    *handshake(channel) {
      const offer = (yield* receive(channel)).payload.slice();
      offer[25] = 5;
      offer.set([1, 0, 1, 0, 0, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0], 28);
      channel.trySend(offer, 0, false);
      channel.flush();
    },
    *probe(channel, kernel) {
      channel.trySend(REQUEST, 4711, true);
      channel.flush();
      for (;;) {
        const packet = yield* receive(channel);
        if (packet.transactionIdLo === 4711) return;
        yield* kernel.sleep(1000);
      }
    },
  }),
);
