import type { Struct, StructTable } from '@kensho/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { gpadlMessages, MAX_GPADL_PAGES, parseGpaRanges } from './gpadl.ts';
import * as m from './messages.ts';

type Layout = Pick<Struct<StructTable>, 'sizeBytes'> & { offsetOf(field: never): number };

// Sizes and offsets as Linux has them: include/linux/hyperv.h, structures declared __packed.
const LINUX: [string, Layout, number, Record<string, number>][] = [
  ['header', m.MESSAGE_HEADER, 8, { messageType: 0 }],
  ['INITIATE_CONTACT', m.INITIATE_CONTACT, 40, { version: 8, targetVp: 12, messageSint: 16, messageVtl: 17 }],
  ['INITIATE_CONTACT pages', m.INITIATE_CONTACT, 40, { monitorPage1Gpa: 24, monitorPage2Gpa: 32 }],
  [
    'VERSION_RESPONSE',
    m.VERSION_RESPONSE,
    16,
    { versionSupported: 8, connectionState: 9, messageConnectionId: 12 },
  ],
  ['OFFERCHANNEL', m.OFFERCHANNEL, 196, { interfaceId: 8, instanceId: 24, flags: 56, mmioMegabytes: 58 }],
  [
    'OFFERCHANNEL end',
    m.OFFERCHANNEL,
    196,
    { userData: 60, subChannelIndex: 180, relid: 184, monitorId: 188 },
  ],
  [
    'OFFERCHANNEL ids',
    m.OFFERCHANNEL,
    196,
    { monitorAllocated: 189, isDedicatedInterrupt: 190, connectionId: 192 },
  ],
  ['RESCIND_CHANNELOFFER', m.RESCIND_CHANNELOFFER, 12, { relid: 8 }],
  ['OPENCHANNEL', m.OPENCHANNEL, 148, { relid: 8, openId: 12, ringGpadl: 16, targetVp: 20 }],
  ['OPENCHANNEL end', m.OPENCHANNEL, 148, { downstreamPageOffset: 24, userData: 28 }],
  ['OPENCHANNEL_RESULT', m.OPENCHANNEL_RESULT, 20, { relid: 8, openId: 12, status: 16 }],
  ['CLOSECHANNEL', m.CLOSECHANNEL, 12, { relid: 8 }],
  ['GPADL_HEADER', m.GPADL_HEADER, 20, { relid: 8, gpadl: 12, rangeBufferLength: 16, rangeCount: 18 }],
  ['GPADL_BODY', m.GPADL_BODY, 16, { messageNumber: 8, gpadl: 12 }],
  ['GPADL_CREATED', m.GPADL_CREATED, 20, { relid: 8, gpadl: 12, status: 16 }],
  ['GPADL_TEARDOWN', m.GPADL_TEARDOWN, 16, { relid: 8, gpadl: 12 }],
  ['GPADL_TORNDOWN', m.GPADL_TORNDOWN, 12, { gpadl: 8 }],
  ['RELID_RELEASED', m.RELID_RELEASED, 12, { relid: 8 }],
  ['TL_CONNECT_REQUEST', m.TL_CONNECT_REQUEST, 40, { endpointId: 8, serviceId: 24 }],
  ['TL_CONNECT_RESULT', m.TL_CONNECT_RESULT, 44, { endpointId: 8, serviceId: 24, status: 40 }],
  ['MODIFYCHANNEL', m.MODIFYCHANNEL, 16, { relid: 8, targetVp: 12 }],
  ['MODIFYCHANNEL_RESPONSE', m.MODIFYCHANNEL_RESPONSE, 16, { relid: 8, status: 12 }],
];

describe('layouts', () => {
  it.each(LINUX)('%s', (_, layout, sizeBytes, offsets) => {
    expect(layout.sizeBytes).toBe(sizeBytes);
    for (const [field, offset] of Object.entries(offsets))
      expect(layout.offsetOf(field as never)).toBe(offset);
  });

  it('fit a SynIC message', () => {
    for (const rule of m.CHANNEL_MESSAGES.values()) {
      expect(rule.struct.sizeBytes).toBeLessThanOrEqual(m.MAX_MESSAGE_SIZE_BYTES);
    }
  });
});

