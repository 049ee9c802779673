import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { codeOf } from '../test-utils/kernel-error.ts';
import { decompressLz4Legacy } from './lz4.ts';
import { decompressPayload } from './payload.ts';

/** Made to look like code to the x86 filter of XZ, and to have long matches. */
const PLAIN = new Uint8Array(3000);
for (let i = 0, x = 1; i < PLAIN.length; i++) {
  x = (Math.imul(x, 1103515245) + 12345) >>> 0;
  const place = i % 20;
  if (place === 0) PLAIN[i] = 0xe8;
  else if (place < 4) PLAIN[i] = x >>> 28;
  else PLAIN[i] = place === 4 ? 0 : (i % 7) * 3;
}

const packed = (base64: string) => new Uint8Array(Buffer.from(base64, 'base64'));

/** {@link PLAIN} as the programs that Linux is built with compress it. */
const FILES: ReadonlyMap<string, Uint8Array> = new Map([
  ['gzip', gzipSync(PLAIN)],
  ['zstd', zstdCompressSync(PLAIN)],
  // xz --check=crc32 --x86 --lzma2=dict=32KiB
  [
    'XZ',
    packed(
      '/Td6WFoAAAFpIt42AgEEACEBBgBclPdV4Au3AcddAHQDfD7OTNAc2qFuM7gBO5XSuroqORT4aEx6v+0v1hwRNIC9SWoLTg+bOX5sP2B9EE1zWLuVGCTX7bey/A4Fb3V9Y2Y3DglFaXf7hXbhVEQsbAuUjJJ81oJRQj/Q/NzD6VSDJbB4ue9OC+A8DSaaZWJPMLr3SHGkSZDt1JrTXnnK3JWsbJDywEoZsrINbOnFfl+i4KmffszbHiNjZEx2YIXDU4lGOtTPLYO9ft2NI9dve/JTMIRmdRJqhrQruhdk1VE2684FtrxOU64do0SmQD4Uyrof0QVFQBQfiRyOsz2zLhpX3+lglWOvPoGRy//rh42uQYDsp9NrahQpBbXa9g+9tU7gQrjSmjjiWeTNn95uADkDgf64Ut0f9G6FDEt1YS4KsBrPw+LYtyr1yGdCbWrNuiWoErCHkPrJqRUnynGvX7gS9yKPWuaQI+jEFr8RGhwUiKLQDjSGleMwbugEJ8k2MIOjXDyQbcsWV3Z5pWgT0wCElLOYlrjVgFIdzfIE7AOn48LLKFZsGys+ZbeMYO3HPybN5m6ieZBMHa+ZubSFA+TsjVFKOHLgCDbIQJ0TRudApf3zcsyARyrfDhJZe6r6WZMIEYMAAACOVksnAAHfA7gXAAB30zKmPjANiwIAAAAAAVla',
    ),
  ],
  // xz --format=lzma --lzma1=dict=32KiB
  [
    'LZMA',
    packed(
      'XQCAAAD//////////wB0Ajw+zkzQHNqhbjO4AT0zzGVSUhla6RvCqBCOKc8hmQBcgNCUlf/Hw7I2d10ZQo2WoJeSYTGQhTgDmWTDQfccDT7GKQyf6EhulQ0xE0C9DSCEHLqGtSmj5GQL3L9nW2VAEAkkE9qmOEaUqMedY2uI+B1e2ixCWDqUgIReTGjqJ4bsrHf0UPI2H0nhLeAcXVEx7rLvFIj1en0Be38/o8Gwl47HXsvWDUYrwxPnH5v+rHMROtNjl2gnOhZBA0OlrA4XDjmSpztTXWKM+vWQ2Y5ksvGATVAddO4YS0pKDK+9M0xqefgGSbTPqyFRhMWfjmHHZ8jHWfjKsC+9jZq3utkPs4+Qje2hItbAZd0WS9ow17oqAj9fc9i28dRPHXTVznR7wye/u0GZhcqA5n0yW1+25czYu4GolV4GYbnNKvdTgEbkozWJ/FqQvC9sEPM9HyqkFmdthwAvKTBGu0jYiiPc38X4dub/6q/joA==',
    ),
  ],
  // bzip2 -9
  [
    'bzip2',
    packed(
      'QlpoOTFBWSZTWagEYLEABbngAX//kAAAQEACNDqorgaEYTTTRBFNqeMo0yjBqn4FUMgAkhA0Eyi0iiKOCJTS24p1nPCzQ1zb+wm1LHDsIA1vBAh8RECADbirzq63eeO3H97Qf1uusvL0Zq7yF+OL0+7avtdfWZTEsdwreDdxqOFLO96qeJ3h9WIzbVmEXrbgo6ZylHs758QIO/PbjzBVryFJlFIM543d3IxAHxt6cBjCygD7mmFUO/Z2JzVs74CQgg4x0bdeQFkIpr3dcudrqvYqurOGMbi4duzFLOa9kc3PPb8bKgdEHaWXqzY+th2z1zDY4hEpIQFqt9CEXmaPnvr42Vh8GNGGtO2edb8uzebxOXOYQkbnsk0qmOZRjIey9pe3nsJEiQgGdbgSPNjVvdpVpmrHGWNuDstcUaw0V0weY81vTAQ7vmaFs7i85pqs9nCw0XdsiR8CQge1hvvYtR3w8PHdUKXy/xkqP2I3I9VLhEypjYFp2MgrhCrlNLYg32cs+m43qPxJGQSEDIRoEhA5z79Rm1QrSyVlVwm0Reyky1iD4GieMVzCBTtL2KGO1VPDQooZQRaCkpyOhudEEkWDjEzxNcaWGmZKp/i7kinChIVAIwWI',
    ),
  ],
  // lz4 -l -9
  [
    'LZ4',
    packed(
      'AiFMGEQDAADE6AkCDAAPEgADBgkMBwBq6AkFAgAMFQBq6AMHAQAJFQBq6AcECAAGFQBq6AkKAQADFQBb6AIBDgAVAFroCwEDAHcAThLoCwuMAD0KBQqMAD0CDAOMAD0JAwqMAD0MCgWMAD0KBASMAD0OBgWMAD0KBA+MAD0ADw+MAD0LAgiMAD0LDAeMAD4ACQeMAC0IC4wAPQUNDIwAPQEFCYwAPQsDBowAPQ0MBowALggJpAE9DwQDjAA9BgEDjAA9AgwGjAA+Aw4FMAItBg6MAC4ECxgBPgMDBYwAHgekAT0EDgGMAD4GBgikAR4FMAIuDQG8Aj4BCw0YAS0PA4wAPQcLDYwAPQ4LAowAPgMOAaQBLQ0DjAAuDwUwAj0AAAyMAD0BAgGMAC4DDDACPQUKCIwAPQcPCYwALg4EjAAuAwGMAC4EAowAPQkBBowAPgIGCbwCHgMwAj0NDA+MAD0MDgqMAC8HCzACAB4CvAI9AQQNjAA+CgoIvAIPSAMALgsN1AM9CAwGjAA9AgMAjAA9DgYKjAA+AggCGAEeBaQBPQEABYwAPQEIC4wAPgAJDWAEHg3sBC4OBLwCPQAFBIwAPQgDDowALg0CGAEvAwfUAwAeDxgBPQsNB4wALgoP1AM+CgkJjAAeBIwALgkIeAUfCmAEAD4FAAtgBB4AGAE9BwYCjAAuDQoYAT4OBwQYAS4HDOwELQMOjAA+CQUAYAQeDLwCLg8JMAI+DAgLYAQPeAUBHgLUAy8IDpAGAB4IeAU+DgMNqActDA6MAC4OBYwAHQmTB04D6AwJ7AQfD4wAAD0MBAeMAC4BD3gFLgQPjAAvAg2kAQEOSAM/CAcOBAYAHgqkAQ94BQAuCw7UAz4CCQ+oBy0DDowAHwUYAQA/Ag0NYAQAHgJIAy4NAngFLg4BGAEuDAXsBA+QBgAuCg4cBz4JCQnACC4DDWAELQ4IjAA+CAALkAYPwAgAPgUKDEwJHg14BS4LD+wEPQ8JAIwALgIL7AQuDg+8Ai4BBWQKLgUGkAYuCQ1kCj4LCAbUAx4L1AMuBwmQBj8LBQWkAQAOeAUuDgYwAi4ICNQDLgoFHAcuDgxIAy4FB+wELgQPeAUoBwrwClASAAMGCQ==',
    ),
  ],
]);

