import type { MaybePromise } from '@kensho/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Disk } from './disk.ts';
import { createRamDisk } from './ram.ts';
import { SnapshotDisk } from './snapshot.ts';

const SECTOR = 512;
const SECTORS = 1024;
const SIZE = SECTOR * SECTORS;

function ram(): Disk {
  return createRamDisk({ sizeBytes: SIZE, id: '00000000-0000-4000-8000-000000000001' });
}

/** A disk whose operations end some turns later, reads with what is there at their end, as a slow disk's may. */
function slow(base: Disk, turns: () => number): Disk {
  const later = async (operation: () => MaybePromise<void>) => {
    for (let left = turns(); left > 0; left--) await Promise.resolve();
    await operation();
  };
  return new Proxy(base, {
    get(target, key) {
      if (key === 'read') return (...given: Parameters<Disk['read']>) => later(() => target.read(...given));
      if (key === 'write')
        return (...given: Parameters<Disk['write']>) => later(() => target.write(...given));
      const value: unknown = Reflect.get(target, key);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

async function contents(disk: Disk): Promise<Uint8Array> {
  const bytes = new Uint8Array(SIZE);
  await disk.read(0, [bytes]);
  return bytes;
}

const sector = (value: number) => new Uint8Array(SECTOR).fill(value);

describe('SnapshotDisk', () => {
  it('shows the disk as it was, whatever is written while it is taken and read', async () => {
    const write = fc.record({ at: fc.nat(SECTORS - 1), value: fc.integer({ min: 1, max: 255 }) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(write, { maxLength: 30 }),
        fc.array(write, { maxLength: 60 }),
        fc.array(fc.nat(20), { minLength: 20, maxLength: 20 }),
        fc.constantFrom(1, 7, 128, SECTORS),
        async (before, after, delays, pieceSectors) => {
          let delay = 0;
          const disk = new SnapshotDisk(slow(ram(), () => delays[delay++ % delays.length]));
          const model = new Uint8Array(SIZE);
          const busy = new Set<number>();
          const running: Promise<void>[] = [];
          // Writes that overlap have no order among themselves: each sector is written once at a time.
          const start = ({ at, value }: { at: number; value: number }) => {
            if (busy.has(at)) return;
            busy.add(at);
            model.fill(value, at * SECTOR, (at + 1) * SECTOR);
            running.push(
              Promise.resolve(disk.write(at * SECTOR, [sector(value)])).finally(() => busy.delete(at)),
            );
          };
          for (const one of before) start(one);
          const expected = model.slice();
          const taking = disk.snapshot();
          for (const one of after.slice(0, 10)) start(one);
          const snapshot = await taking;
          const shown = new Uint8Array(SIZE);
          let next = 10;
          for (let at = 0; at < SECTORS; at += pieceSectors) {
            const end = Math.min(SECTORS, at + pieceSectors) * SECTOR;
            const read = snapshot.read(at * SECTOR, [shown.subarray(at * SECTOR, end)]);
            if (next < after.length) start(after[next++]);
            await read;
          }
          await Promise.all(running);
          expect(Buffer.compare(shown, expected)).toBe(0);
          expect(Buffer.compare(await contents(snapshot), expected)).toBe(0);
          await snapshot.close();
          expect(Buffer.compare(await contents(disk), model)).toBe(0);
          await disk.close();
        },
      ),
      { numRuns: 40 },
    );
  });

  it('has one snapshot at a time, and closes it with itself', async () => {
    const disk = new SnapshotDisk(ram());
    const first = await disk.snapshot();
    await expect(disk.snapshot()).rejects.toMatchObject({ code: 'SNAPSHOT_EXISTS' });
    await first.close();
    await first.close();
    await disk.snapshot();
    await disk.close();
  });

  it('is written inline without a snapshot where the disk below is', async () => {
    const disk = new SnapshotDisk(ram());
    expect(disk.write(0, [sector(1)])).toBeUndefined();
    const snapshot = await disk.snapshot();
    expect(disk.write(0, [sector(2)])).toBeInstanceOf(Promise);
    await snapshot.close();
    expect(disk.write(0, [sector(3)])).toBeUndefined();
  });

  it('loses the snapshot, and no write of the guest, where it cannot keep what was there', async () => {
    const base = ram();
    let broken = false;
    const disk = new SnapshotDisk(
      new Proxy(base, {
        get(target, key) {
          if (key === 'read' && broken) return () => Promise.reject(new Error('unreadable'));
          const value: unknown = Reflect.get(target, key);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      }),
    );
    const snapshot = await disk.snapshot();
    broken = true;
    await disk.write(0, [sector(9)]);
    broken = false;
    await expect(contents(snapshot)).rejects.toThrow('unreadable');
    expect((await contents(disk))[0]).toBe(9);
  });
});
