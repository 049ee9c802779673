import { describe, expect, it } from 'vitest';
import {
  type ConformanceSuite,
  emulatedDeviceConformance,
  runConformance,
  vscConformance,
  vspConformance,
} from '../src/index.ts';
import { ToyPorts, ToyVsp, toyPortsSubject, toyVscSubject, toyVspSubject } from './test-utils/toy.ts';

/** Every suite, run against devices that are wrong in one way each: which cases find it. */

const MALFORMED_REQUESTS = [
  'stands random payloads of all lengths',
  'stands empty payloads',
  'stands buffers that are not there',
  'stands requests with bits flipped',
  'stands requests with fields at their limits',
  'stands requests that are too short or too long',
];
const EVERY_VSP_CASE = vspConformance(toyVspSubject({})).cases.map(({ name }) => name);

type Row = readonly [wrong: string, suite: ConformanceSuite, failures: readonly string[]];

async function failuresOf(suite: ConformanceSuite): Promise<string[]> {
  return [...(await runConformance(suite)).keys()];
}

function shows(rows: readonly Row[]): void {
  it.each(rows)('%s', async (_wrong, suite, failures) => {
    expect(await failuresOf(suite)).toEqual(failures);
  });
}

const vsp = (make: () => ToyVsp, timeoutMs?: number) =>
  vspConformance(toyVspSubject({ vsp: make }, timeoutMs));