const LIMIT = 2 ** 20;

/** What the kernel's build makes of a compressed file: gzip ends with the size anyway. */
function payloadOf(name: string, sizeBytes = PLAIN.length): Uint8Array {
  const file = FILES.get(name) as Uint8Array;
  if (name === 'gzip') return file;
  return Buffer.concat([file, new Uint8Array(Uint32Array.of(sizeBytes).buffer)]);
}
const unpack = (bytes: Uint8Array, limit = LIMIT) =>
  decompressPayload({ name: 'vmlinuz', bytes }, bytes, limit);

describe.each([...FILES.keys()])('%s', (name) => {
  it('unpacks', async () => {
    expect(Buffer.compare(await unpack(payloadOf(name)), PLAIN)).toBe(0);
  });

  it('refuses another size than announced, and one beyond the limit', async () => {
    expect(await codeOf(() => unpack(payloadOf(name), PLAIN.length - 1))).toBe('CORRUPT_KERNEL');
    if (name === 'gzip') return;
    expect(await codeOf(() => unpack(payloadOf(name, PLAIN.length - 1)))).toBe('CORRUPT_KERNEL');
    expect(await codeOf(() => unpack(payloadOf(name, PLAIN.length + 1)))).toBe('CORRUPT_KERNEL');
  });

  it('survives whatever the file has become', async () => {
    const payload = payloadOf(name);
    const change = fc.record({
      at: fc.nat(payload.length - 1),
      value: fc.nat(255),
      keep: fc.integer({ min: 7, max: payload.length }),
    });
    await fc.assert(
      fc.asyncProperty(change, async ({ at, value, keep }) => {
        const damaged = payload.slice();
        damaged[at] = value;
        const end = payload.subarray(payload.length - 4);
        const cut = Buffer.concat([damaged.subarray(0, Math.min(keep, payload.length - 4)), end]);
        expect(['nothing', 'CORRUPT_KERNEL', 'UNSUPPORTED_KERNEL']).toContain(
          await codeOf(() => unpack(cut)),
        );
      }),
      { numRuns: 60 },
    );
  });
});

