import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestAdapter, TestPartition, testFrame } from '../../test-utils/network.ts';
import { createCable } from '../cable.ts';
import { type CaptureOptions, capture } from './capture.ts';
import { CaptureFile } from './capture-file.ts';
import { Direction, fileHeader, packetBlock, readCapture } from './pcapng.ts';
import { replay } from './replay.ts';

const MAC = ['02:00:00:00:00:01', '02:00:00:00:00:02'] as const;
let folder = '';
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-capture-'));
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

function record(name: string, options: Partial<CaptureOptions> = {}) {
  const file = path.join(folder, name);
  const partition = new TestPartition();
  const [left, right] = createCable(partition, partition);
  const near = new TestAdapter('near', MAC[0]);
  const far = new TestAdapter('far', MAC[1]);
  const farPort = right.connect(far);
  const port = capture(left, { file, ...options }, partition).connect(near);
  partition.settle();
  return { file, partition, near, far, port, farPort };
}

/** A capture of one frame out, one in a second later, and one that was left to the hardware. */
function sample(name: string): string {
  const { file, partition, port, farPort } = record(name, { epochMs: 1.7e12 });
  port.send({ bytes: testFrame(MAC[1], MAC[0]), vlanTag: 0x6005 });
  partition.advance(1000);
  farPort.send({ bytes: testFrame(MAC[0], MAC[1], [7]) });
  partition.settle();
  partition.clock.advance(1);
  port.send({ bytes: testFrame(MAC[1], MAC[0]), offload: { segmentPayloadBytes: 9 } });
  port.close();
  return file;
}

