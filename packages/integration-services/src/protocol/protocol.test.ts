import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DATA_FRAGMENT, StartFileCopy, WRITE_TO_FILE_BYTES, WriteToFile } from './file-copy.ts';
import {
  encodeIcMessage,
  encodeNegotiation,
  type IcMessage,
  type IcVersion,
  MAX_VERSIONS,
  newestCommon,
  parseIcMessage,
  parseNegotiation,
} from './icmsg.ts';
import {
  encodeKvpRequest,
  type KvpRequest,
  type KvpValue,
  parseEnumerated,
  parseIpInfo,
  parseKvpRequest,
} from './kvp.ts';
import { getText, putText } from './text.ts';
import { fromParentTime, toParentTime } from './time-sync.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const version = fc.record({ major: fc.nat(0xffff), minor: fc.nat(0xffff) });

describe('icmsg', () => {
  it('has every field where Linux looks for it', () => {
    const payload = encodeIcMessage({
      type: 3,
      framework: { major: 0x102, minor: 0x304 },
      version: { major: 0x506, minor: 0x708 },
      status: 0x80004005,
      transactionId: 9,
      flags: 3,
      body: Uint8Array.of(0xaa, 0xbb),
    });
    expect(hex(payload)).toBe(
      `${'01000000'}${'16000000'}${'02010403'}0300${'06050807'}0200${'05400080'}09030000aabb`,
    );
  });

  it('is read as it was written, also with padding behind it', () => {
    const message = fc.record({
      type: fc.nat(0xffff),
      framework: version,
      version,
      status: fc.nat(0xffff_ffff),
      transactionId: fc.nat(255),
      flags: fc.nat(255),
      body: fc.uint8Array({ maxLength: 50 }),
    });
    fc.assert(
      fc.property(message, fc.nat(7), (one: IcMessage, padding) => {
        const payload = Buffer.concat([encodeIcMessage(one), new Uint8Array(padding)]);
        const read = parseIcMessage(payload);
        expect(read && { ...read, body: Uint8Array.from(read.body) }).toEqual(one);
      }),
    );
  });

  it('is nothing else, whatever the bytes are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const message = parseIcMessage(bytes);
        if (message !== undefined) expect(message.body.length).toBeLessThanOrEqual(bytes.length - 28);
        parseNegotiation(bytes);
      }),
    );
  });

  it('negotiates: the newest version of ours that the other side has', () => {
    const versions = fc.array(version, { maxLength: 10 });
    fc.assert(
      fc.property(versions, versions, (frameworks, offered) => {
        expect(parseNegotiation(encodeNegotiation({ frameworks, versions: offered }))).toEqual({
          frameworks,
          versions: offered,
        });
      }),
    );
    const v = (major: number, minor = 0): IcVersion => ({ major, minor });
    expect(newestCommon([v(4), v(3), v(1)], [v(1), v(3), v(5)])).toEqual(v(3));
    expect(newestCommon([v(4)], [v(4, 1)])).toBeUndefined();
    const many = Array.from({ length: MAX_VERSIONS + 1 }, () => v(1));
    expect(parseNegotiation(encodeNegotiation({ frameworks: many, versions: [] }))).toBeUndefined();
  });
});

describe('text', () => {
  it('is UTF-16 with a terminator, and no more than fits', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 30 }), (given) => {
        const text = given.replaceAll('\0', '');
        const field = new Uint8Array(80).fill(0xff);
        expect(putText(field, 4, 70, text, 'it')).toBe(2 * text.length + 2);
        expect(getText(field, 4, 70)).toBe(text.toWellFormed());
      }),
      { examples: [['x'.repeat(34)]] },
    );
    expect(() => putText(new Uint8Array(8), 0, 8, 'four', 'it')).toThrow(
      expect.objectContaining({ code: 'TEXT_TOO_LONG' }),
    );
    expect(() => putText(new Uint8Array(8), 0, 8, 'a\0', 'it')).toThrow(
      expect.objectContaining({ code: 'BAD_TEXT' }),
    );
  });

  it('ends with its field where there is no terminator', () => {
    expect(getText(Uint8Array.of(0x61, 0, 0x62, 0, 0x63), 0, 5)).toBe('ab');
  });
});