it('names what it cannot unpack', async () => {
  const lzo = Uint8Array.of(0x89, 0x4c, 0x5a, 0x4f, 0, 0x0d, 0x0a, 0x1a, 0x0a);
  await expect(unpack(lzo)).rejects.toMatchObject({
    code: 'UNSUPPORTED_KERNEL',
    message: expect.stringMatching(/^vmlinuz: .*LZO.*zstd/),
  });
  await expect(unpack(Uint8Array.of(1, 2, 3, 4, 5, 6, 7))).rejects.toMatchObject({
    code: 'UNSUPPORTED_KERNEL',
    message: expect.stringContaining('01 02 03 04 05 06'),
  });
  expect(await codeOf(() => unpack(new Uint8Array(0)))).toBe('UNSUPPORTED_KERNEL');
});

describe('LZ4 blocks', () => {
  const frame = (...block: number[]) => Uint8Array.of(2, 0x21, 0x4c, 0x18, block.length, 0, 0, 0, ...block);

  it('repeat what overlaps itself, and have lengths over 255', () => {
    // One literal, then a match of 4 + 15 + 255 + 1 bytes at distance 1, then one literal.
    const bytes = frame(0x1f, 7, 1, 0, 255, 1, 0x10, 9);
    const expected = new Uint8Array(277).fill(7);
    expected[276] = 9;
    expect(decompressLz4Legacy(bytes, 277)).toEqual(expected);
  });

  it('do not reach back beyond their beginning', () => {
    const block = [0x10, 7];
    const two = Uint8Array.of(...frame(...block), 5, 0, 0, 0, 0x00, 1, 0, 0x10, 9);
    expect(() => decompressLz4Legacy(two, 6)).toThrow(/before the beginning/);
    expect(() => decompressLz4Legacy(frame(0x10, 7, 0x00, 0, 0, 0x10, 9), 6)).toThrow(RangeError);
  });
});
