import type { GuestBlockDevice, GuestTask } from '@kensho/core';
import { describe, expect, it } from 'vitest';
import type { IdeDriveOptions } from '../emulated/ide-controller.ts';
import { IdeMachine } from '../test-utils/ide-machine.ts';
import { pattern, TestDisk } from '../test-utils/test-disk.ts';
import { TestKernel } from '../test-utils/test-kernel.ts';
import { IdeDriver, type IdeDriverOptions } from './ide-driver.ts';

async function setUp(options: IdeDriverOptions = {}, drives?: IdeDriveOptions[]) {
  const disk = new TestDisk(100_000);
  const machine = new IdeMachine(drives ?? [{ channel: 0, position: 'master', kind: 'disk', disk }]);
  const kernel = new TestKernel(machine);
  const driver = new IdeDriver(options);
  expect(driver.matches(kernel.ideFunction)).toBe(true);
  await kernel.run(driver.attach(kernel.ideFunction, kernel));
  return { disk, machine, kernel, devices: kernel.published as GuestBlockDevice[] };
}

describe('IdeDriver', () => {
  it('publishes each disk, and no CD/DVD drive', async () => {
    const { devices, kernel } = await setUp({}, [
      { channel: 0, position: 'master', kind: 'disk', disk: new TestDisk(1000) },
      { channel: 0, position: 'slave', kind: 'dvd' },
      { channel: 1, position: 'slave', kind: 'disk', disk: new TestDisk(2 ** 33) },
    ]);
    expect(
      devices.map(({ name, path, sectorCount, queueDepth }) => [name, path, sectorCount, queueDepth]),
    ).toEqual([
      ['ide0.0', 'emulated', 1000, 1],
      ['ide1.1', 'emulated', 2 ** 33, 1],
    ]);
    expect(kernel.lines).toEqual([]);
  });

  it('leaves a channel alone that the PIIX does not decode', async () => {
    const machine = new IdeMachine([
      { channel: 0, position: 'master', kind: 'disk', disk: new TestDisk(10) },
    ]);
    machine.writeConfig(0x41, 1, 0);
    const kernel = new TestKernel(machine);
    await kernel.run(new IdeDriver().attach(kernel.ideFunction, kernel));
    expect(kernel.published).toEqual([]);
  });

  for (const transfer of ['dma', 'pio'] as const) {
    for (const held of [false, true]) {
      it(`reads and writes by ${transfer}${held ? ' from a slow disk' : ''}`, async () => {
        const { disk, machine, kernel, devices } = await setUp({ transfer });
        disk.held = held;
        const settle = machine.settle.bind(machine);
        machine.settle = async () => {
          disk.release();
          await settle();
        };
        const memory = kernel.allocate(200 * 1024);
        memory.bytes.set(pattern(300 * 512, 3), 512);
        await kernel.run(devices[0].write(50, 300, memory, 512));
        await kernel.run(devices[0].flush());
        expect(Buffer.compare(disk.peek(50, 300), pattern(300 * 512, 3))).toBe(0);
        expect(disk.log.at(-1)).toBe('flush');
        memory.bytes.fill(0);
        await kernel.run(devices[0].read(52, 17, memory, 4098));
        expect(Buffer.compare(memory.bytes.subarray(4098, 4098 + 17 * 512), disk.peek(52, 17))).toBe(0);
        expect(memory.bytes[4097]).toBe(0);
        expect(machine.faults).toEqual({ 'fault.dma.ide0': 0 });
      });
    }
  }

  it('finds a drive that was left in the midst of a command', async () => {
    const disk = new TestDisk(100);
    const machine = new IdeMachine([{ channel: 0, position: 'master', kind: 'disk', disk }]);
    // IDENTIFY DEVICE, whose data nobody fetched: the drive takes no other register meanwhile.
    machine.out(0x1f7, 0xec);
    expect(machine.in(0x1f7) & 0x08).not.toBe(0);
    const kernel = new TestKernel(machine);
    await kernel.run(new IdeDriver().attach(kernel.ideFunction, kernel));
    expect(kernel.published).toHaveLength(1);
  });

  it('falls back to PIO where there are no bus master registers', async () => {
    const machine = new IdeMachine([
      { channel: 0, position: 'master', kind: 'disk', disk: new TestDisk(100) },
    ]);
    machine.writeConfig(0x20, 4, 0);
    const kernel = new TestKernel(machine);
    await kernel.run(new IdeDriver().attach(kernel.ideFunction, kernel));
    const [device] = kernel.published as GuestBlockDevice[];
    const memory = kernel.allocate(4096);
    await kernel.run(device.read(0, 8, memory));
    expect(machine.counters.snapshot()['device.ide0.bytes.read']).toBe(4096);
  });

  it('reads beyond 28 bits', async () => {
    const disk = new TestDisk(2 ** 33);
    const { kernel, devices } = await setUp({}, [{ channel: 0, position: 'master', kind: 'disk', disk }]);
    disk.poke(2 ** 32 + 7, pattern(512));
    const memory = kernel.allocate(4096);
    await kernel.run(devices[0].read(2 ** 32 + 7, 1, memory));
    expect(memory.bytes.subarray(0, 512)).toEqual(pattern(512));
  });

  it('carries one command at a time, in the order of the tasks', async () => {
    const { disk, kernel, devices, machine } = await setUp();
    disk.held = true;
    disk.log.length = 0;
    const order: number[] = [];
    const memory = kernel.allocate(64 * 1024);
    const settle = machine.settle.bind(machine);
    machine.settle = async () => {
      expect(disk.waiting).toBeLessThanOrEqual(1);
      disk.release();
      await settle();
    };
    let left = 8;
    function* reader(i: number): GuestTask {
      yield* devices[0].read(i * 8, 8, memory, i * 4096);
      order.push(i);
      left--;
    }
    for (let i = 0; i < 8; i++) kernel.spawn(`reader ${i}`, reader(i));
    await kernel.run(
      (function* () {
        while (left > 0) yield* devices[0].read(999, 1, memory, 8 * 4096);
      })(),
    );
    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(disk.log.slice(0, 2)).toEqual(['read 0+4096', 'read 4096+4096']);
  });

  it('throws what the drive reports, and goes on', async () => {
    const { disk, kernel, devices } = await setUp();
    const memory = kernel.allocate(4096);
    disk.failure = new Error('bad');
    await expect(kernel.run(devices[0].read(0, 1, memory))).rejects.toThrow(
      /ide0\.0: command 0xc8: .*error 0x40/,
    );
    await expect(kernel.run(devices[0].write(0, 1, memory))).rejects.toThrow(/ide0\.0/);
    disk.failure = undefined;
    await kernel.run(devices[0].read(0, 1, memory));
    await expect(kernel.run(devices[0].read(0, 9, memory))).rejects.toThrow(/do not fit/);
    await expect(kernel.run(devices[0].read(100_000, 1, memory))).rejects.toThrow(/error 0x10/);
  });

  it("costs the register accesses that libata's DMA read costs", async () => {
    const { machine, kernel, devices } = await setUp();
    const memory = kernel.allocate(4096);
    await kernel.run(devices[0].read(0, 8, memory));
    const before = machine.accesses;
    await kernel.run(devices[0].read(8, 8, memory));
    // Select 4, registers 7, bus master set-up and command 5, start 2, interrupt 8.
    expect(machine.accesses - before).toBe(26);
  });
});
