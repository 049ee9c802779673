import { chipsetPlugin } from '@kensho/chipset';
import { Counters, type GuestTask, silentLogger, TimerQueue, VirtualClock, WorkQueue } from '@kensho/core';
import {
  GUEST_NETWORK_INTERFACES,
  type GuestNetworkInterface,
  NetworkVsc,
  netPlugin,
  TulipDriver,
} from '@kensho/devices-net';
import { guestFailure, networkPortConformance, registerConformance, runGuest } from '@kensho/testkit';
import { vmbusPlugin } from '@kensho/vmbus';
import { describe, expect, it } from 'vitest';
import { answerTo, connectEcho, echoNetworkPlugin, parseSubnet, stationMac } from '../src/index.ts';
import { arpRequest, checksumOf, GUEST, GUEST_MAC, ipv4, ping } from './test-utils/packets.ts';

const SUBNET = parseSubnet('192.0.2.0/24');
const STATION = ipv4('192.0.2.77');

describe('a subnet', () => {
  it.each([
    ['192.0.2.0/24', '192.0.2.0', '192.0.2.255'],
    ['192.0.2.77/30', '192.0.2.76', '192.0.2.79'],
    ['10.1.2.3/8', '10.0.0.0', '10.255.255.255'],
    ['200.0.0.1/1', '128.0.0.0', '255.255.255.255'],
  ])('%s', (text, network, broadcast) => {
    expect(parseSubnet(text)).toEqual({ network: ipv4(network), broadcast: ipv4(broadcast) });
  });

  it.each([undefined, '', '192.0.2.0', '192.0.2.0/31', '192.0.2.0/0', '192.0.2.256/24', 'nowhere/24'])(
    'is not %s',
    (text) => {
      expect(() => parseSubnet(text)).toThrow(expect.objectContaining({ code: 'BAD_SUBNET' }));
    },
  );
});

describe('a station', () => {
  it('says where it is', () => {
    const bytes = answerTo({ bytes: arpRequest(STATION), vlanTag: 7 }, SUBNET);
    expect(bytes?.vlanTag).toBe(7);
    expect(Buffer.from(bytes?.bytes ?? []).toString('hex')).toBe(
      // To the guest, from 02:00 and the address; a reply, about the station, for the guest.
      '00155d000001' +
        '0200c000024d' +
        '0806000108000604' +
        '0002' +
        '0200c000024dc000024d00155d000001c0000201',
    );
  });

  it.each([
    ['the address of somebody else', arpRequest(ipv4('192.0.3.77'))],
    ['the subnet itself', arpRequest(ipv4('192.0.2.0'))],
    ['all stations', arpRequest(ipv4('192.0.2.255'))],
    ['an address that the guest probes for', arpRequest(STATION, 0)],
    ['an address that the guest announces', arpRequest(STATION, STATION)],
    ['a request that is cut off', arpRequest(STATION).subarray(0, 41)],
  ])('says nothing about %s', (_, bytes) => {
    expect(answerTo({ bytes }, SUBNET)).toBeUndefined();
  });

  it.each([0, 1, 56, 1472])('answers a ping of %i bytes', (sizeBytes) => {
    const data = Uint8Array.from({ length: sizeBytes }, (_, i) => 7 * i);
    const request = ping(STATION, data);
    const sent = request.slice();
    const bytes = answerTo({ bytes: request }, SUBNET)?.bytes as Uint8Array;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    expect(request).toEqual(sent);
    expect(bytes.subarray(0, 12)).toEqual(Uint8Array.of(...GUEST_MAC, ...stationMac(STATION)));
    expect([view.getUint32(26), view.getUint32(30)]).toEqual([STATION, GUEST]);
    expect([view.getUint16(34), bytes.subarray(38)]).toEqual([0, request.subarray(38)]);
    expect([checksumOf(bytes.subarray(14, 34)), checksumOf(bytes.subarray(34))]).toEqual([0, 0]);
  });

  it.each<[string, (bytes: Uint8Array) => void]>([
    ['for another station', (bytes) => bytes.fill(1, 5, 6)],
    ['that is a fragment', (bytes) => bytes.fill(1, 21, 22)],
    ['that is none but something else of ICMP', (bytes) => bytes.fill(13, 34, 35)],
    ['of another protocol', (bytes) => bytes.fill(17, 23, 24)],
    ['whose header is too short', (bytes) => bytes.fill(0x44, 14, 15)],
    ['whose header leaves no room', (bytes) => bytes.fill(0x4f, 14, 15)],
    ['that is longer than its frame', (bytes) => bytes.fill(1, 16, 17)],
  ])('leaves a ping alone %s', (_, damage) => {
    const bytes = ping(STATION, new Uint8Array(4));
    damage(bytes);
    expect(answerTo({ bytes }, SUBNET)).toBeUndefined();
  });

  it('sends a damaged ping back as damaged', () => {
    const request = ping(STATION, new Uint8Array(4));
    request[40] ^= 0x10;
    const bytes = answerTo({ bytes: request }, SUBNET)?.bytes as Uint8Array;
    expect(checksumOf(bytes.subarray(34))).not.toBe(0);
  });
});

registerConformance(
  { describe, it },
  networkPortConformance({
    name: 'echo',
    create() {
      const clock = new VirtualClock();
      const services = {
        work: new WorkQueue(clock),
        timers: new TimerQueue(clock),
        counters: new Counters(),
        log: silentLogger,
      };
      return {
        services,
        connector: connectEcho(parseSubnet('10.0.0.0/8'), services),
        provoke(count, port) {
          for (let i = 1; i <= count; i++) port.send({ bytes: arpRequest(ipv4('10.1.0.0') + i) });
        },
      };
    },
  }),
);

/** What a guest's `ping` does. */
function* pingFrom(device: GuestNetworkInterface): GuestTask {
  const answer = function* (bytes: Uint8Array): GuestTask<Uint8Array> {
    yield* device.send({ bytes });
    return (yield* device.receive()).bytes;
  };
  for (let i = 0; i < 50; i++) {
    const address = STATION + i;
    const mac = (yield* answer(arpRequest(address))).subarray(22, 28);
    const data = Uint8Array.from({ length: 20 * i }, (_, at) => i + at);
    const request = ping(address, data, mac);
    const reply = yield* answer(request);
    const same = Buffer.compare(reply.subarray(42, request.length), data) === 0;
    if (!same || checksumOf(reply.subarray(34, request.length)) !== 0)
      throw new Error(`ping ${i} came back changed`);
  }
}

describe('a guest gets answers', () => {
  it.each([
    ['over VMBus', 'network', 'enlightened'],
    ['over the emulated adapter', 'tulip', 'emulated'],
  ])('%s', async (_, kind, path) => {
    const run = await runGuest({
      enlightened: path === 'enlightened',
      plugins: [vmbusPlugin, chipsetPlugin, netPlugin, echoNetworkPlugin],
      devices: [
        {
          kind,
          id: 'nic',
          options: { mac: GUEST_MAC, network: { kind: 'echo', options: '192.0.2.0/24' } },
        },
      ],
      drivers: { vscs: [new NetworkVsc()], pci: [new TulipDriver()] },
      *main(kernel) {
        const [device] = yield* kernel.waitForDevices(GUEST_NETWORK_INTERFACES, 1);
        kernel.print(device.path);
        yield* pingFrom(device);
      },
    });
    expect(guestFailure(run)).toBeUndefined();
    expect(run.console).toEqual([path]);
    expect(run.counters['network.nic.echo.answered']).toBe(100);
  });
});
