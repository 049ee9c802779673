import { Counters, silentLogger, TimerQueue, VirtualClock, WorkQueue } from '@kensho/core';
import {
  capture,
  createCable,
  type HostNetwork,
  impair,
  Nat,
  type NetworkConnector,
  type NetworkPort,
  replay,
  unplugged,
  VirtualSwitch,
} from '@kensho/devices-net';
import { describe, expect, it } from 'vitest';
import {
  type NetworkPortSubject,
  type NetworkUnderTest,
  networkPortConformance,
  registerConformance,
  runConformance,
} from '../src/index.ts';

const OTHER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 2);
const other = { name: 'other', mac: OTHER_MAC, receive: () => true, linkChanged: () => {} };

function services() {
  const clock = new VirtualClock();
  return {
    work: new WorkQueue(clock),
    timers: new TimerQueue(clock),
    counters: new Counters(),
    log: silentLogger,
  };
}

/** Frames from the other adapter, no two the same. */
function sender(from: NetworkPort, to: Uint8Array): (count: number) => void {
  let serial = 0;
  return (count) => {
    for (let i = 0; i < count; i++) {
      const number = [serial >> 8, serial++ & 0xff];
      from.send({ bytes: Uint8Array.from([...to, ...OTHER_MAC, 0x88, 0xb5, ...number]) });
    }
  };
}

function cable(
  mac: Uint8Array,
  around: (inner: NetworkConnector, s: ReturnType<typeof services>) => NetworkConnector,
) {
  const partition = services();
  const [near, far] = createCable(partition, partition);
  return {
    services: partition,
    connector: around(near, partition),
    provoke: sender(far.connect(other), mac),
  };
}

const noHost: HostNetwork = {
  connect: () => expect.unreachable(),
  connectDatagrams: () => expect.unreachable(),
  listen: () => expect.unreachable(),
  bindDatagrams: () => expect.unreachable(),
  resolvers: () => [],
};

const subjects: readonly NetworkPortSubject[] = [
  { name: 'cable', create: (mac) => cable(mac, (inner) => inner) },
  { name: 'capture', create: (mac) => cable(mac, (inner, s) => capture(inner, { file: '/dev/null' }, s)) },
  {
    name: 'impaired line',
    create: (mac) => cable(mac, (inner, s) => impair(inner, { seed: 1, delayMs: 3, jitterMs: 2 }, s)),
  },
  {
    name: 'switch',
    create(mac) {
      const partition = services();
      const lan = new VirtualSwitch({ name: 'lan' });
      const port = lan.connector(partition).connect(other);
      return { services: partition, connector: lan.connector(partition), provoke: sender(port, mac) };
    },
  },
  {
    name: 'NAT',
    async create(mac) {
      const partition = services();
      const connector = await Nat.open({}, { ...partition, host: noHost, random: () => 1 });
      // Requests for the gateway's address, from addresses that differ, so that the answers do.
      const provoke = (count: number, port: NetworkPort) => {
        for (let i = 0; i < count; i++) {
          const sender = [...mac, 10, 0, 2, 15 + (i % 200)];
          const head = [255, 255, 255, 255, 255, 255, ...mac, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
          port.send({ bytes: Uint8Array.from([...head, ...sender, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2]) });
        }
      };
      return { services: partition, connector, provoke };
    },
  },
  {
    name: 'replay',
    create(mac) {
      const partition = services();
      const frames = Array.from({ length: 30 }, (_, i) => ({
        timeNs: i * 1e6,
        direction: 1 as const,
        bytes: Uint8Array.from([...mac, ...OTHER_MAC, 0x88, 0xb5, i]),
      }));
      return { services: partition, connector: replay(frames, {}, partition) };
    },
  },
];
for (const subject of subjects) registerConformance({ describe, it }, networkPortConformance(subject));

it('a socket without a cable takes whatever is sent', async () => {
  const subject = { name: 'none', create: () => ({ services: services(), connector: unplugged }) };
  const failures = await runConformance(networkPortConformance(subject));
  expect([...failures.keys()]).toEqual(['takes one adapter']);
});

/** A switch whose port has some of its methods replaced. */
function broken(
  change: (port: NetworkPort, network: NetworkUnderTest) => Partial<NetworkPort>,
): NetworkPortSubject {
  return {
    name: 'broken',
    async create(mac) {
      const network = await subjects[0].create(mac);
      let port: NetworkPort | undefined;
      return {
        ...network,
        connector: {
          connect(adapter) {
            if (port !== undefined) throw new Error('taken');
            const sound = network.connector.connect(adapter);
            port = {
              linkUp: true,
              send: (frame) => sound.send(frame),
              receiveReady: () => sound.receiveReady(),
              close: () => sound.close(),
              ...change(sound, network),
            };
            return port;
          },
        },
      };
    },
  };
}

describe('the suite finds', () => {
  it.each<[string, NetworkPortSubject, string]>([
    [
      'a port that changes frames',
      broken((port) => ({
        send(frame) {
          frame.bytes.fill(0);
          port.send(frame);
        },
      })),
      'leaves the frames that it was given as they were',
    ],
    [
      'a port that throws for short frames',
      broken(() => ({
        send(frame) {
          if (frame.bytes.length < 14) throw new Error('short');
        },
      })),
      'stands whatever a guest sends',
    ],
    [
      'a port that forgets who waits',
      broken(() => ({ receiveReady: () => {} })),
      'keeps frames, and their order, while the adapter has no room',
    ],
    ['a port that does not close', broken(() => ({ close: () => {} })), 'brings nothing after its end'],
  ])('%s', async (_, subject, name) => {
    expect([...(await runConformance(networkPortConformance(subject))).keys()]).toContain(name);
  });
});
