import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TestMachine } from '../enlightenment/test-utils/machine.ts';
import { ApicError, ApicRegister, DeliveryMode, IA32_APIC_BASE, Icr, LVT_MASKED } from './registers.ts';

const X2APIC = 0xfee00c00;

function enabled(vpCount = 1): TestMachine {
  const machine = new TestMachine({ vpCount });
  for (let vp = 0; vp < vpCount; vp++) machine.enableApic(vp);
  return machine;
}

function fixed(destination: number, vector: number, extra: object = {}) {
  return {
    vector,
    deliveryMode: 'fixed',
    levelTriggered: false,
    logicalDestination: false,
    destination,
    ...extra,
  } as const;
}

describe('priorities', () => {
  /** The rules of SDM 10.8.3 in their plainest form. */
  class Model {
    readonly irr = new Set<number>();
    readonly isr: number[] = [];
    tpr = 0;

    get ppr(): number {
      const inService = Math.max(0, ...this.isr) & 0xf0;
      return (this.tpr & 0xf0) >= inService ? this.tpr : inService;
    }
    get deliverable(): number {
      const highest = Math.max(-1, ...this.irr);
      return highest >> 4 > this.ppr >> 4 ? highest : -1;
    }
    acknowledge(): number {
      const vector = this.deliverable;
      if (vector >= 0) {
        this.irr.delete(vector);
        this.isr.push(vector);
      }
      return vector;
    }
    eoi(): void {
      if (this.isr.length > 0) this.isr.splice(this.isr.indexOf(Math.max(...this.isr)), 1);
    }
  }

  test('agree with a reference model', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('request' as const), vector: fc.integer({ min: 16, max: 255 }) }),
      fc.record({ kind: fc.constant('tpr' as const), value: fc.nat(255) }),
      fc.record({ kind: fc.constant('acknowledge' as const) }),
      fc.record({ kind: fc.constant('eoi' as const) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const machine = enabled();
        const vp = machine.vp();
        const model = new Model();
        for (const { kind, ...rest } of steps) {
          if (kind === 'request') {
            const { vector } = rest as { vector: number };
            vp.requestInterrupt(vector);
            model.irr.add(vector);
          } else if (kind === 'tpr') {
            model.tpr = (rest as { value: number }).value;
            vp.apicWrite(ApicRegister.TPR, 4, model.tpr);
          } else if (kind === 'acknowledge') {
            expect(vp.acknowledgeInterrupt()).toBe(model.acknowledge());
          } else {
            vp.apicWrite(ApicRegister.EOI, 4, 0);
            model.eoi();
          }
          expect(machine.processors[0].pending).toBe(model.deliverable >= 0);
          expect(vp.apicRead(ApicRegister.PPR, 4)).toBe(model.ppr);
          for (let word = 0; word < 8; word++) {
            expect(vp.apicRead(ApicRegister.IRR + word * 16, 4)).toBe(bits(model.irr, word));
            expect(vp.apicRead(ApicRegister.ISR + word * 16, 4)).toBe(bits(model.isr, word));
          }
        }
      }),
      { numRuns: 150 },
    );
  });

  function bits(vectors: Iterable<number>, word: number): number {
    let value = 0;
    for (const vector of vectors) if (vector >> 5 === word) value |= 1 << (vector & 31);
    return value >>> 0;
  }

  test('CR8 is the upper half of TPR', () => {
    const machine = enabled();
    machine.vp().writeTaskPriority(0xb);
    expect(machine.vp().apicRead(ApicRegister.TPR, 4)).toBe(0xb0);
    machine.vp().apicWrite(ApicRegister.TPR, 4, 0x57);
    expect(machine.vp().readTaskPriority()).toBe(5);
  });

  test('a software-disabled APIC loses interrupts but keeps those it has', () => {
    const machine = enabled();
    machine.vp().requestInterrupt(0x40);
    machine.vp().apicWrite(ApicRegister.SVR, 4, 0xff);
    machine.vp().requestInterrupt(0x50);
    expect(machine.drain()).toEqual([0x40]);
  });

  test('counts what was requested and what was delivered', () => {
    const machine = enabled();
    machine.vp().requestInterrupt(0x40);
    machine.vp().requestInterrupt(0x40);
    machine.drain();
    expect(machine.counters.snapshot()).toMatchObject({ 'interrupt.requested': 2, 'interrupt.delivered': 1 });
  });
});