describe('capture', () => {
  it('writes both directions with times to the nanosecond, and passes everything on', () => {
    const frames = readCapture(fs.readFileSync(sample('a.pcapng')));
    const plain = testFrame(MAC[1], MAC[0]);
    expect(frames.map(({ timeNs, direction }) => [timeNs, direction])).toEqual([
      [0, Direction.OUTBOUND],
      [1e9, Direction.INBOUND],
      [expect.closeTo(1e9, -3), Direction.OUTBOUND],
    ]);
    expect([...frames[0].bytes]).toEqual([...plain.subarray(0, 12), 0x81, 0, 0x60, 5, ...plain.subarray(12)]);
    expect([...frames[1].bytes]).toEqual([...testFrame(MAC[0], MAC[1], [7])]);
  });

  it('captures a frame once, however often it was offered', () => {
    const { file, partition, near, port, farPort } = record('once.pcapng');
    near.room = 0;
    farPort.send({ bytes: testFrame(MAC[0], MAC[1]) });
    partition.settle();
    near.room = 5;
    port.receiveReady();
    expect(near.take()).toHaveLength(1);
    port.close();
    expect(readCapture(fs.readFileSync(file))).toHaveLength(1);
  });

  it('stops at its bound and counts the rest', () => {
    const { file, partition, far, port } = record('bound.pcapng', { maxBytes: 1000 });
    for (let i = 0; i < 100; i++) port.send({ bytes: testFrame(MAC[1], MAC[0]) });
    partition.settle();
    port.close();
    expect(far.take()).toHaveLength(100);
    const kept = readCapture(fs.readFileSync(file)).length;
    expect(kept).toBeGreaterThan(5);
    expect(partition.counters.snapshot()).toMatchObject({
      'network.near.capture.frames': kept,
      'network.near.capture.dropped': 100 - kept,
    });
    expect(fs.statSync(file).size).toBeLessThan(1200);
  });

  it('says in a line that it cannot write', () => {
    expect(() => record('no/such/folder')).toThrow(/cannot be written \(ENOENT\)/);
  });

  const hasTshark = spawnSync('tshark', ['--version']).status === 0;
  it.skipIf(!hasTshark)(
    `is read by tshark, with nothing malformed${hasTshark ? '' : ' (install tshark)'}`,
    () => {
      const fields = [
        'frame.time_epoch',
        'frame.packet_flags_direction',
        'vlan.id',
        'frame.comment',
        '_ws.malformed',
      ];
      const output = execFileSync(
        'tshark',
        [
          '-n',
          '-r',
          sample('shark.pcapng'),
          '-T',
          'fields',
          '-E',
          'separator=|',
          ...fields.flatMap((f) => ['-e', f]),
        ],
        { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
      );
      const rows = output
        .trimEnd()
        .split('\n')
        .map((line) => line.split('|').slice(1));
      expect(rows).toEqual([
        ['0x00000002', '5', '', ''],
        ['0x00000001', '', '', ''],
        ['0x00000002', '', 'left to the hardware: to be cut into segments of 9 bytes', ''],
      ]);
      expect(output).toMatch(/^1700000000\.000000000\|/);
    },
  );
});

describe('readCapture', () => {
  it('reads back what was written', () => {
    const frame = fc.record({
      bytes: fc.uint8Array({ minLength: 0, maxLength: 50 }),
      direction: fc.constantFrom(0 as const, 1 as const, 2 as const),
      comment: fc.option(fc.string({ maxLength: 9 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 10 }), (frames) => {
        const mac = Uint8Array.of(1, 2, 3, 4, 5, 6);
        const file = Buffer.concat([
          fileHeader({ name: 'a', description: 'b', mac }),
          ...frames.map((one, i) => packetBlock(BigInt(i) * 5n, one.direction, one.bytes, one.comment)),
        ]);
        expect(readCapture(file).map(({ bytes, ...rest }) => ({ ...rest, bytes: [...bytes] }))).toEqual(
          frames.map(({ bytes, direction }, i) => ({ timeNs: 5 * i, direction, bytes: [...bytes] })),
        );
      }),
      { numRuns: 50 },
    );
  });

  it.each([[], [0xd4, 0xc3, 0xb2, 0xa1]])('takes no other file for a capture: %j', (...bytes) => {
    expect(() => readCapture(Uint8Array.from(bytes))).toThrow(/no pcapng file/);
  });

  it('replaces captures and empty files only', () => {
    const file = path.join(folder, 'image');
    for (const there of [fileHeader({ name: 'nic', description: '', mac: new Uint8Array(6) }), '']) {
      fs.writeFileSync(file, there);
      new CaptureFile(file).close();
      expect(fs.statSync(file).size).toBe(0);
    }
    fs.writeFileSync(file, 'conectix');
    expect(() => new CaptureFile(file)).toThrow(/is no capture/);
    expect(fs.readFileSync(file, 'utf8')).toBe('conectix');
  });

  it('reads what is damaged or says where, and never anything else', () => {
    const file = fs.readFileSync(sample('damaged.pcapng'));
    fc.assert(
      fc.property(fc.nat(file.length - 1), fc.nat(255), fc.nat(file.length), (at, value, length) => {
        const damaged = Uint8Array.from(file.subarray(0, length));
        if (at < length) damaged[at] = value;
        try {
          expect(readCapture(damaged).length).toBeLessThanOrEqual(3);
        } catch (error) {
          expect(error).toMatchObject({ code: 'BAD_CAPTURE' });
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('replay', () => {
  it('gives the frames that came in at their times', () => {
    const frames = readCapture(fs.readFileSync(sample('replayed.pcapng')));
    const partition = new TestPartition();
    const adapter = new TestAdapter('nic', MAC[0]);
    replay(frames, { frames: 'all', speed: 2 }, partition).connect(adapter);
    partition.advance(0);
    expect(adapter.take()).toEqual([{ bytes: testFrame(MAC[1], MAC[0]), vlanTag: 0x6005 }]);
    partition.advance(499);
    expect(adapter.take()).toEqual([]);
    partition.advance(2);
    expect(adapter.take()).toHaveLength(2);
    const inbound = new TestAdapter('nic', MAC[0]);
    const port = replay(frames, {}, partition).connect(inbound);
    partition.advance(2000);
    expect(inbound.take()).toHaveLength(1);
    port.close();
  });
});
