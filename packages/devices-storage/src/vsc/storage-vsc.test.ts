import { type GuestBlockDevice, GuestIoError, type GuestTask, PAGE_SIZE, silentLogger } from '@kensho/core';
import { describe, expect, it } from 'vitest';
import { Sense } from '../protocol/scsi.ts';
import { DiskUnit } from '../scsi/disk-unit.ts';
import { DvdUnit } from '../scsi/dvd-unit.ts';
import { DISK_ID, FakeDisk } from '../scsi/test-utils/fake-disk.ts';
import { StorageVsp, type StorageVspOptions } from '../vsp/storage-vsp.ts';
import { StorageVsc, type StorageVscOptions } from './storage-vsc.ts';
import { FakeGuest } from './test-utils/fake-guest.ts';

/** A guest with a controller; `attach` brings the driver up. */
function rig(vscOptions: StorageVscOptions = {}, vspOptions: Partial<StorageVspOptions> = {}) {
  const guest = new FakeGuest();
  const { bus, work, dma, counters, faults } = guest;
  const vsp = new StorageVsp(
    { id: 'scsi0', instanceId: '11111111-2222-4333-8444-555555555555', ...vspOptions },
    { bus, work, dma, counters, faults, log: silentLogger },
  );
  vsp.start();
  const disk = new FakeDisk({ blocks: 4096 });
  disk.bytes.forEach((_, i) => {
    disk.bytes[i] = (i * 5 + (i >>> 9)) & 0xff;
  });
  vsp.attach(0, new DiskUnit(disk));
  const vsc = new StorageVsc(vscOptions);
  return { guest, vsp, disk, attach: () => guest.run(vsc.attach(guest.device, guest.kernel)) };
}

/** Runs a task to its end and gives its result. */
async function inGuest<T>(guest: FakeGuest, task: () => GuestTask<T>): Promise<T> {
  let result: { value: T } | undefined;
  let failure: unknown;
  const body = function* (): GuestTask {
    try {
      result = { value: yield* task() };
    } catch (error) {
      failure = error;
    }
  };
  await guest.run(body());
  if (failure !== undefined) throw failure;
  if (result === undefined) throw new Error('the task did not end');
  return result.value;
}

describe('bringing a controller up', () => {
  it('publishes each disk that it finds', async () => {
    const { guest, vsp, attach } = rig();
    vsp.attach(4, new DiskUnit(new FakeDisk({ blocks: 10, blockBytes: 4096, readOnly: true })));
    vsp.attach(9, new DvdUnit(DISK_ID));
    vsp.attach(10, new DvdUnit(DISK_ID, new FakeDisk({ blocks: 50, blockBytes: 2048 })));
    await attach();
    const shown = guest.disks.map(({ name, sectorCount, sectorSizeBytes, readOnly }) => [
      name,
      sectorCount,
      sectorSizeBytes,
      readOnly,
    ]);
    expect(shown).toEqual([
      ['scsi0.0', 4096, 512, false],
      ['scsi0.4', 10, 4096, true],
      ['scsi0.10', 50, 2048, true],
    ]);
    expect(guest.disks[0]).toMatchObject({ path: 'enlightened', queueDepth: 64, maxTransferBytes: 1 << 20 });
    expect(guest.lines).toEqual([]);
  });

  it('gives up with a line on the console where the host refuses', async () => {
    const { guest, attach } = rig();
    guest.refusing = true;
    await attach();
    expect(guest.lines).toEqual(['scsi0: the host refuses the channel']);
    expect(guest.disks).toEqual([]);
  });

  it('spreads requests over the sub-channels that it gets', async () => {
    const { guest, attach } = rig({ subChannels: 8, queueDepth: 4 }, { maxSubChannels: 3 });
    await attach();
    expect(guest.disks[0].queueDepth).toBe(16);
    await inGuest(guest, function* () {
      const memory = guest.kernel.allocate(PAGE_SIZE);
      for (let i = 0; i < 8; i++) yield* guest.disks[0].read(i, 1, memory);
    });
  });
});