describe('the message table', () => {
  it('has every message once, under its number', () => {
    expect([...m.CHANNEL_MESSAGES.keys()]).toEqual([
      ...Array.from({ length: 17 }, (_, i) => i + 1),
      21,
      22,
      23,
      24,
    ]);
    for (const [type, rule] of m.CHANNEL_MESSAGES) expect(m.ChannelMessageType[rule.name]).toBe(type);
  });

  it('knows versions newest first', () => {
    expect(m.VMBUS_VERSIONS.map(m.vmbusVersionName)).toEqual([
      '5.3',
      '5.2',
      '5.1',
      '5.0',
      '4.1',
      '4.0',
      '3.0',
      '2.4',
    ]);
  });

  it('says what is wrong with a message', () => {
    const modify = m.MODIFYCHANNEL.encode({ messageType: m.ChannelMessageType.MODIFYCHANNEL });
    const check = (
      message: Uint8Array,
      sender: 'guest' | 'host' = 'guest',
      version: number = m.VmbusVersion.WIN10_V5,
    ) => m.checkChannelMessage(message, sender, version);
    expect(check(modify)).toMatchObject({ name: 'MODIFYCHANNEL' });
    expect(check(new Uint8Array([...modify, 1, 2, 3]))).toMatchObject({ name: 'MODIFYCHANNEL' });
    expect(check(modify.subarray(0, 15))).toBe('short');
    expect(check(modify.subarray(0, 7))).toBe('short');
    expect(check(modify, 'host')).toBe('unknown');
    expect(check(modify, 'guest', m.VmbusVersion.WIN10)).toBe('version');
    for (const type of [0, 18, 19, 20, 25, 0xffff_ffff]) {
      expect(check(m.MESSAGE_HEADER.encode({ messageType: type }))).toBe('unknown');
    }
  });

  it('lets only a contact come before a version is agreed on', () => {
    const first = [...m.CHANNEL_MESSAGES.values()].filter(
      (r) => r.sender === 'guest' && r.minimumVersion === 0,
    );
    expect(first.map((r) => r.name)).toEqual(['INITIATE_CONTACT']);
  });
});

describe('GPADL messages', () => {
  const rangeBuffer = (messages: Uint8Array[]) => {
    const parts = messages.map((message, i) =>
      message.subarray(i === 0 ? m.GPADL_HEADER.sizeBytes : m.GPADL_BODY.sizeBytes),
    );
    return Uint8Array.from(parts.flatMap((part) => [...part]));
  };

  it('hold 26 pages in the header and 28 in each body, as a Linux guest has it', () => {
    const messages = gpadlMessages(1, 2, {
      offset: 0,
      sizeBytes: 64 * 4096,
      pages: Array.from({ length: 64 }, () => 1),
    });
    expect(messages.map((message) => message.length)).toEqual([20 + 8 + 26 * 8, 16 + 28 * 8, 16 + 10 * 8]);
    expect(m.GPADL_HEADER.read(messages[0])).toMatchObject({
      relid: 1,
      gpadl: 2,
      rangeBufferLength: 520,
      rangeCount: 1,
    });
    expect(m.GPADL_BODY.read(messages[2])).toMatchObject({ gpadl: 2 });
  });

  it('refuse more pages than their 16-bit length can say', () => {
    const pages = Array.from({ length: MAX_GPADL_PAGES + 1 }, () => 1);
    expect(() => gpadlMessages(1, 2, { offset: 0, sizeBytes: pages.length * 4096, pages })).toThrow(
      RangeError,
    );
  });

  it('give back what they were made of', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 2 ** 40 - 1 }), { minLength: 1, maxLength: 200 }),
        fc.nat(4095),
        fc.nat(4095),
        (pages, offset, spare) => {
          fc.pre(pages.length > 1 || offset + spare < 4096);
          const sizeBytes = pages.length * 4096 - offset - spare;
          const parsed = parseGpaRanges(rangeBuffer(gpadlMessages(1, 2, { offset, sizeBytes, pages })), 1);
          const whole = Math.ceil((offset + sizeBytes) / 4096);
          expect(parsed).toEqual([{ offset, sizeBytes, pages: Float64Array.from(pages.slice(0, whole)) }]);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('are read without harm whatever they hold', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(20), (buffer, rangeCount) => {
        const aligned = buffer.slice(0, buffer.length & ~7);
        for (const range of parseGpaRanges(aligned, rangeCount) ?? []) {
          expect(range.pages.length).toBe(Math.ceil((range.offset + range.sizeBytes) / 4096));
          expect(range.pages.every((page) => page < 2 ** 40)).toBe(true);
        }
      }),
    );
  });
});
