import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createCable } from '../backend/cable.ts';
import type { Frame } from '../backend/port.ts';
import { TestAdapter, TestPartition, testFrame } from '../test-utils/network.ts';
import type { SwitchPortOptions } from './switch-port.ts';
import { VirtualSwitch, type VirtualSwitchOptions } from './virtual-switch.ts';

const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const macOf = (n: number) => `00:15:5d:00:00:0${n}`;

function lan(ports: readonly SwitchPortOptions[], options: Partial<VirtualSwitchOptions> = {}) {
  const partition = new TestPartition();
  const network = new VirtualSwitch({ name: 'lan', ...options });
  const ends = ports.map((one, n) => {
    const adapter = new TestAdapter(`nic${n}`, macOf(n));
    return { adapter, port: network.connector(partition, one).connect(adapter) };
  });
  return {
    network,
    partition,
    ends,
    send(from: number, to: string, frame: Partial<Frame> = {}) {
      ends[from].port.send({ bytes: testFrame(to, macOf(from)), ...frame });
    },
    /** How many frames each adapter got since the last call. */
    got() {
      partition.settle();
      return ends.map(({ adapter }) => adapter.take().length);
    },
    count: (name: string) => partition.counters.counter(`switch.lan.${name}`).value,
  };
}

describe('virtual switch', () => {
  it('floods until it has seen an address, then forwards to its port alone', () => {
    const { send, got } = lan([{}, {}, {}]);
    send(0, macOf(1));
    expect(got()).toEqual([0, 1, 1]);
    send(1, macOf(0));
    expect(got()).toEqual([1, 0, 0]);
    send(0, macOf(1));
    expect(got()).toEqual([0, 1, 0]);
    send(0, BROADCAST);
    expect(got()).toEqual([0, 1, 1]);
  });

  it('forgets an address after its age by the clock of the port', () => {
    const { send, got, partition } = lan([{}, {}, {}], { ageingMs: 1000 });
    send(1, BROADCAST);
    got();
    partition.advance(1000);
    send(0, macOf(1));
    expect(got()).toEqual([0, 1, 0]);
    partition.advance(1);
    send(0, macOf(1));
    expect(got()).toEqual([0, 1, 1]);
  });

  it('forgets the addresses of a port that was closed, and gives its place away', () => {
    const { send, got, ends, network, partition } = lan([{}, {}, {}]);
    send(1, BROADCAST);
    got();
    ends[1].port.close();
    send(0, macOf(1));
    expect(got()).toEqual([0, 0, 1]);
    const late = new TestAdapter('late', macOf(7));
    network.connector(partition).connect(late);
    send(0, BROADCAST);
    expect(got()).toEqual([0, 0, 1]);
    expect(late.take()).toHaveLength(1);
  });

  it('never delivers within the call that sends', () => {
    const { send, ends, got } = lan([{}, {}]);
    send(0, BROADCAST);
    expect(ends[1].adapter.received).toHaveLength(0);
    expect(got()).toEqual([0, 1]);
  });

  it('drops frames with another source address, unless the port allows them', () => {
    const { ends, got, count } = lan([{}, {}, { allowMacSpoofing: true }]);
    for (const { port } of ends) port.send({ bytes: testFrame(BROADCAST, macOf(9)) });
    ends[2].port.send({ bytes: testFrame(BROADCAST, '01:00:00:00:00:01') });
    expect(got()).toEqual([1, 1, 0]);
    expect(['nic0', 'nic1', 'nic2'].map((nic) => count(`${nic}.in.dropped.spoofed`))).toEqual([1, 1, 1]);
  });

  it('drops frames that are too short or too long, and takes long ones that are to be segmented', () => {
    const { ends, got, count } = lan([{}, {}], { mtu: 1500 });
    const frame = (length: number) => {
      const bytes = new Uint8Array(length);
      bytes.set(testFrame(BROADCAST, macOf(0)).subarray(0, Math.min(length, 14)));
      return bytes;
    };
    for (const length of [0, 13, 1515]) ends[0].port.send({ bytes: frame(length) });
    ends[0].port.send({ bytes: frame(60_000), offload: { segmentPayloadBytes: 1460 } });
    ends[0].port.send({ bytes: frame(1514) });
    expect(got()).toEqual([0, 2]);
    expect(count('nic0.in.dropped.length')).toBe(3);
  });

  it('keeps VLANs apart, and tags frames on trunks only', () => {
    const trunk: SwitchPortOptions = { vlan: { mode: 'trunk', nativeId: 1, allowedIds: [10, 20] } };
    const access = (id: number): SwitchPortOptions => ({ vlan: { mode: 'access', id } });
    const { send, ends, partition, count, got } = lan([access(10), access(10), access(20), trunk, access(1)]);
    send(0, BROADCAST);
    partition.settle();
    expect(ends.map(({ adapter }) => adapter.take().map((frame) => frame.vlanTag))).toEqual([
      [],
      [undefined],
      [],
      [10],
      [],
    ]);
    send(3, BROADCAST, { vlanTag: 0x6014 });
    expect(got()).toEqual([0, 0, 1, 0, 0]);
    send(3, BROADCAST);
    partition.settle();
    expect(ends[4].adapter.take().map((frame) => frame.vlanTag)).toEqual([undefined]);
    send(3, BROADCAST, { vlanTag: 30 });
    send(0, BROADCAST, { vlanTag: 20 });
    expect(got()).toEqual([0, 0, 0, 0, 0]);
    expect(count('nic3.in.dropped.vlan') + count('nic0.in.dropped.vlan')).toBe(2);
  });

  it('treats a tag inside the bytes as one beside them', () => {
    const { ends, partition } = lan([
      { vlan: { mode: 'trunk', nativeId: 0, allowedIds: [10] } },
      { vlan: { mode: 'access', id: 10 } },
    ]);
    const plain = testFrame(BROADCAST, macOf(0));
    const bytes = Uint8Array.from([...plain.subarray(0, 12), 0x81, 0, 0xe0, 10, ...plain.subarray(12)]);
    const offload = { checksum: { startOffset: 38, fieldOffset: 44 } };
    ends[0].port.send({ bytes, offload });
    partition.settle();
    expect(ends[1].adapter.take()).toEqual([
      { bytes: plain, offload: { checksum: { startOffset: 34, fieldOffset: 40 } } },
    ]);
  });

  it('refuses identifiers that are no VLAN', () => {
    for (const id of [4095, -1, 1.5]) {
      expect(() => lan([{ vlan: { mode: 'access', id } }])).toThrow(/VLAN/);
    }
  });

  it('mirrors what goes in and out of a source to the destinations, once', () => {
    const { send, got } = lan([{}, { mirroring: 'source' }, { mirroring: 'destination' }, {}]);
    for (const n of [0, 1, 2, 3]) send(n, BROADCAST);
    got();
    send(0, macOf(1));
    expect(got()).toEqual([0, 1, 1, 0]);
    send(1, macOf(0));
    expect(got()).toEqual([1, 0, 1, 0]);
    send(0, macOf(3));
    expect(got()).toEqual([0, 0, 0, 1]);
    send(1, macOf(2));
    expect(got()).toEqual([0, 0, 1, 0]);
    send(1, BROADCAST);
    expect(got()).toEqual([1, 0, 1, 1]);
  });

  it('keeps addresses of bridges to itself', () => {
    const { send, got } = lan([{}, {}]);
    send(0, '01:80:c2:00:00:00');
    expect(got()).toEqual([0, 0]);
    send(0, '01:80:c2:00:00:10');
    expect(got()).toEqual([0, 1]);
  });

  it('queues for an adapter that has no room, up to a bound, and goes on when it has', () => {
    const { send, ends, got, count, partition } = lan([{}, { maxFrames: 8 }]);
    ends[1].adapter.room = 2;
    for (let i = 0; i < 12; i++) send(0, BROADCAST);
    expect(got()).toEqual([0, 2]);
    expect(count('nic1.out.dropped.full')).toBe(4);
    for (let i = 0; i < 3; i++) send(0, BROADCAST);
    expect(got()).toEqual([0, 0]);
    expect(count('nic1.out.dropped.full')).toBe(5);
    ends[1].adapter.room = Number.POSITIVE_INFINITY;
    ends[1].port.receiveReady();
    expect(ends[1].adapter.take()).toHaveLength(8);
    partition.settle();
    send(0, BROADCAST);
    expect(got()).toEqual([0, 1]);
  });

  it('connects to another network by an uplink', () => {
    const { network, partition, send, got, ends } = lan([{}, {}], { kind: 'external' });
    const far = new TestPartition();
    const [inside, outside] = createCable(partition, far);
    const host = new TestAdapter('host', macOf(8));
    const port = outside.connect(host);
    const uplink = network.connectUplink(inside, partition, { mac: new TestAdapter('', macOf(7)).mac });
    send(0, BROADCAST);
    expect(got()).toEqual([0, 1]);
    far.settle();
    expect(host.take()).toHaveLength(1);
    port.send({ bytes: testFrame(macOf(0), macOf(8)) });
    expect(got()).toEqual([1, 0]);
    uplink.close();
    send(0, macOf(8));
    expect(got()).toEqual([0, 1]);
    expect(ends[0].adapter.links).toEqual([]);
    expect(port.linkUp).toBe(false);
    expect(() => new VirtualSwitch({ name: 'p' }).connectUplink(inside, far, { mac: host.mac })).toThrow(
      /private/,
    );
  });

  it('delivers every frame to where a model says, whatever is sent', () => {
    const step = fc.record({
      from: fc.nat(3),
      to: fc.oneof(fc.nat(4).map(macOf), fc.constant(BROADCAST)),
      tag: fc.constantFrom(undefined, 10, 20, 30),
    });
    const vlans = [
      { mode: 'access', id: 10 },
      { mode: 'access', id: 20 },
      { mode: 'trunk', nativeId: 10, allowedIds: [20] },
      { mode: 'trunk', nativeId: 30, allowedIds: [10] },
    ] as const;
    const ids = [[10], [20], [10, 20], [30, 10]];
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { send, got } = lan(vlans.map((vlan) => ({ vlan })));
        const seen = new Map<string, number>();
        for (const { from, to, tag } of steps) {
          send(from, to, { vlanTag: tag });
          const vlan = tag ?? ids[from][0];
          const admitted = tag === undefined || (from > 1 && ids[from].includes(tag));
          if (admitted) seen.set(`${vlan} ${macOf(from)}`, from);
          const known = seen.get(`${vlan} ${to}`);
          const expected = ids.map((members, n) =>
            admitted && n !== from && members.includes(vlan) && (known === undefined || known === n) ? 1 : 0,
          );
          expect(got()).toEqual(known === from ? [0, 0, 0, 0] : expected);
        }
      }),
      { numRuns: 100 },
    );
  });
});
