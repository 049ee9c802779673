import { describe, expect, it } from 'vitest';
import { nicDevices, parseForward, parseNic } from './nics.ts';

const placement = { integration: true, forwards: [], epochMs: 5 };

describe('--nic', () => {
  it.each([
    ['nat', { network: { kind: 'nat' } }],
    ['none', { network: { kind: 'none' } }],
    ['switch=lan', { network: { kind: 'switch', options: { name: 'lan' } } }],
    [
      'switch=lan,vlan=10,bus=tulip',
      {
        network: { kind: 'switch', options: { name: 'lan', vlan: { mode: 'access', id: 10 } } },
        bus: 'tulip',
      },
    ],
    ['tap:tap0', { network: { kind: 'tap', options: { interface: 'tap0' } } }],
    ['replay:a=b.pcapng', { network: { kind: 'replay', options: { file: 'a=b.pcapng' } } }],
    ['my-net', { network: { kind: 'my-net' } }],
    ['my-net:10.0.0.0/8,bus=tulip', { network: { kind: 'my-net', options: '10.0.0.0/8' }, bus: 'tulip' }],
    [
      'nat,mac=00-15-5D-01-02-03,capture=x.pcapng',
      { network: { kind: 'nat' }, mac: Uint8Array.of(0, 0x15, 0x5d, 1, 2, 3), capture: 'x.pcapng' },
    ],
    [
      'nat,loss=0.01,delay=5,rate=10M',
      { network: { kind: 'nat' }, line: { seed: 1, lossRate: 0.01, delayMs: 5, bitsPerSecond: 1e7 } },
    ],
  ])('%s', (text, expected) => {
    expect(parseNic(text)).toEqual(expected);
  });

  it.each([
    ['', /Give an adapter as/],
    ['switch', /switch=lan/],
    ['tap', /tap:tap0/],
    ['nat=x', /takes no 'x'/],
    ['nat,vlan=3', /one of a switch/],
    ['nat,queues=0', /1 to 64 queues/],
    ['nat,queues=2x', /1 to 64 queues/],
    ['switch=a,vlan=4095', /1 to 4094/],
    ['nat,mac=01:00:00:00:00:00', /must be even/],
    ['nat,mac=1', /no MAC address/],
    ['nat,bus=pci', /There is no 'bus=pci'/],
    ['nat,loss=much', /Give loss a number/],
    ['nat,reorder=1.5', /Give reorder a number from 0 to 1/],
    ['nat,rate=0', /above 0/],
    ['nat,loss=0.1,seed=1.5', /Give seed a whole number/],
    ['capture', /as in nat,capture=boot.pcapng/],
    ['impaired:1', /as in nat,capture=boot.pcapng/],
    ['nat,capture=', /There is no 'capture='/],
    ['nat,what', /There is no 'what'/],
  ])('refuses %s', (text, message) => {
    expect(() => parseNic(text)).toThrow(message);
  });

  it('makes devices on the bus that there is', () => {
    const kinds = (integration: boolean) =>
      nicDevices([parseNic('nat'), parseNic('none,bus=tulip')], { ...placement, integration }).map(
        ({ kind, id }) => `${id}: ${kind}`,
      );
    expect(kinds(true)).toEqual(['nic0: network', 'nic1: tulip']);
    expect(kinds(false)).toEqual(['nic0: tulip', 'nic1: tulip']);
    expect(() => nicDevices([parseNic('nat,bus=vmbus')], { ...placement, integration: false })).toThrow(
      /bus=tulip/,
    );
    expect(nicDevices([parseNic('none,queues=4')], placement)[0].options.maxSubChannels).toBe(3);
    expect(() => nicDevices([parseNic('none,queues=4,bus=tulip')], placement)).toThrow(/bus=vmbus/);
  });

  it.each([
    ['none,capture=a', 'none,capture=./a'],
    ['replay:a,capture=a', 'none'],
    ['none,capture=a', 'replay:a'],
  ])('keeps captures apart from what else is in use: %s and %s', (...nics) => {
    expect(() => nicDevices(nics.map(parseNic), placement)).toThrow(/a: has another use/);
  });

  it('puts the capture next to the adapter, and the line behind it', () => {
    const mac = Uint8Array.of(2, 0, 0, 0, 0, 1);
    const [device] = nicDevices([parseNic('none,capture=f,loss=1,mac=02:00:00:00:00:01')], placement);
    const line = { kind: 'impaired', options: { seed: 1, lossRate: 1, network: { kind: 'none' } } };
    expect(device.options).toEqual({
      mac,
      network: { kind: 'capture', options: { file: 'f', epochMs: 5, network: line } },
    });
  });
});

describe('--forward', () => {
  it.each([
    ['2222:22', { protocol: 'tcp', hostPort: 2222, guestPort: 22 }],
    ['udp:53:5353', { protocol: 'udp', hostPort: 53, guestPort: 5353 }],
    ['tcp:0.0.0.0:80:8080', { protocol: 'tcp', address: '0.0.0.0', hostPort: 80, guestPort: 8080 }],
    ['[::1]:80:8080', { protocol: 'tcp', address: '::1', hostPort: 80, guestPort: 8080 }],
  ])('%s', (text, expected) => {
    expect(parseForward(text)).toEqual(expected);
  });

  it.each(['22', '0:22', '70000:1', 'sctp:1:2', 'a:b', '1:2:3:4'])('refuses %s', (text) => {
    expect(() => parseForward(text)).toThrow(/as in 2222:22/);
  });

  it('leads through the first NAT', () => {
    const forwards = [parseForward('2222:22')];
    const specs = nicDevices([parseNic('none'), parseNic('nat'), parseNic('nat')], {
      ...placement,
      forwards,
    });
    expect(specs.map(({ options }) => (options as { network: unknown }).network)).toEqual([
      { kind: 'none' },
      { kind: 'nat', options: { forwards } },
      { kind: 'nat' },
    ]);
    expect(() => nicDevices([parseNic('none')], { ...placement, forwards })).toThrow(/--nic nat/);
  });
});
