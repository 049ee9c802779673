import { beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '../clock.ts';
import { HvStatus } from '../hv-status.ts';
import { PAGE_SIZE } from '../memory/arena.ts';
import { GpaAccess } from '../memory/gpa-space.ts';
import { HvRegister } from '../processor/contract.ts';
import { registerValue, tableRegister } from '../processor/register-values.ts';
import { Hypervisor } from './hypervisor.ts';
import type { Partition } from './partition.ts';
import { HypercallPrivilege } from './privileges.ts';
import { PartitionProperty } from './properties.ts';
import { MMIO_HOLE_START, ramLayout } from './ram-layout.ts';
import { RootPorts } from './root-ports.ts';
import type { PartitionEvent } from './services.ts';
import { enableHypercalls, makeChild } from './test-utils/make-child.ts';
import { ScriptedProcessor } from './test-utils/scripted-processor.ts';

const MSR_SCONTROL = 0x40000080;
const MSR_SIEFP = 0x40000082;
const MSR_SIMP = 0x40000083;
const MSR_EOM = 0x40000084;
const MSR_SINT2 = 0x40000092;

const withStatus = (status: HvStatus) => expect.objectContaining({ name: 'HvError', status });
const ACCESS_DENIED = withStatus(HvStatus.ACCESS_DENIED);
const INVALID_STATE = withStatus(HvStatus.INVALID_PARTITION_STATE);

let hypervisor: Hypervisor;
let child: Partition;
let processor: ScriptedProcessor;

beforeEach(() => {
  ({ hypervisor, child, processor } = makeChild({ vpCount: 2 }));
});

describe('the life of a partition', () => {
  it('goes from created to active, finalized and deleted, and back from nowhere', () => {
    const { root } = hypervisor;
    const options = { name: 'other', processor: new ScriptedProcessor(), memoryBytes: 0x10000 };
    const other = hypervisor.createPartition(root, options);
    expect(other.state).toBe('created');
    expect(() => hypervisor.createVp(root, other, 0)).toThrow(INVALID_STATE);
    expect(() => hypervisor.mapGpaPages(root, other, 0, 0, 1, GpaAccess.ALL)).toThrow(INVALID_STATE);
    hypervisor.initializePartition(root, other);
    expect(() => hypervisor.initializePartition(root, other)).toThrow(INVALID_STATE);
    expect(() => hypervisor.deletePartition(root, other)).toThrow(INVALID_STATE);
    hypervisor.finalizePartition(root, other);
    expect(() => hypervisor.createVp(root, other, 0)).toThrow(INVALID_STATE);
    expect(() => hypervisor.finalizePartition(root, other)).toThrow(INVALID_STATE);
    hypervisor.deletePartition(root, other);
    expect(options.processor.disposed).toBe(true);
    expect(() => hypervisor.deletePartition(root, other)).toThrow(INVALID_STATE);
  });

  it('cannot end while it runs', async () => {
    const { root } = hypervisor;
    const end = child.runner.run();
    expect(() => hypervisor.finalizePartition(root, child)).toThrow(INVALID_STATE);
    child.runner.stop();
    await end;
    hypervisor.finalizePartition(root, child);
  });

  it('gives ids in order, and lists the children', () => {
    const { root } = hypervisor;
    expect(hypervisor.getPartitionId(root)).toBe(1);
    const other = hypervisor.createPartition(root, { name: 'other', processor, memoryBytes: 4096 });
    expect([child.id, other.id]).toEqual([2, 3]);
    expect(hypervisor.getNextChildPartition(root, 0)).toBe(child);
    expect(hypervisor.getNextChildPartition(root, child.id)).toBe(other);
    expect(hypervisor.getNextChildPartition(root, other.id)).toBeUndefined();
  });

  it('asks its processor for RAM, device pages and overlays, no more', () => {
    const own = new ScriptedProcessor();
    const made = hypervisor.createPartition(hypervisor.root, {
      name: 'sized',
      processor: own,
      memoryBytes: 0x200000 - 100,
      vpCount: 3,
      devicePages: 5,
    });
    expect(own.options).toMatchObject({ memoryPages: 512 - 96 + 5, overlayPages: 2 + 9, vpCount: 3 });
    expect(made.gpa.arena.pageCount).toBe(512 - 96 + 5 + 11);
  });

  it.each([
    { vpCount: 0 },
    { vpCount: 65 },
    { vpCount: 1.5 },
    { memoryBytes: 100 },
    { memoryBytes: 2 ** 40 },
    { tscFrequencyHz: 10_000_000 },
    { devicePages: -1 },
  ])('refuses options that make no sense: %j', (options) => {
    const create = () =>
      hypervisor.createPartition(hypervisor.root, { name: 'odd', processor, memoryBytes: 4096, ...options });
    expect(create).toThrow(expect.objectContaining({ code: 'INVALID_PARTITION_OPTIONS' }));
  });
});

describe('a child that calls', () => {
  it('what only a parent may is denied', () => {
    const deny = (call: () => unknown) => expect(call).toThrow(ACCESS_DENIED);
    const interrupt = {
      vector: 0x40,
      deliveryMode: 'fixed',
      levelTriggered: false,
      logicalDestination: false,
    } as const;
    deny(() => hypervisor.createPartition(child, { name: 'nested', processor, memoryBytes: 4096 }));
    deny(() => hypervisor.initializePartition(child, child));
    deny(() => hypervisor.finalizePartition(child, child));
    deny(() => hypervisor.deletePartition(child, child));
    deny(() => hypervisor.getPartitionId(child));
    deny(() => hypervisor.getNextChildPartition(child, 0));
    deny(() => hypervisor.getPartitionProperty(child, child, PartitionProperty.GUEST_OS_ID));
    deny(() => hypervisor.setPartitionProperty(child, child, PartitionProperty.SUSPEND, 1n));
    deny(() => hypervisor.mapGpaPages(child, child, 0, 0, 1, GpaAccess.ALL));
    deny(() => hypervisor.unmapGpaPages(child, child, 0, 1));
    deny(() => hypervisor.createVp(child, child, 0));
    deny(() => hypervisor.installIntercept(child, child, { type: 'cpuid', leaf: 0, amend: () => {} }));
    deny(() =>
      hypervisor.createPort(child, child, { type: 'event', flagCount: 1, signal: () => HvStatus.SUCCESS }),
    );
    deny(() => hypervisor.connectPort(child, child, 1, 1));
    deny(() => hypervisor.disconnectPort(child, child, 1));
    deny(() => hypervisor.deletePort(child, 1));
    deny(() => hypervisor.assertVirtualInterrupt(child, child, { ...interrupt, destination: 0 }));
    deny(() => hypervisor.getVpRegisters(child, child, 0, [HvRegister.RAX]));
    deny(() => hypervisor.setVpRegisters(child, child, 0, [[HvRegister.RAX, 1n]]));
    deny(() => hypervisor.attachDeviceDomain(child, child, 'disk', 'passthrough'));
    deny(() => hypervisor.detachDeviceDomain(child, child, 'disk'));
    expect(child.gpa.accessOf(0)).toBe(GpaAccess.ALL);
  });

  it('HvCallCreatePartition from its guest gets status 6; before it enabled hypercalls it gets #UD', () => {
    const frame = () => ({
      control: { lo: 0x40, hi: 0 },
      input: { lo: 0, hi: 0 },
      output: { lo: 0, hi: 0 },
      result: { lo: 0, hi: 0 },
    });
    const early = frame();
    expect(child.vps[0].hypercall(early)).toBe(false);
    enableHypercalls(child);
    const call = frame();
    expect(child.vps[0].hypercall(call)).toBe(true);
    expect(call.result).toEqual({ lo: 6, hi: 0 });
    expect(hypervisor.getNextChildPartition(hypervisor.root, child.id)).toBeUndefined();
    expect(child.counters.counter('intercept.hypercall').value).toBe(2);
  });

  it('cannot be reached by another hypervisor’s root', () => {
    const stranger = new Hypervisor().root;
    expect(() => hypervisor.unmapGpaPages(stranger, child, 0, 1)).toThrow(ACCESS_DENIED);
    expect(() => hypervisor.getVpRegisters(stranger, child, 0, [])).toThrow(ACCESS_DENIED);
  });
});

describe('properties', () => {
  const { PRIVILEGE_FLAGS, SUSPEND, GUEST_OS_ID, PROCESSOR_CLOCK_FREQUENCY, REFERENCE_TIME } =
    PartitionProperty;

  it('privileges are an early property, show in CPUID, and exclude what is a parent’s', () => {
    const { root } = hypervisor;
    const other = hypervisor.createPartition(root, { name: 'other', processor, memoryBytes: 0x10000 });
    const wanted = BigInt(HypercallPrivilege.SIGNAL_EVENTS | HypercallPrivilege.ACCESS_VP_REGISTERS) << 32n;
    hypervisor.setPartitionProperty(root, other, PRIVILEGE_FLAGS, wanted);
    expect(hypervisor.getPartitionProperty(root, other, PRIVILEGE_FLAGS)).toBe(wanted);
    const tooMuch = BigInt(HypercallPrivilege.CREATE_PARTITIONS) << 32n;
    expect(() => hypervisor.setPartitionProperty(root, other, PRIVILEGE_FLAGS, tooMuch)).toThrow(
      withStatus(HvStatus.PROPERTY_VALUE_OUT_OF_RANGE),
    );
    hypervisor.initializePartition(root, other);
    expect(() => hypervisor.setPartitionProperty(root, other, PRIVILEGE_FLAGS, wanted)).toThrow(
      INVALID_STATE,
    );
    const leaf = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    hypervisor.createVp(root, other, 0).cpuid(0x40000003, 0, leaf);
    expect(leaf.ebx).toBe(Number(wanted >> 32n));
    expect(() => hypervisor.postMessage(other, 1, 1, new Uint8Array(4))).toThrow(ACCESS_DENIED);
  });

  it('of the guest and of time can be read', () => {
    const { root } = hypervisor;
    enableHypercalls(child);
    expect(hypervisor.getPartitionProperty(root, child, GUEST_OS_ID)).toBe(0x8100000601c00000n);
    expect(hypervisor.getPartitionProperty(root, child, PROCESSOR_CLOCK_FREQUENCY)).toBe(1_000_000_000n);
    const timed = makeChild({ clock: new VirtualClock() });
    (timed.child.clock as VirtualClock).advance(12_300);
    expect(timed.hypervisor.getPartitionProperty(timed.hypervisor.root, timed.child, REFERENCE_TIME)).toBe(
      123n,
    );
    expect(() => hypervisor.getPartitionProperty(root, child, 1 as never)).toThrow(
      withStatus(HvStatus.UNKNOWN_PROPERTY),
    );
    expect(() => hypervisor.setPartitionProperty(root, child, GUEST_OS_ID, 1n)).toThrow(
      withStatus(HvStatus.UNKNOWN_PROPERTY),
    );
  });

  it('suspend pauses and resumes', () => {
    const { root } = hypervisor;
    hypervisor.setPartitionProperty(root, child, SUSPEND, 1n);
    expect(hypervisor.getPartitionProperty(root, child, SUSPEND)).toBe(1n);
    hypervisor.setPartitionProperty(root, child, SUSPEND, 0n);
    expect(child.runner.paused).toBe(false);
    expect(() => hypervisor.setPartitionProperty(root, child, SUSPEND, 2n)).toThrow(
      withStatus(HvStatus.PROPERTY_VALUE_OUT_OF_RANGE),
    );
  });
});

describe('memory', () => {
  it('lies below the MMIO hole without the legacy hole, and the rest above 4 GiB', () => {
    expect(ramLayout(0x8000)).toEqual([{ gpa: 0, sizeBytes: 0x8000 }]);
    expect(ramLayout(0xc0000)).toEqual([{ gpa: 0, sizeBytes: 0xa0000 }]);
    expect(ramLayout(0x200000 - 1)).toEqual([
      { gpa: 0, sizeBytes: 0xa0000 },
      { gpa: 0x100000, sizeBytes: 0x100000 },
    ]);
    expect(ramLayout(2 ** 32)).toEqual([
      { gpa: 0, sizeBytes: 0xa0000 },
      { gpa: 0x100000, sizeBytes: MMIO_HOLE_START - 0x100000 },
      { gpa: 2 ** 32, sizeBytes: 2 ** 32 - MMIO_HOLE_START },
    ]);
  });

  it('is mapped with rights and unmapped', () => {
    const { root } = hypervisor;
    hypervisor.mapGpaPages(root, child, 0x100, 3, 1, GpaAccess.READ);
    expect(child.gpa.translatePage(0x100, GpaAccess.READ)).toBe(3);
    expect(child.gpa.translatePage(0x100, GpaAccess.WRITE)).toBe(-1);
    hypervisor.unmapGpaPages(root, child, 0x100, 1);
    expect(child.gpa.accessOf(0x100)).toBe(GpaAccess.NONE);
  });

  it.each([
    [-1, 0, 1, 7],
    [2 ** 24, 0, 1, 7],
    [0, 0, 0, 7],
    [0, 2 ** 20, 1, 7],
    [0, -1, 1, 7],
    [0, 0, 1, 8],
    [0.5, 0, 1, 7],
  ])('refuses pages that do not exist: %d, %d, %d, %d', (gpaPage, arenaPage, count, access) => {
    expect(() => hypervisor.mapGpaPages(hypervisor.root, child, gpaPage, arenaPage, count, access)).toThrow(
      withStatus(HvStatus.INVALID_PARAMETER),
    );
  });

  it('is reached by a device through its domain, as long as that is attached', () => {
    const { root } = hypervisor;
    const domain = hypervisor.attachDeviceDomain(root, child, 'disk', 'passthrough');
    expect(child.dma.domainOf('disk')).toBe(domain);
    expect(domain.write(0x3000, new Uint8Array([1, 2, 3]))).toBe(true);
    expect(() => child.dma.attach('disk', 'remapped')).toThrow(
      expect.objectContaining({ code: 'DEVICE_ATTACHED' }),
    );
    hypervisor.detachDeviceDomain(root, child, 'disk');
    expect(child.dma.domainOf('disk').read(0x3000, new Uint8Array(3))).toBe(false);
    expect(child.counters.counter('fault.dma.disk').value).toBe(1);
  });
});

describe('VPs', () => {
  it('are created in order, as many as the partition has', () => {
    const { root } = hypervisor;
    expect(() => hypervisor.createVp(root, child, 2)).toThrow(withStatus(HvStatus.INVALID_VP_INDEX));
    expect(() => hypervisor.createVp(root, child, 0)).toThrow(withStatus(HvStatus.INVALID_VP_INDEX));
  });

  it('show their registers, their own and the hypervisor’s', () => {
    const { root } = hypervisor;
    processor.vps[1].registers.set(HvRegister.RAX, registerValue(0x2_0000_0001n));
    processor.vps[1].registers.set(HvRegister.GDTR, registerValue(0n));
    expect(hypervisor.getVpRegisters(root, child, 1, [HvRegister.RAX, 0x00090003])).toEqual([
      (2n << 32n) | 1n,
      1n,
    ]);
    hypervisor.setVpRegisters(root, child, 1, [[HvRegister.RAX, 0xffff_ffff_0000_0001n]]);
    expect(processor.vps[1].registers.get(HvRegister.RAX)).toEqual({
      lo: 1,
      hi: 0xffffffff,
      upperLo: 0,
      upperHi: 0,
    });
    const gdtr = tableRegister({ base: 0xffff_8000_0000_1000n, limit: 0x7f });
    hypervisor.setVpRegisters(root, child, 1, [[HvRegister.GDTR, gdtr]]);
    expect(hypervisor.getVpRegisters(root, child, 1, [HvRegister.GDTR])).toEqual([gdtr]);
    expect(processor.vps[1].registers.get(HvRegister.GDTR)).toEqual({
      lo: 0,
      hi: 0x7f0000,
      upperLo: 0x1000,
      upperHi: 0xffff8000,
    });
    const unknown = withStatus(HvStatus.INVALID_PARAMETER);
    expect(() => hypervisor.getVpRegisters(root, child, 1, [0x777])).toThrow(unknown);
    expect(() => hypervisor.setVpRegisters(root, child, 1, [[0x00090003, 5n]])).toThrow(unknown);
    expect(() => hypervisor.getVpRegisters(root, child, 2, [])).toThrow(
      withStatus(HvStatus.INVALID_VP_INDEX),
    );
  });

  it('take interrupts that the root asserts', async () => {
    const { root } = hypervisor;
    // Spurious vector register: software-enable the local APIC.
    child.vps[1].mmioWrite(0xfee000f0, 4, 0x1ff);
    const interrupt = {
      deliveryMode: 'fixed',
      levelTriggered: false,
      logicalDestination: false,
      destination: 1,
    } as const;
    hypervisor.assertVirtualInterrupt(root, child, { ...interrupt, vector: 0x55 });
    const end = child.runner.run();
    await new Promise((resolve) => setImmediate(resolve));
    child.runner.stop();
    await end;
    expect(processor.vps.map((vp) => vp.taken)).toEqual([[], [0x55]]);
    expect(child.counters.counter('interrupt.delivered').value).toBe(1);
    for (const vector of [0x0f, 0x100]) {
      expect(() => hypervisor.assertVirtualInterrupt(root, child, { ...interrupt, vector })).toThrow(
        withStatus(HvStatus.INVALID_PARAMETER),
      );
    }
  });
});

describe('intercepts', () => {
  it('of ports, MSRs and CPUID leaves reach the root until they are closed', () => {
    const { root } = hypervisor;
    const vp = child.vps[0];
    const handler = { read: () => 0x5a, write: () => {} };
    const ports = hypervisor.installIntercept(root, child, {
      type: 'io-port-range',
      region: { name: 'debug', port: 0x80, count: 1, handler },
    });
    const msr = hypervisor.installIntercept(root, child, {
      type: 'msr',
      msr: 0x1234,
      handler: {
        read: (value) => {
          value.lo = 9;
          return true;
        },
        write: () => false,
      },
    });
    const leaf = hypervisor.installIntercept(root, child, {
      type: 'cpuid',
      leaf: 0x80000008,
      amend: (subleaf, result) => {
        result.eax = 36 + subleaf;
      },
    });
    const value = { lo: 0, hi: 0 };
    const result = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    expect(vp.portRead(0x80, 1)).toBe(0x5a);
    expect(vp.msrRead(0x1234, value)).toBe(true);
    expect(value.lo).toBe(9);
    expect(vp.msrWrite(0x1234, value)).toBe(false);
    vp.cpuid(0x80000008, 3, result);
    expect(result.eax).toBe(39);
    expect(() =>
      hypervisor.installIntercept(root, child, { type: 'cpuid', leaf: 0x80000008, amend: () => {} }),
    ).toThrow(withStatus(HvStatus.OBJECT_IN_USE));

    for (const intercept of [ports, msr, leaf]) intercept.close();
    expect(vp.portRead(0x80, 1)).toBe(0xff);
    expect(vp.msrRead(0x1234, value)).toBe(false);
    const after = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    vp.cpuid(0x80000008, 3, after);
    expect(after.eax).toBe(0);
    const { counters } = child;
    expect(counters.counter('intercept.port').value).toBe(2);
    expect(counters.counter('intercept.port.debug').value).toBe(1);
    expect(counters.counter('intercept.msr').value).toBe(3);
    expect(counters.counter('intercept.msr.unclaimed').value).toBe(1);
    expect(counters.counter('intercept.cpuid').value).toBe(2);
  });

  it('of MMIO go to the region, or to each VP’s own local APIC', () => {
    const written: string[] = [];
    const region = (name: string, gpa: number) => ({
      name,
      gpa,
      sizeBytes: 0x10,
      handler: {
        read: (offset: number) => offset + 1,
        write: (offset: number, sizeBytes: number, value: number) =>
          written.push(`${name} ${offset}/${sizeBytes}=${value}`),
      },
    });
    child.gpa.addMmio(region('hpet', 0xfed00000));
    child.gpa.addMmio(region('next', 0xfed00010));
    const [first, second] = child.vps;
    expect(first.mmioRead(0xfed00004, 4)).toBe(5);
    expect(second.mmioRead(0xfed0000f, 2)).toBe(0x0110);
    first.mmioWrite(0xfed0000f, 2, 0x0201);
    expect(written).toEqual(['hpet 15/1=1', 'next 0/1=2']);
    expect(first.mmioRead(0xe0000000, 2)).toBe(0xffff);
    first.mmioWrite(0xe0000000, 4, 1);
    // Local APIC id register.
    expect([first, second].map((vp) => vp.mmioRead(0xfee00020, 4) >>> 24)).toEqual([0, 1]);
    const { counters } = child;
    expect(counters.counter('intercept.mmio').value).toBe(7);
    expect(counters.counter('intercept.mmio.hpet').value).toBe(3);
    expect(counters.counter('intercept.mmio.unclaimed').value).toBe(2);
    expect(counters.counter('intercept.mmio.local-apic').value).toBe(2);
  });
});

describe('ports and connections', () => {
  let ports: RootPorts;
  /** What the guest calls. */
  const post = (connectionId: number, messageType = 1, size = 4) =>
    child.postMessage(connectionId, messageType, new Uint8Array(size));

  beforeEach(() => {
    ports = new RootPorts(hypervisor, child);
  });

  it('carry the guest’s messages and events to the root', () => {
    const received: unknown[] = [];
    const messages = ports.openMessageConnection(4, {
      receive: (type, payload) => {
        received.push(type, payload.length);
        return HvStatus.SUCCESS;
      },
    });
    const events = ports.openEventConnection(9, { signal: (flag) => received.push(`flag ${flag}`) });
    expect(post(4)).toBe(HvStatus.SUCCESS);
    expect(child.signalEvent(9, 5)).toBe(HvStatus.SUCCESS);
    expect(received).toEqual([1, 4, 'flag 5']);

    expect(post(5)).toBe(HvStatus.INVALID_CONNECTION_ID);
    expect(post(9)).toBe(HvStatus.INVALID_PORT_ID);
    expect(post(4, 0)).toBe(HvStatus.INVALID_PARAMETER);
    expect(post(4, 0x80000000)).toBe(HvStatus.INVALID_PARAMETER);
    expect(post(4, 1, 241)).toBe(HvStatus.INVALID_PARAMETER);
    expect(child.signalEvent(4, 0)).toBe(HvStatus.INVALID_PORT_ID);
    expect(child.signalEvent(8, 0)).toBe(HvStatus.INVALID_CONNECTION_ID);
    expect(child.signalEvent(9, 2048)).toBe(HvStatus.INVALID_PARAMETER);
    expect(received).toHaveLength(3);

    messages.close();
    messages.close();
    events.close();
    expect(post(4)).toBe(HvStatus.INVALID_CONNECTION_ID);
    expect(child.signalEvent(9, 5)).toBe(HvStatus.INVALID_CONNECTION_ID);
  });

  it('are refused under an id that is taken', () => {
    const target = { receive: () => HvStatus.SUCCESS };
    const first = ports.openMessageConnection(4, target);
    expect(() => ports.openEventConnection(4, { signal: () => {} })).toThrow(
      withStatus(HvStatus.OBJECT_IN_USE),
    );
    first.close();
    ports.openMessageConnection(4, target);
  });

  it('a connection whose port is gone is useless', () => {
    const { root } = hypervisor;
    const receiver = { type: 'event', flagCount: 1, signal: () => HvStatus.SUCCESS } as const;
    const portId = hypervisor.createPort(root, root, receiver);
    hypervisor.connectPort(root, child, 3, portId);
    expect(child.signalEvent(3, 0)).toBe(HvStatus.SUCCESS);
    hypervisor.deletePort(root, portId);
    expect(child.signalEvent(3, 0)).toBe(HvStatus.INVALID_PORT_ID);
    expect(() => hypervisor.deletePort(root, portId)).toThrow(withStatus(HvStatus.INVALID_PORT_ID));
    expect(() => hypervisor.connectPort(root, child, 4, portId)).toThrow(
      withStatus(HvStatus.INVALID_PORT_ID),
    );
    hypervisor.disconnectPort(root, child, 3);
    expect(() => hypervisor.disconnectPort(root, child, 3)).toThrow(
      withStatus(HvStatus.INVALID_CONNECTION_ID),
    );
  });

  it('carry the root’s messages and events to a VP’s SynIC', () => {
    const messages = ports.createGuestMessagePort({ vpIndex: 1, sint: 2 });
    const events = ports.createGuestEventPort({ vpIndex: 1, sint: 2, flagNumber: 17 });
    expect(messages.post(1, new Uint8Array(8))).toBe(HvStatus.INVALID_SYNIC_STATE);
    expect(events.signal()).toBe(false);

    const vp = child.vps[1];
    child.vps[1].mmioWrite(0xfee000f0, 4, 0x1ff);
    vp.msrWrite(MSR_SIMP, { lo: 0x10001, hi: 0 });
    vp.msrWrite(MSR_SIEFP, { lo: 0x11001, hi: 0 });
    vp.msrWrite(MSR_SINT2, { lo: 0xf3, hi: 0 });
    vp.msrWrite(MSR_SCONTROL, { lo: 1, hi: 0 });
    expect(messages.post(1, new Uint8Array([7, 8]))).toBe(HvStatus.SUCCESS);
    expect(events.signal()).toBe(true);
    const slot = new Uint8Array(32);
    child.gpa.read(0x10200, slot);
    expect([slot[0], slot[4], slot[16], slot[17]]).toEqual([1, 2, 7, 8]);
    const flags = new Uint8Array(4);
    child.gpa.read(0x11200, flags);
    expect([...flags]).toEqual([0, 0, 2, 0]);

    // The slot is taken: messages queue until there is no room, and there is again at the end of one.
    let space = 0;
    messages.onSpace(() => space++);
    let status: HvStatus = HvStatus.SUCCESS;
    for (let i = 0; i < 10_000 && status === HvStatus.SUCCESS; i++)
      status = messages.post(1, new Uint8Array(1));
    expect(status).toBe(HvStatus.INSUFFICIENT_BUFFERS);
    child.gpa.write(0x10200, new Uint8Array(4));
    vp.msrWrite(MSR_EOM, { lo: 0, hi: 0 });
    expect(space).toBe(1);

    expect(events.setTargetVp(2)).toBe(false);
    expect(events.setTargetVp(0)).toBe(true);
    expect(events.signal()).toBe(false);
    messages.close();
    expect(messages.post(1, new Uint8Array(1))).toBe(HvStatus.INVALID_CONNECTION_ID);
    events.close();
    expect(events.signal()).toBe(false);
  });

  it('refuse VPs, SINTs and flags that do not exist', () => {
    const bad = withStatus(HvStatus.INVALID_PARAMETER);
    expect(() => ports.createGuestMessagePort({ vpIndex: 2, sint: 2 })).toThrow(
      withStatus(HvStatus.INVALID_VP_INDEX),
    );
    expect(() => ports.createGuestMessagePort({ vpIndex: 0, sint: 16 })).toThrow(bad);
    expect(() => ports.createGuestEventPort({ vpIndex: 0, sint: 2, flagNumber: 2048 })).toThrow(bad);
  });

  it('go with the partition, and closing them afterwards is harmless', () => {
    const toRoot = ports.openMessageConnection(4, { receive: () => HvStatus.SUCCESS });
    const messages = ports.createGuestMessagePort({ vpIndex: 0, sint: 2 });
    const events = ports.createGuestEventPort({ vpIndex: 0, sint: 2, flagNumber: 1 });
    hypervisor.finalizePartition(hypervisor.root, child);
    expect(post(4)).toBe(HvStatus.INVALID_CONNECTION_ID);
    expect(messages.post(1, new Uint8Array(1))).toBe(HvStatus.INVALID_PORT_ID);
    for (const connection of [toRoot, messages, events]) connection.close();
  });
});

it('a crash, a reset and the board’s requests end the run', async () => {
  const ends = [];
  for (const request of [
    () => child.control.end({ reason: 'power-off' }),
    () => child.vps[0].msrWrite(0x40000003, { lo: 1, hi: 0 }),
    () => child.vps[0].msrWrite(0x40000105, { lo: 0, hi: 0x80000000 }),
  ]) {
    const end = child.runner.run();
    request();
    ends.push((await end).reason);
  }
  expect(ends).toEqual(['power-off', 'reset', 'crash']);
});

it('a reported crash is told to listeners, and with onCrash report the run goes on', async () => {
  const { child } = makeChild({ onCrash: 'report' });
  const told: PartitionEvent[] = [];
  const forget = child.events.listen((event) => told.push(event));
  const end = child.runner.run();
  child.vps[0].msrWrite(0x40000100, { lo: 7, hi: 1 });
  child.vps[0].msrWrite(0x40000105, { lo: 0, hi: 0x80000000 });
  const parameters = [0x1_0000_0007n, 0n, 0n, 0n, 0n];
  expect(told).toEqual([{ kind: 'crashed', parameters, message: undefined }]);
  await child.runner.pause();
  expect(child.events.paused).toBe(true);
  forget();
  child.runner.resume();
  child.runner.stop();
  expect(await end).toEqual({ reason: 'stopped' });
  expect(told.map(({ kind }) => kind)).toEqual(['crashed', 'paused']);
});

it('a partition to which the hypervisor does not show itself has no hypercalls and no privileges', () => {
  const plain = makeChild({ enlightened: false });
  enableHypercalls(plain.child);
  const frame = {
    control: { lo: 0x5d, hi: 0 },
    input: { lo: 0, hi: 0 },
    output: { lo: 0, hi: 0 },
    result: { lo: 0, hi: 0 },
  };
  expect(plain.child.vps[0].hypercall(frame)).toBe(false);
  expect(plain.child.hypercallPrivileges).toBe(0);
  expect(plain.child.gpa.arena.pageCount * PAGE_SIZE).toBeGreaterThan(0x100000);
});