describe('level-triggered interrupts', () => {
  test('EOI of one is reported, of an edge-triggered one it is not', () => {
    const machine = enabled();
    machine.platform.deliver(fixed(0, 0x60, { levelTriggered: true }));
    machine.platform.deliver(fixed(0, 0x61));
    expect(machine.vp().apicRead(ApicRegister.TMR + 0x30, 4)).toBe(1);
    expect(machine.drain()).toEqual([0x61, 0x60]);
    expect(machine.endsOfInterrupt).toEqual([0x60]);
  });

  test('a vector is what it was requested as last', () => {
    const machine = enabled();
    machine.platform.deliver(fixed(0, 0x60, { levelTriggered: true }));
    machine.drain();
    machine.platform.deliver(fixed(0, 0x60));
    machine.drain();
    expect(machine.endsOfInterrupt).toEqual([0x60]);
  });

  test('the listener may assert the line again at once', () => {
    const again = fixed(0, 0x60, { levelTriggered: true });
    let left = 2;
    const machine: TestMachine = new TestMachine({
      onEndOfInterrupt: () => {
        if (left-- > 0) machine.platform.deliver(again);
      },
    });
    machine.enableApic();
    machine.platform.deliver(again);
    expect(machine.drain()).toEqual([0x60, 0x60, 0x60]);
  });
});

