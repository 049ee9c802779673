import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HvStatus } from '../hv-status.ts';
import { HvMsr, HvSynic } from './hv-msr.ts';
import { TestMachine } from './test-utils/machine.ts';

const VECTOR = 0xf3;
const SINT = 2;
const SIM_PAGE = 3;
const SIEF_PAGE = 4;
const SLOT = SIM_PAGE * 4096 + SINT * 256;
const FLAGS = SIEF_PAGE * 4096 + SINT * 256;

const enablePage = (page: number) => page * 4096 + 1;

/** SynIC on, pages placed, SINT2 as Linux programs it. */
function synicMachine(sint = VECTOR, unusedPages = 0): TestMachine {
  const machine = new TestMachine({}, unusedPages);
  machine.enableApic();
  machine.wrmsr(HvMsr.SIMP, enablePage(SIM_PAGE));
  machine.wrmsr(HvMsr.SIEFP, enablePage(SIEF_PAGE));
  machine.wrmsr(HvMsr.SINT0 + SINT, sint);
  machine.wrmsr(HvMsr.SCONTROL, 1);
  return machine;
}

const post = (machine: TestMachine, text: string) =>
  machine.vp().postMessage(SINT, 1, new TextEncoder().encode(text), 7);

/** Takes the message out of the slot as a guest does; undefined where it is empty. */
function take(machine: TestMachine): { text: string; pending: boolean } | undefined {
  if (machine.word(SLOT) === 0) return undefined;
  const page = machine.page(SIM_PAGE);
  const at = SINT * 256;
  const text = new TextDecoder().decode(page.subarray(at + 16, at + 16 + page[at + 4]));
  machine.setWord(SLOT, 0);
  return { text, pending: (page[at + 5] & 1) !== 0 };
}