describe('reading and writing', () => {
  it('moves data from and to any part of a buffer', async () => {
    const { guest, disk, attach } = rig();
    await attach();
    const [device] = guest.disks;
    const memory = guest.kernel.allocate(4 * PAGE_SIZE);
    await inGuest(guest, () => device.read(7, 9, memory, 3584));
    expect(memory.bytes.slice(3584, 3584 + 9 * 512)).toEqual(disk.bytes.slice(7 * 512, 16 * 512));
    expect(memory.bytes[3583]).toBe(0);
    memory.bytes.fill(0x5a);
    await inGuest(guest, () => device.write(100, 2, memory, 512));
    expect(disk.bytes.subarray(100 * 512, 102 * 512).every((byte) => byte === 0x5a)).toBe(true);
    await inGuest(guest, () => device.flush());
    expect(disk.log.at(-1)).toBe('flush');
  });

  it('uses the long commands where an address asks for them', async () => {
    const { guest, vsp, attach } = rig();
    const large = new FakeDisk();
    Object.defineProperty(large, 'sizeBytes', { value: 2 ** 33 * 512 });
    vsp.attach(1, new DiskUnit(large));
    await attach();
    expect(guest.disks[1].sectorCount).toBe(2 ** 33);
    const memory = guest.kernel.allocate(PAGE_SIZE);
    await inGuest(guest, () => guest.disks[1].read(2 ** 32 + 5, 1, memory));
    expect(large.log).toEqual([`read ${(2 ** 32 + 5) * 512} 512`]);
  });

  it('throws what the unit says, with its sense code', async () => {
    const { guest, disk, attach } = rig();
    await attach();
    const [device] = guest.disks;
    const memory = guest.kernel.allocate(PAGE_SIZE);
    const failing = (task: () => GuestTask) => expect(inGuest(guest, task)).rejects;
    await failing(() => device.read(4096, 1, memory)).toThrow('sense 5/21/00');
    disk.failure = new Error('EIO');
    await failing(() => device.write(0, 1, memory)).toThrow('sense 3/0c/00');
    await failing(() => device.read(0, 16, memory)).toThrow(GuestIoError);
  });

  it('repeats what only met an attention', async () => {
    const { guest, vsp, attach } = rig();
    await attach();
    vsp.target.unit(0)?.raise(Sense.BUS_RESET_OCCURRED);
    const memory = guest.kernel.allocate(PAGE_SIZE);
    await inGuest(guest, () => guest.disks[0].read(0, 1, memory));
  });
});

describe('many requests at once', () => {
  async function readMany(depth: number, rounds: number, ringPackets = 1000) {
    const { guest, disk, attach } = rig();
    disk.asynchronous = true;
    await attach();
    guest.ringPackets = ringPackets;
    const [device] = guest.disks;
    const before = { signals: guest.signals, interrupts: guest.interrupts };
    let done = 0;
    const program = function* (index: number): GuestTask {
      const memory = guest.kernel.allocate(PAGE_SIZE);
      for (let i = 0; i < rounds; i++) {
        const lba = (index * rounds + i) * 8;
        yield* device.read(lba, 8, memory);
        expect(memory.bytes).toEqual(disk.bytes.subarray(lba * 512, lba * 512 + PAGE_SIZE));
        done++;
      }
    };
    for (let index = 0; index < depth; index++) guest.kernel.spawn('reader', program(index));
    await guest.run();
    expect(done).toBe(depth * rounds);
    return {
      signals: (guest.signals - before.signals) / done,
      interrupts: (guest.interrupts - before.interrupts) / done,
    };
  }

  it('costs one signal and one interrupt for a read by itself', async () => {
    const cost = await readMany(1, 16);
    expect(cost).toEqual({ signals: 1, interrupts: 1 });
  });

  it('shares signals and interrupts among 32 in flight', async () => {
    const cost = await readMany(32, 16);
    expect(cost.signals).toBeLessThan(0.2);
    expect(cost.interrupts).toBeLessThan(0.2);
  });

  it('waits for room in the ring, and for a free slot', async () => {
    await readMany(100, 2, 7);
  });
});

describe('units that come and go', () => {
  const names = (disks: readonly GuestBlockDevice[]) => disks.map(({ name }) => name);

  it('publishes a disk that is added, and withdraws one that is removed', async () => {
    const { guest, vsp, attach } = rig();
    await attach();
    vsp.attach(3, new DiskUnit(new FakeDisk({ blocks: 64 })));
    await guest.run();
    expect(names(guest.disks)).toEqual(['scsi0.0', 'scsi0.3']);
    const [, added] = guest.disks;
    await vsp.detach(3);
    const memory = guest.kernel.allocate(PAGE_SIZE);
    await expect(inGuest(guest, () => added.read(0, 1, memory))).rejects.toThrow('no such unit');
    expect(names(guest.disks)).toEqual(['scsi0.0']);
  });

  it('keeps the device of a disk that did not change, and replaces one that did', async () => {
    const { guest, vsp, attach } = rig();
    vsp.attach(1, new DiskUnit(new FakeDisk({ blocks: 64 })));
    await attach();
    const [first, second] = guest.disks;
    await vsp.detach(1);
    vsp.attach(1, new DiskUnit(new FakeDisk({ blocks: 128 })));
    await guest.run();
    expect(guest.disks[0]).toBe(first);
    expect(guest.disks[1]).not.toBe(second);
    expect(guest.disks[1].sectorCount).toBe(128);
  });

  it('fails what is in flight when the controller is taken away, and lets go of it', async () => {
    const { guest, vsp, disk, attach } = rig();
    await attach();
    disk.hold = true;
    const [device] = guest.disks;
    const memory = guest.kernel.allocate(PAGE_SIZE);
    let failure: unknown;
    const program = function* (): GuestTask {
      try {
        yield* device.read(0, 1, memory);
      } catch (error) {
        failure = error;
      }
    };
    await guest.run(program());
    const stopped = vsp.stop();
    await guest.run();
    // The host still writes to the memory, so the program must not have it back.
    expect(failure).toBeUndefined();
    disk.release();
    await stopped;
    await guest.run();
    expect(failure).toEqual(new GuestIoError('LUN 0, command 0x28: the storage controller was taken away'));
    expect(guest.disks).toEqual([]);
    expect([guest.closedChannels, guest.released]).toEqual([1, true]);
  });
});