describe('the VSP suite finds a VSP that', () => {
  shows([
    ['is sound (it finds nothing)', vsp(() => new ToyVsp()), []],
    [
      'gives the wrong answer',
      vsp(
        () =>
          new (class extends ToyVsp {
            override answer(...[channel, lo, hi]: Parameters<ToyVsp['answer']>) {
              super.answer(channel, lo, hi, 3);
            }
          })(),
      ),
      EVERY_VSP_CASE,
    ],
    [
      'answers twice',
      vsp(
        () =>
          new (class extends ToyVsp {
            override answer(...one: Parameters<ToyVsp['answer']>) {
              super.answer(...one);
              super.answer(...one);
            }
          })(),
      ),
      EVERY_VSP_CASE,
    ],
    [
      'falls silent after a malformed packet',
      vsp(
        () =>
          new (class extends ToyVsp {
            #dead = false;

            override answer(...one: Parameters<ToyVsp['answer']>) {
              if (one[3] === undefined) this.#dead = true;
              if (!this.#dead) super.answer(...one);
            }
          })(),
      ),
      MALFORMED_REQUESTS,
    ],
    [
      'throws at a malformed packet',
      vsp(
        () =>
          new (class extends ToyVsp {
            override answer(...one: Parameters<ToyVsp['answer']>) {
              if (one[3] === undefined) throw new Error('what is this?');
              super.answer(...one);
            }
          })(),
      ),
      MALFORMED_REQUESTS,
    ],
    [
      'leaves a malformed packet without an answer',
      vsp(
        () =>
          new (class extends ToyVsp {
            override answer(...one: Parameters<ToyVsp['answer']>) {
              if (one[3] !== undefined) super.answer(...one);
            }
          })(),
      ),
      MALFORMED_REQUESTS,
    ],
    [
      'answers what asked for nothing',
      vsp(
        () =>
          new (class extends ToyVsp {
            override ready(channel: Parameters<ToyVsp['ready']>[0]) {
              for (let one = channel.read(); one !== undefined; one = channel.read()) {
                const value = one.payload.length === 8 ? one.payload[4] : undefined;
                this.answer(channel, one.transactionIdLo, one.transactionIdHi, value);
              }
            }
          })(),
      ),
      ['stands packets that ask for nothing', 'stands completions that nobody asked for'],
    ],
    [
      'never lets go of a channel',
      vsp(
        () =>
          new (class extends ToyVsp {
            override close() {
              return new Promise<void>(() => {});
            }
          })(),
        // All cases fail, so that nothing depends on how quick the machine is.
        100,
      ),
      EVERY_VSP_CASE,
    ],
    [
      'keeps its DMA domain',
      vspConformance(toyVspSubject({ freesDomain: false })),
      ['goes away when it is removed, and can be added again'],
    ],
  ]);
});

const ports = (make: () => ToyPorts) => emulatedDeviceConformance(toyPortsSubject({ ports: make }));

describe('the suite of emulated devices finds one that', () => {
  shows([
    ['is sound (it finds nothing)', ports(() => new ToyPorts()), []],
    [
      'throws at a width that it does not know',
      ports(
        () =>
          new (class extends ToyPorts {
            override read(offset: number, sizeBytes: number) {
              if (sizeBytes !== 1) throw new Error('bytes only');
              return super.read(offset, sizeBytes);
            }
          })(),
      ),
      [
        'answers every width at every port with a value of that width',
        'stands random accesses, and still works after them',
      ],
    ],
    [
      'answers with more bits than it was asked for',
      ports(
        () =>
          new (class extends ToyPorts {
            override read(offset: number, sizeBytes: number) {
              return sizeBytes === 1 ? this.values[offset] + 1 : 0;
            }
          })(),
      ),
      ['stands random accesses, and still works after them'],
    ],
    [
      'answers with negative numbers',
      ports(
        () =>
          new (class extends ToyPorts {
            override read(offset: number, sizeBytes: number) {
              return sizeBytes === 1 ? super.read(offset, 1) : -1;
            }
          })(),
      ),
      [
        'answers every width at every port with a value of that width',
        'stands random accesses, and still works after them',
      ],
    ],
    [
      'differs from run to run',
      (() => {
        let runs = 0;
        return ports(() => {
          const run = ++runs;
          return new (class extends ToyPorts {
            override read(offset: number, sizeBytes: number) {
              return this.values[offset] === 0 && sizeBytes === 1 ? run : super.read(offset, sizeBytes);
            }
          })();
        });
      })(),
      [
        'stands random accesses, and still works after them',
        'gives the same answers to the same accesses',
        'can be removed while it is in use, and added again',
      ],
    ],
    [
      'stops after nonsense',
      ports(
        () =>
          new (class extends ToyPorts {
            #stuck = false;

            override write(offset: number, sizeBytes: number, value: number) {
              if (sizeBytes !== 1) this.#stuck = true;
              if (!this.#stuck) super.write(offset, sizeBytes, value);
            }
          })(),
      ),
      ['stands random accesses, and still works after them'],
    ],
    [
      'keeps its ports',
      emulatedDeviceConformance(toyPortsSubject({ freesPorts: false })),
      ['frees its ports when it is removed', 'can be removed while it is in use, and added again'],
    ],
    [
      'claims fewer ports than it says',
      emulatedDeviceConformance(toyPortsSubject({ portCount: 3 })),
      [
        'does what its driver asks',
        'claims the ports that it names',
        'stands random accesses, and still works after them',
        'can be removed while it is in use, and added again',
      ],
    ],
  ]);
});

describe('the VSC suite finds a VSC that', () => {
  shows([
    ['is sound (it finds nothing)', vscConformance(toyVscSubject({})), []],
    ['loses a request', vscConformance(toyVscSubject({ losesRequest: 30 })), ['serves 64 users at once']],
    [
      'mixes up its answers',
      vscConformance(toyVscSubject({ mixesAnswers: true })),
      ['serves 64 users at once', 'fails the requests to a device that is taken away'],
    ],
    [
      'keeps publishing a device that is gone',
      vscConformance(toyVscSubject({ staysPublished: true })),
      [
        'withdraws its device when the host takes it away, and publishes a new one',
        'fails the requests to a device that is taken away',
        'gives back what it took, 100 times',
      ],
    ],
    [
      'lets requests wait for a device that is gone',
      vscConformance(toyVscSubject({ strandsRequests: true })),
      ['fails the requests to a device that is taken away'],
    ],
    [
      'does not free its rings',
      vscConformance(toyVscSubject({ keepsRings: true })),
      ['gives back what it took, 100 times'],
    ],
  ]);
});