describe('messages', () => {
  test('the slot holds type, size, sender and payload, and the SINT interrupts', () => {
    const machine = synicMachine();
    expect(post(machine, 'hello')).toBe(HvStatus.SUCCESS);
    expect([...machine.page(SIM_PAGE).subarray(0x200, 0x218)]).toEqual([
      ...[1, 0, 0, 0, 5, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0],
      ...new TextEncoder().encode('hello'),
      ...[0, 0, 0],
    ]);
    expect(machine.drain()).toEqual([VECTOR]);
    expect(machine.counters.snapshot()['synic.message']).toBe(1);
  });

  test('and flags reach the guest in a partition of more than 4 GiB', () => {
    const machine = synicMachine(VECTOR, 2 ** 20);
    expect(post(machine, 'a')).toBe(HvStatus.SUCCESS);
    expect(post(machine, 'b')).toBe(HvStatus.SUCCESS);
    expect(machine.vp().signalEvent(SINT, 9)).toBe(true);
    expect(machine.word(FLAGS)).toBe(1 << 9);
    expect(take(machine)).toEqual({ text: 'a', pending: true });
    machine.wrmsr(HvMsr.EOM, 0);
    expect(take(machine)).toEqual({ text: 'b', pending: false });
  });

  test('a busy slot is left alone and marked; EOM brings the next', () => {
    const machine = synicMachine();
    post(machine, 'a');
    expect(machine.page(SIM_PAGE)[0x205]).toBe(0);
    post(machine, 'b');
    post(machine, 'c');
    expect(machine.page(SIM_PAGE)[0x205]).toBe(1);
    expect(machine.drain()).toEqual([VECTOR]);
    expect(take(machine)).toEqual({ text: 'a', pending: true });
    machine.wrmsr(HvMsr.EOM, 0);
    expect(machine.drain()).toEqual([VECTOR]);
    expect(take(machine)).toEqual({ text: 'b', pending: true });
    machine.wrmsr(HvMsr.EOM, 0);
    expect(take(machine)).toEqual({ text: 'c', pending: false });
    machine.wrmsr(HvMsr.EOM, 0);
    expect(take(machine)).toBeUndefined();
    expect(machine.rdmsr(HvMsr.EOM)).toBe(0n);
  });

  test('an EOI brings the next too, whatever was in service', () => {
    const machine = synicMachine();
    post(machine, 'a');
    post(machine, 'b');
    machine.vp().acknowledgeInterrupt();
    take(machine);
    machine.wrmsr(HvMsr.EOI, 0);
    expect(take(machine)?.text).toBe('b');
    expect(machine.drain()).toEqual([VECTOR]);
  });

  test('the queue is bounded; a listener learns once that there is room', () => {
    const machine = synicMachine();
    let told = 0;
    const stop = machine.vp().onMessageSpace(SINT, () => told++);
    for (let i = 0; i < 17; i++) expect(post(machine, `${i}`)).toBe(HvStatus.SUCCESS);
    expect(post(machine, 'no')).toBe(HvStatus.INSUFFICIENT_BUFFERS);
    expect(told).toBe(0);
    take(machine);
    machine.wrmsr(HvMsr.EOM, 0);
    expect(told).toBe(1);
    take(machine);
    machine.wrmsr(HvMsr.EOM, 0);
    expect(told).toBe(1);
    stop();
    while (post(machine, 'more') === HvStatus.SUCCESS);
    take(machine);
    machine.wrmsr(HvMsr.EOM, 0);
    expect(told).toBe(1);
  });

  test('a full queue takes another message where the guest has emptied the slot', () => {
    const machine = synicMachine();
    for (let i = 0; i < 17; i++) post(machine, `${i}`);
    take(machine);
    expect(post(machine, 'last')).toBe(HvStatus.SUCCESS);
    expect(take(machine)?.text).toBe('1');
  });

  test('a listener may post at once, behind what is queued', () => {
    const machine = synicMachine();
    machine.vp().onMessageSpace(SINT, () => post(machine, 'late'));
    for (let i = 0; i < 18; i++) post(machine, `${i}`);
    const texts: string[] = [];
    for (let message = take(machine); message !== undefined; message = take(machine)) {
      texts.push(message.text);
      machine.wrmsr(HvMsr.EOM, 0);
    }
    expect(texts).toEqual([...Array.from({ length: 17 }, (_, i) => `${i}`), 'late']);
  });

  test.each([
    ['SynIC off', HvMsr.SCONTROL, 0],
    ['SIMP off', HvMsr.SIMP, SIM_PAGE * 4096],
  ])('%s: refused, and what was queued stays', (_name, msr, value) => {
    const machine = synicMachine();
    post(machine, 'a');
    post(machine, 'b');
    const before = machine.rdmsr(msr);
    machine.wrmsr(msr, value);
    expect(post(machine, 'c')).toBe(HvStatus.INVALID_SYNIC_STATE);
    machine.wrmsr(msr, before as bigint);
    expect(take(machine)?.text).toBe('a');
    machine.wrmsr(HvMsr.EOM, 0);
    expect(take(machine)?.text).toBe('b');
  });

  test('turning it on again delivers what waits', () => {
    const machine = synicMachine();
    post(machine, 'a');
    post(machine, 'b');
    machine.wrmsr(HvMsr.SCONTROL, 0);
    take(machine);
    machine.drain();
    machine.wrmsr(HvMsr.SCONTROL, 1);
    expect(machine.drain()).toEqual([VECTOR]);
    expect(take(machine)?.text).toBe('b');
  });

  test('the page keeps its contents when it moves, and uncovers what lay beneath', () => {
    const machine = synicMachine();
    machine.setWord(5 * 4096, 0x1234);
    post(machine, 'a');
    machine.wrmsr(HvMsr.SIMP, enablePage(5));
    expect(machine.word(5 * 4096 + 0x200)).toBe(1);
    expect(machine.word(SLOT)).toBe(0);
    machine.wrmsr(HvMsr.SIMP, enablePage(SIM_PAGE));
    expect(machine.word(5 * 4096)).toBe(0x1234);
    expect(take(machine)?.text).toBe('a');
  });

  test('a page beyond the GPA space is there, but out of sight', () => {
    const machine = synicMachine();
    machine.wrmsr(HvMsr.SIMP, (1n << 60n) | 1n);
    expect(machine.rdmsr(HvMsr.SIMP)).toBe((1n << 60n) | 1n);
    expect(post(machine, 'a')).toBe(HvStatus.SUCCESS);
    machine.wrmsr(HvMsr.SIMP, enablePage(SIM_PAGE));
    expect(take(machine)?.text).toBe('a');
  });

  test('a masked SINT takes messages without interrupts', () => {
    const machine = synicMachine(VECTOR | HvSynic.SINT_MASKED);
    expect(post(machine, 'a')).toBe(HvStatus.SUCCESS);
    expect(machine.drain()).toEqual([]);
    expect(take(machine)?.text).toBe('a');
  });

  test('what is too long, or for a SINT that is not there, is refused', () => {
    const machine = synicMachine();
    expect(machine.vp().postMessage(SINT, 1, new Uint8Array(241), 0)).toBe(HvStatus.INVALID_PARAMETER);
    expect(machine.vp().postMessage(16, 1, new Uint8Array(1), 0)).toBe(HvStatus.INVALID_PARAMETER);
  });

  test('none is lost, doubled or overtaken, whatever the guest does', () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.constant('post' as const) },
      { weight: 3, arbitrary: fc.constant('take' as const) },
      { weight: 2, arbitrary: fc.constant('eom' as const) },
      { weight: 1, arbitrary: fc.constant('eoi' as const) },
      { weight: 1, arbitrary: fc.constantFrom('synic on', 'synic off', 'simp on', 'simp off', 'simp moved') },
      { weight: 1, arbitrary: fc.constantFrom('mask', 'unmask', 'polling') },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const machine = synicMachine();
        const accepted: string[] = [];
        const received: string[] = [];
        let page = SIM_PAGE;
        const receive = () => {
          if (machine.word(page * 4096 + SINT * 256) === 0) return false;
          const bytes = machine.page(page).subarray(SINT * 256, SINT * 256 + 256);
          received.push(new TextDecoder().decode(bytes.subarray(16, 16 + bytes[4])));
          machine.setWord(page * 4096 + SINT * 256, 0);
          return true;
        };
        let visible = true;
        for (const [index, what] of steps.entries()) {
          switch (what) {
            case 'post':
              if (post(machine, `m${index}`) === HvStatus.SUCCESS) accepted.push(`m${index}`);
              break;
            case 'take':
              if (visible) receive();
              break;
            case 'eom':
              machine.wrmsr(HvMsr.EOM, 0);
              break;
            case 'eoi':
              machine.drain();
              break;
            case 'synic on':
            case 'synic off':
              machine.wrmsr(HvMsr.SCONTROL, what === 'synic on' ? 1 : 0);
              break;
            case 'simp moved':
              page = page === SIM_PAGE ? 9 : SIM_PAGE;
              visible = true;
              machine.wrmsr(HvMsr.SIMP, enablePage(page));
              break;
            case 'simp on':
            case 'simp off':
              visible = what === 'simp on';
              machine.wrmsr(HvMsr.SIMP, page * 4096 + (visible ? 1 : 0));
              break;
            default:
              machine.wrmsr(
                HvMsr.SINT0 + SINT,
                VECTOR |
                  (what === 'mask' ? HvSynic.SINT_MASKED : 0) |
                  (what === 'polling' ? HvSynic.SINT_POLLING : 0),
              );
          }
        }
        machine.wrmsr(HvMsr.SCONTROL, 1);
        machine.wrmsr(HvMsr.SIMP, enablePage(page));
        do machine.wrmsr(HvMsr.EOM, 0);
        while (receive());
        expect(received).toEqual(accepted);
      }),
      { numRuns: 150 },
    );
  });
});

