import type { HostedPartition } from '@kensho/core';
import { askFor, Component, type ComponentDefinition, IcStatus, KvpPool } from '@kensho/integration-services';
import { describe, it } from 'vitest';
import {
  type ComponentSubject,
  componentConformance,
  type GuestComponentSubject,
  guestComponentConformance,
  receive,
  registerConformance,
  vspConformance,
} from '../src/index.ts';
import { InstalledServices, integrationPlugins as plugins, service } from './test-utils/integration.ts';

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

/** How the host asks a guest for something that it can do, and what it answers. */
const REQUESTS: Readonly<Record<keyof typeof Component, Pick<GuestComponentSubject, 'request' | 'check'>>> = {
  HEARTBEAT: {
    request: () => Uint8Array.from({ length: 40 }, (_, i) => (i < 8 ? 0xff : 0)),
    check(answer) {
      if (answer.subarray(0, 8).some((byte) => byte !== 0)) throw new Error('no beat');
    },
  },
  SHUTDOWN: { request: () => new Uint8Array(2060) },
  TIME_SYNC: { request: () => new Uint8Array(25) },
  KVP: {
    // Enumerates the guest's pool: its first item.
    request: () => Uint8Array.from({ length: 2580 }, (_, i) => [3, KvpPool.GUEST][i] ?? 0),
    check(answer) {
      if (Buffer.from(answer.subarray(20, 30)).toString('utf16le') !== 'there')
        throw new Error('another key');
    },
  },
  VSS: { request: () => Uint8Array.from([2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) },
  FILE_COPY: {
    request() {
      const start = new Uint8Array(1088);
      start.set(Buffer.from('file', 'utf16le'), 36);
      start.set(Buffer.from('/tmp/', 'utf16le'), 556);
      start[1076] = 1;
      return start;
    },
  },
};

for (const [name, definition] of Object.entries(Component) as [
  keyof typeof Component,
  ComponentDefinition,
][]) {
  const { id, interfaceId, messageType } = definition;
  registerConformance(
    { describe, it },
    guestComponentConformance({
      name: id,
      vsc() {
        const guest = new InstalledServices();
        guest.pools.set(KvpPool.GUEST, 'there', { type: 'string', value: 'here' });
        const vsc = guest.vscs().find((one) => one.interfaceIds.includes(interfaceId));
        if (vsc === undefined) throw new Error(`nothing serves ${id}`);
        return vsc;
      },
      interfaceId,
      messageType,
      frameworks: names(definition.frameworks),
      versions: names(definition.versions),
      ...REQUESTS[name],
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