describe('interrupt command register', () => {
  const send = (machine: TestMachine, from: number, low: number, destination = 0) => {
    machine.vp(from).apicWrite(ApicRegister.ICR_HIGH, 4, (destination << 24) >>> 0);
    machine.vp(from).apicWrite(ApicRegister.ICR_LOW, 4, low);
  };
  const receivers = (machine: TestMachine) =>
    machine.platform.vps.filter((_, index) => machine.drain(index).length > 0).map((vp) => vp.index);

  test.each([
    ['physical', 0x41, 2, [2]],
    ['physical broadcast', 0x41, 0xff, [0, 1, 2]],
    ['self', 0x41 | (1 << 18), 0, [1]],
    ['all including self', 0x41 | (2 << 18), 0, [0, 1, 2]],
    ['all excluding self', 0x41 | (3 << 18), 0, [0, 2]],
    ['nobody', 0x41, 77, []],
  ])('fixed, %s', (_name, low, destination, expected) => {
    const machine = enabled(3);
    send(machine, 1, low, destination);
    expect(receivers(machine)).toEqual(expected);
  });

  test('logical destinations in the flat and the cluster model', () => {
    const machine = enabled(4);
    for (let vp = 0; vp < 4; vp++) machine.vp(vp).apicWrite(ApicRegister.LDR, 4, (1 << vp) << 24);
    send(machine, 0, 0x41 | Icr.LOGICAL, 0b1010);
    expect(receivers(machine)).toEqual([1, 3]);
    for (let vp = 0; vp < 4; vp++) {
      machine.vp(vp).apicWrite(ApicRegister.DFR, 4, 0);
      machine.vp(vp).apicWrite(ApicRegister.LDR, 4, (((vp >> 1) << 4) | (1 << (vp & 1))) << 24);
    }
    send(machine, 0, 0x41 | Icr.LOGICAL, 0x13);
    expect(receivers(machine)).toEqual([2, 3]);
    send(machine, 0, 0x41 | Icr.LOGICAL, 0xf2);
    expect(receivers(machine)).toEqual([1, 3]);
  });

  test('lowest priority goes to the least busy of those addressed', () => {
    const machine = enabled(3);
    machine.vp(0).apicWrite(ApicRegister.TPR, 4, 0x50);
    machine.vp(1).apicWrite(ApicRegister.TPR, 4, 0x20);
    machine.vp(2).apicWrite(ApicRegister.TPR, 4, 0x30);
    send(machine, 0, 0x61 | (DeliveryMode.LOWEST_PRIORITY << 8), 0xff);
    expect(receivers(machine)).toEqual([1]);
  });

  test('lowest priority passes by an APIC that takes no interrupts', () => {
    const machine = enabled(2);
    machine.vp(1).apicWrite(ApicRegister.TPR, 4, 0x20);
    machine.vp(0).apicWrite(ApicRegister.SVR, 4, 0xff);
    send(machine, 0, 0x61 | (DeliveryMode.LOWEST_PRIORITY << 8), 0xff);
    expect(receivers(machine)).toEqual([1]);
  });

  test('INIT and SIPI start another VP; the de-assertion of INIT does nothing', () => {
    const machine = enabled(2);
    machine.vp(1).requestInterrupt(0x70);
    send(machine, 0, 0x4500 | Icr.LEVEL, 1);
    send(machine, 0, 0x0500 | Icr.LEVEL, 1);
    send(machine, 0, 0x4600 | 0x9a, 1);
    expect(machine.processors[1].events).toEqual(['init', `startup ${0x9a}`]);
    expect(machine.processors[1].pending).toBe(false);
    expect(machine.vp(1).apicRead(ApicRegister.SVR, 4)).toBe(0xff);
    expect(machine.vp(1).apicRead(ApicRegister.ID, 4)).toBe(1 << 24);
  });

  test('NMI reaches a VP whose APIC is not enabled by software', () => {
    const machine = new TestMachine({ vpCount: 2 });
    send(machine, 0, 0x4400, 1);
    expect(machine.processors[1].events).toEqual(['nmi']);
  });

  test('a reserved vector is an error, which has an interrupt of its own', () => {
    const machine = enabled(2);
    machine.vp(0).apicWrite(ApicRegister.LVT_ERROR, 4, 0xfe);
    send(machine, 0, 0x0f, 1);
    expect(machine.drain(0)).toEqual([0xfe]);
    expect(machine.drain(1)).toEqual([]);
    expect(machine.vp(0).apicRead(ApicRegister.ESR, 4)).toBe(0);
    machine.vp(0).apicWrite(ApicRegister.ESR, 4, 0);
    expect(machine.vp(0).apicRead(ApicRegister.ESR, 4)).toBe(ApicError.SEND_ILLEGAL_VECTOR);
    machine.vp(0).apicWrite(ApicRegister.ESR, 4, 0);
    expect(machine.vp(0).apicRead(ApicRegister.ESR, 4)).toBe(0);
  });
});

test('an error interrupt with a reserved vector of its own ends there', () => {
  const machine = enabled();
  machine.vp().apicWrite(ApicRegister.LVT_ERROR, 4, 0x05);
  machine.vp().requestInterrupt(0x05);
  machine.vp().apicWrite(ApicRegister.ESR, 4, 0);
  expect(machine.vp().apicRead(ApicRegister.ESR, 4)).toBe(ApicError.RECEIVE_ILLEGAL_VECTOR);
});