describe('event flags', () => {
  test('a flag interrupts when it goes from 0 to 1, and not again', () => {
    const machine = synicMachine();
    expect(machine.vp().signalEvent(SINT, 37)).toBe(true);
    expect(machine.word(FLAGS + 4)).toBe(1 << 5);
    expect(machine.drain()).toEqual([VECTOR]);
    expect(machine.vp().signalEvent(SINT, 37)).toBe(true);
    expect(machine.drain()).toEqual([]);
    machine.setWord(FLAGS + 4, 0);
    machine.vp().signalEvent(SINT, 37);
    expect(machine.drain()).toEqual([VECTOR]);
    expect(machine.counters.snapshot()['synic.event']).toBe(3);
  });

  test('the first and the last flag of a SINT', () => {
    const machine = synicMachine();
    machine.vp().signalEvent(SINT, 0);
    machine.vp().signalEvent(SINT, 2047);
    expect(machine.word(FLAGS)).toBe(1);
    expect(machine.word(FLAGS + 252)).toBe(0x80000000);
    expect(machine.vp().signalEvent(SINT, 2048)).toBe(false);
    expect(machine.vp().signalEvent(16, 0)).toBe(false);
  });

  test.each([
    ['SynIC off', HvMsr.SCONTROL, 0],
    ['SIEFP off', HvMsr.SIEFP, 0],
    ['SINT masked', HvMsr.SINT0 + SINT, VECTOR | HvSynic.SINT_MASKED],
  ])('%s: refused, and the flag stays clear', (_name, msr, value) => {
    const machine = synicMachine();
    machine.wrmsr(msr, value);
    expect(machine.vp().signalEvent(SINT, 1)).toBe(false);
    machine.wrmsr(HvMsr.SIEFP, enablePage(SIEF_PAGE));
    expect(machine.word(FLAGS)).toBe(0);
  });

  test('polling sets flags without interrupts, masked or not', () => {
    for (const sint of [VECTOR | HvSynic.SINT_POLLING, VECTOR | HvSynic.SINT_POLLING | HvSynic.SINT_MASKED]) {
      const machine = synicMachine(sint);
      expect(machine.vp().signalEvent(SINT, 1)).toBe(true);
      expect(machine.word(FLAGS)).toBe(2);
      expect(machine.drain()).toEqual([]);
    }
  });
});

