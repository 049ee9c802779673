import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '@kensho/core';
import { VirtualClock } from '@kensho/core';
import { afterAll, describe, expect, it } from 'vitest';
import { HostFile } from './host-file.ts';
import { InlinePolicy } from './io-policy.ts';
import { pattern, split } from './test-utils/byte-model.ts';

const directory = mkdtempSync(join(tmpdir(), 'kensho-host-file-'));
afterAll(() => rmSync(directory, { recursive: true }));
let files = 0;
const newPath = () => join(directory, `file-${files++}`);

describe('a file of the host', () => {
  it.each([
    ['one view', 4096, 4096],
    ['guest pages', 65536, 4096],
    ['more views than one call takes, inline', 60 * 1024, 40],
    ['more views than one call takes, on the pool', 512 * 1024, 256],
  ])('writes and reads %s, in shared memory', async (_, lengthBytes, pieceBytes) => {
    const file = HostFile.create(newPath());
    const shared = new Uint8Array(new SharedArrayBuffer(lengthBytes));
    shared.set(pattern(lengthBytes, 3));
    await file.write(1000, split(shared, pieceBytes));
    expect(file.sizeBytes).toBe(1000 + lengthBytes);
    const got = new Uint8Array(new SharedArrayBuffer(lengthBytes));
    await file.read(1000, split(got, pieceBytes + 24));
    expect(Buffer.compare(got, shared)).toBe(0);
    await file.flush();
    await file.close();
    expect(readFileSync(file.name).subarray(1000).equals(shared)).toBe(true);
  });

  it('grows by zeroes and refuses to read beyond its end', async () => {
    const file = HostFile.create(newPath());
    file.truncate(8192);
    const got = new Uint8Array(4096).fill(1);
    await file.read(4096, [got]);
    expect(got.every((byte) => byte === 0)).toBe(true);
    expect(() => file.read(4097, [got])).toThrow(/8192 bytes long, shorter than the 8193 needed/);
    await file.close();
  });

  it('says what to do where it cannot be opened', () => {
    expect(() => HostFile.open(newPath())).toThrow(/no such file; check the path/);
    expect(() => HostFile.open(directory)).toThrow(/not a regular file/);
    const path = newPath();
    writeFileSync(path, 'x');
    expect(() => HostFile.create(path)).toThrow(expect.objectContaining({ code: 'DISK_EXISTS' }));
  });

  it('is open for writing once, or for reading often', async () => {
    const path = newPath();
    writeFileSync(path, 'x');
    const reader = HostFile.open(path, { readOnly: true });
    const second = HostFile.open(path, { readOnly: true });
    expect(() => HostFile.open(path)).toThrow(expect.objectContaining({ code: 'DISK_IN_USE' }));
    await reader.close();
    await second.close();
    const writer = HostFile.open(path);
    for (const readOnly of [true, false])
      expect(() => HostFile.open(path, { readOnly })).toThrow(/already open for writing/);
    await writer.close();
    await HostFile.open(path).close();
  });
});

describe('the choice between inline and pool', () => {
  class SteppedClock implements Clock {
    readonly virtual = false;
    #nowNs = 0;
    stepNs = 0;
    nowNs(): number {
      return (this.#nowNs += this.stepNs);
    }
  }

  /** How many of the next small operations are kept off the partition's thread. */
  function pauseAfterOne(policy: InlinePolicy): number {
    policy.run(() => {});
    let count = 0;
    while (!policy.inline(4096)) count++;
    return count;
  }

  it('runs small operations inline and large ones on the pool', () => {
    const policy = new InlinePolicy(new VirtualClock());
    expect([policy.inline(512), policy.inline(65536), policy.inline(65537)]).toEqual([true, true, false]);
  });

  it('backs off from a slow host, longer each time, until an operation was quick', () => {
    const clock = new SteppedClock();
    const policy = new InlinePolicy(clock);
    clock.stepNs = 1_000_000;
    expect([pauseAfterOne(policy), pauseAfterOne(policy), pauseAfterOne(policy)]).toEqual([16, 32, 64]);
    for (let i = 0; i < 10; i++) pauseAfterOne(policy);
    expect(pauseAfterOne(policy)).toBe(1024);
    clock.stepNs = 1000;
    expect(pauseAfterOne(policy)).toBe(0);
    clock.stepNs = 1_000_000;
    expect(pauseAfterOne(policy)).toBe(16);
  });
});