describe('ExtINT in virtual wire mode', () => {
  test('the 8259 is asked at the acknowledgement, whatever the task priority', () => {
    const machine = new TestMachine();
    machine.platform.setExternalInterruptSource(() => {
      machine.platform.setExternalInterrupt(false);
      return 0x08;
    });
    machine.vp().apicWrite(ApicRegister.TPR, 4, 0xff);
    machine.platform.setExternalInterrupt(true);
    expect(machine.processors[0].pending).toBe(true);
    expect(machine.vp().acknowledgeInterrupt()).toBe(0x08);
    expect(machine.processors[0].pending).toBe(false);
    expect(machine.vp().apicRead(ApicRegister.ISR, 4)).toBe(0);
  });

  test('masking LINT0 hides the line, unmasking shows it again', () => {
    const machine = enabled();
    machine.platform.setExternalInterrupt(true);
    machine.vp().apicWrite(ApicRegister.LVT_LINT0, 4, 0x10700);
    expect(machine.processors[0].pending).toBe(false);
    machine.vp().apicWrite(ApicRegister.LVT_LINT0, 4, 0x700);
    expect(machine.processors[0].pending).toBe(true);
  });

  test('a spurious ExtINT gives way to a fixed interrupt', () => {
    const machine = enabled();
    machine.platform.deliver(fixed(0, 0, { deliveryMode: 'extint' }));
    machine.vp().requestInterrupt(0x33);
    expect(machine.vp().acknowledgeInterrupt()).toBe(0x33);
    expect(machine.vp().acknowledgeInterrupt()).toBe(-1);
  });
});

describe('modes', () => {
  test('every transition of IA32_APIC_BASE', () => {
    const DISABLED = 0xfee00000;
    const XAPIC = 0xfee00800;
    const allowed: [number, number, boolean][] = [
      [DISABLED, XAPIC, true],
      [DISABLED, X2APIC, false],
      [XAPIC, DISABLED, true],
      [XAPIC, X2APIC, true],
      [X2APIC, XAPIC, false],
      [X2APIC, DISABLED, true],
    ];
    for (const [from, to, permitted] of allowed) {
      const machine = new TestMachine();
      machine.wrmsr(IA32_APIC_BASE, from);
      expect(machine.rdmsr(IA32_APIC_BASE)).toBe(BigInt(from | 0x100) & 0xffffffffn);
      expect(machine.wrmsr(IA32_APIC_BASE, to)).toBe(permitted);
    }
    const machine = new TestMachine();
    for (const bad of [0xfee00400, 0xfee00801, 0xfef00800, 0x1fee00800]) {
      expect(machine.wrmsr(IA32_APIC_BASE, bad)).toBe(false);
    }
  });

  test('registers are where the mode says', () => {
    const machine = enabled(2);
    expect(machine.rdmsr(0x802, 1)).toBeUndefined();
    machine.wrmsr(IA32_APIC_BASE, X2APIC, 1);
    expect(machine.vp(1).apicRead(ApicRegister.VERSION, 4)).toBe(0xffffffff);
    expect(machine.rdmsr(0x802, 1)).toBe(1n);
    expect(machine.rdmsr(0x803, 1)).toBe(0x50014n);
    expect(machine.rdmsr(0x80d, 1)).toBe(2n);
    // Software enable survives the switch.
    expect(machine.rdmsr(0x80f, 1)).toBe(0x1ffn);
    machine.wrmsr(0x83f, 0x77, 1);
    expect(machine.drainX2(1)).toEqual([0x77]);
  });

  test.each([
    ['ID is read-only', 0x802, 0],
    ['LDR is read-only', 0x80d, 0],
    ['APR does not exist', 0x809, 0],
    ['DFR does not exist', 0x80e, 0],
    ['ICR high does not exist', 0x831, 0],
    ['CMCI does not exist', 0x82f, 0],
    ['EOI takes only zero', 0x80b, 1],
    ['ESR takes only zero', 0x828, 1],
    ['TPR has 8 bits', 0x808, 0x100],
    ['upper halves are reserved', 0x808, 0x1_0000_0000],
    ['the timer entry has reserved bits', 0x832, 0x80000],
    ['ICR has reserved bits', 0x830, 0x1000],
    ['IRR is read-only', 0x820, 0],
  ])('#GP in x2APIC mode: %s', (_name, msr, value) => {
    const machine = enabled();
    machine.wrmsr(IA32_APIC_BASE, X2APIC);
    expect(machine.wrmsr(msr, value)).toBe(false);
  });

  test('x2APIC IPIs: physical, clustered logical and broadcast', () => {
    const machine = enabled(20);
    for (let vp = 0; vp < 20; vp++) machine.wrmsr(IA32_APIC_BASE, X2APIC, vp);
    const receivers = () => machine.platform.vps.filter((vp) => machine.drainX2(vp.index).length > 0).length;
    machine.wrmsr(0x830, (18n << 32n) | 0x41n);
    expect(machine.drainX2(18)).toEqual([0x41]);
    machine.wrmsr(0x830, (0x0001_0005n << 32n) | 0x841n);
    expect(machine.drainX2(16)).toEqual([0x41]);
    expect(machine.drainX2(18)).toEqual([0x41]);
    expect(receivers()).toBe(0);
    machine.wrmsr(0x830, (0xffff_ffffn << 32n) | 0x41n);
    expect(receivers()).toBe(20);
  });

  test('disabling resets the APIC and CPUID says so', () => {
    const machine = enabled();
    machine.vp().requestInterrupt(0x40);
    machine.wrmsr(IA32_APIC_BASE, 0xfee00000);
    expect(machine.processors[0].pending).toBe(false);
    const leaf = { eax: 0, ebx: 0, ecx: 0, edx: 0xffffffff };
    machine.vp().cpuid(1, 0, leaf);
    expect(leaf.edx & (1 << 9)).toBe(0);
    machine.wrmsr(IA32_APIC_BASE, 0xfee00800);
    expect(machine.vp().apicRead(ApicRegister.SVR, 4)).toBe(0xff);
  });
});