describe('SINTs', () => {
  test('AutoEOI: acknowledging leaves nothing in service', () => {
    const machine = synicMachine(VECTOR | HvSynic.SINT_AUTO_EOI);
    machine.vp().signalEvent(SINT, 1);
    expect(machine.vp().acknowledgeInterrupt()).toBe(VECTOR);
    machine.vp().signalEvent(SINT, 2);
    expect(machine.vp().acknowledgeInterrupt()).toBe(VECTOR);
    expect(machine.vp().apicRead(0x100 + 0x70, 4)).toBe(0);
  });

  test('without it the vector stays in service until EOI', () => {
    const machine = synicMachine();
    machine.vp().signalEvent(SINT, 1);
    expect(machine.vp().acknowledgeInterrupt()).toBe(VECTOR);
    machine.vp().signalEvent(SINT, 2);
    expect(machine.vp().acknowledgeInterrupt()).toBe(-1);
    machine.wrmsr(HvMsr.EOI, 0);
    expect(machine.vp().acknowledgeInterrupt()).toBe(VECTOR);
  });

  test('an IPI to the vector of an AutoEOI SINT is acknowledged like any other', () => {
    const machine = synicMachine(VECTOR | HvSynic.SINT_AUTO_EOI);
    machine.vp().signalEvent(SINT, 1);
    machine.vp().requestInterrupt(VECTOR);
    machine.vp().acknowledgeInterrupt();
    expect(machine.vp().apicRead(0x100 + 0x70, 4)).toBe(1 << (VECTOR & 31));
  });

  test('registers: values after reset, and what is refused', () => {
    const machine = new TestMachine();
    expect(machine.rdmsr(HvMsr.SINT0)).toBe(0x10000n);
    expect(machine.rdmsr(HvMsr.SVERSION)).toBe(1n);
    expect(machine.rdmsr(HvMsr.SCONTROL)).toBe(0n);
    expect(machine.wrmsr(HvMsr.SVERSION, 1)).toBe(false);
    expect(machine.wrmsr(HvMsr.SINT0, 15)).toBe(false);
    expect(machine.wrmsr(HvMsr.SINT0, 0x10000)).toBe(true);
    expect(machine.wrmsr(HvMsr.SINT0, 16)).toBe(true);
    // Reserved bits are preserved.
    expect(machine.wrmsr(HvMsr.SINT15, 0xabcd_0000_fff1_0020n)).toBe(true);
    expect(machine.rdmsr(HvMsr.SINT15)).toBe(0xabcd_0000_fff1_0020n);
  });
});