describe('key-value pairs', () => {
  const text = fc.string({ maxLength: 100 }).map((one) => one.replaceAll('\0', ''));
  const value: fc.Arbitrary<KvpValue> = fc.oneof(
    fc.record({ type: fc.constant('string' as const), value: text }),
    fc.record({ type: fc.constant('u32' as const), value: fc.nat(0xffff_ffff) }),
    fc.record({ type: fc.constant('u64' as const), value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }),
  );
  const pool = fc.nat(255);
  const address = fc.stringMatching(/^[0-9a-f:.]{1,20}$/);
  const addresses = fc.array(address, { maxLength: 5 });
  const info = fc.record({
    adapterId: text,
    family: fc.nat(3),
    dhcp: fc.boolean(),
    addresses,
    subnets: addresses,
    gateways: addresses,
    dnsServers: addresses,
  });
  const request: fc.Arbitrary<KvpRequest> = fc.oneof(
    fc.record({ operation: fc.constant('get' as const), pool, key: text }),
    fc.record({ operation: fc.constant('set' as const), pool, key: text, value }),
    fc.record({ operation: fc.constant('delete' as const), pool, key: text }),
    fc.record({ operation: fc.constant('enumerate' as const), pool, index: fc.nat(0xffff_ffff) }),
    fc.record({ operation: fc.constant('get-ip' as const), info }),
    fc.record({ operation: fc.constant('set-ip' as const), info }),
  );
  const SIZES = { get: 2576, set: 2576, delete: 520, enumerate: 2580, 'get-ip': 7428, 'set-ip': 7428 };

  it('are read as they were written, in messages of Linux’s sizes', () => {
    fc.assert(
      fc.property(request, (one) => {
        const body = encodeKvpRequest(one);
        expect(body.length).toBe(SIZES[one.operation]);
        expect(parseKvpRequest(body)).toEqual(one);
      }),
    );
  });

  it('have their sizes with the terminator, where Linux looks for them', () => {
    const body = encodeKvpRequest({
      operation: 'set',
      pool: 3,
      key: 'ab',
      value: { type: 'string', value: 'c' },
    });
    expect(hex(body.subarray(0, 22))).toBe(`01030000${'01000000'}${'06000000'}${'04000000'}610062000000`);
    expect(hex(body.subarray(4 + 12 + 512, 4 + 12 + 512 + 4))).toBe('63000000');
  });

  it('are nothing else, whatever the bytes are', () => {
    const bytes = fc.tuple(
      fc.nat(8),
      fc.uint8Array({ maxLength: 30 }),
      fc.constantFrom(8, 520, 2576, 2580, 7428),
    );
    fc.assert(
      fc.property(bytes, ([operation, head, size]) => {
        const body = new Uint8Array(size);
        body.set(head.subarray(0, size));
        body[0] = operation;
        parseKvpRequest(body);
        parseEnumerated(body);
        parseIpInfo(body);
      }),
    );
  });

  it('take no number that is none', () => {
    for (const one of [
      { type: 'u32', value: 2 ** 32 },
      { type: 'u32', value: 0.5 },
      { type: 'u64', value: -1n },
      { type: 'u64', value: 2n ** 64n },
    ] satisfies KvpValue[]) {
      expect(() => encodeKvpRequest({ operation: 'set', pool: 0, key: 'k', value: one })).toThrow(
        expect.objectContaining({ code: 'BAD_VALUE' }),
      );
    }
  });
});

it('files may be larger than 4 GiB', () => {
  const start = StartFileCopy.encode({ fileSizeBytes: 0x1_2345_6789n });
  expect(hex(start.subarray(1080))).toBe('8967452301000000');
  const write = WriteToFile.encode({ offset: 0x10_0000_0001n, sizeBytes: DATA_FRAGMENT });
  expect(hex(write.subarray(40, 52))).toBe('010000001000000000180000');
  expect(WRITE_TO_FILE_BYTES).toBe(6196);
});

it('the host’s time is in 100 ns since 1601', () => {
  expect(toParentTime(0)).toBe(116_444_736_000_000_000n);
  expect(toParentTime(Date.UTC(1601, 0, 1))).toBe(0n);
  expect(fromParentTime(toParentTime(1_700_000_000_123.5))).toBe(1_700_000_000_123.5);
});