describe('the xAPIC page', () => {
  test('narrow reads see their part, narrow and misaligned writes do nothing', () => {
    const machine = enabled();
    expect(machine.vp().apicRead(ApicRegister.VERSION + 2, 1)).toBe(5);
    expect(machine.vp().apicRead(ApicRegister.VERSION + 8, 4)).toBe(0);
    machine.vp().apicWrite(ApicRegister.TPR, 1, 0x50);
    machine.vp().apicWrite(ApicRegister.TPR + 4, 4, 0x50);
    expect(machine.vp().apicRead(ApicRegister.TPR, 4)).toBe(0);
  });

  test('a register that does not exist is noted', () => {
    const machine = enabled();
    machine.vp().apicWrite(0x40, 4, 1);
    machine.vp().apicWrite(ApicRegister.ESR, 4, 0);
    expect(machine.vp().apicRead(ApicRegister.ESR, 4)).toBe(ApicError.ILLEGAL_REGISTER);
  });

  test('disabling by software masks every LVT entry for as long as it lasts', () => {
    const machine = enabled();
    machine.vp().apicWrite(ApicRegister.LVT_TIMER, 4, 0x20040);
    machine.vp().apicWrite(ApicRegister.SVR, 4, 0xff);
    machine.vp().apicWrite(ApicRegister.LVT_LINT1, 4, 0x400);
    expect(machine.vp().apicRead(ApicRegister.LVT_TIMER, 4)).toBe(0x20040 | LVT_MASKED);
    expect(machine.vp().apicRead(ApicRegister.LVT_LINT1, 4)).toBe(0x400 | LVT_MASKED);
  });

  test('any sequence of accesses is answered with unsigned values', () => {
    const access = fc.record({
      write: fc.boolean(),
      offset: fc.nat(0xfff),
      sizeBytes: fc.constantFrom(1, 2, 4),
      value: fc.integer({ min: 0, max: 0xffffffff }),
    });
    fc.assert(
      fc.property(fc.array(access, { maxLength: 60 }), (accesses) => {
        const machine = enabled(2);
        for (const { write, offset, sizeBytes, value } of accesses) {
          if (write) machine.vp().apicWrite(offset, sizeBytes, value);
          const read = machine.vp().apicRead(offset, sizeBytes);
          expect(Number.isInteger(read) && read >= 0 && read < 2 ** (8 * sizeBytes)).toBe(true);
        }
      }),
      { numRuns: 100 },
    );
  });
});
