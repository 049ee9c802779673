import {
  type CpuidResult,
  GpaAccess,
  GpaSpace,
  type GuestCpu,
  GuestFault,
  VirtualClock,
  VpExit,
  type VpIntercepts,
} from '@kensho/core';
import { describe, expect, it } from 'vitest';
import { KitEngine } from './kit-engine.ts';
import type { KitProgram } from './kit-vp.ts';

/** A hypervisor that has interrupts to deliver and remembers what the guest did. */
class FakeHypervisor implements VpIntercepts {
  readonly log: string[] = [];
  readonly vectors: number[] = [];
  portRead(port: number, sizeBytes: number): number {
    this.log.push(`in ${port.toString(16)}/${sizeBytes}`);
    return 0x44332211;
  }
  portWrite(port: number, sizeBytes: number, value: number): void {
    this.log.push(`out ${port.toString(16)}/${sizeBytes} ${value.toString(16)}`);
  }
  mmioRead(gpa: number): number {
    this.log.push(`mmio read ${gpa.toString(16)}`);
    return 7;
  }
  mmioWrite(gpa: number, _sizeBytes: number, value: number): void {
    this.log.push(`mmio write ${gpa.toString(16)} ${value.toString(16)}`);
  }
  msrRead(): boolean {
    return false;
  }
  msrWrite(): boolean {
    return false;
  }
  cpuid(_leaf: number, _subleaf: number, result: CpuidResult): void {
    result.ebx = 0x1234;
  }
  hypercall(): boolean {
    return false;
  }
  acknowledgeInterrupt(): number {
    const vector = this.vectors.shift() ?? -1;
    this.afterAcknowledge();
    return vector;
  }
  afterAcknowledge = () => {};
  readTaskPriority(): number {
    return 0;
  }
  writeTaskPriority(): void {}
}

function boot(program: KitProgram) {
  const clock = new VirtualClock();
  const options = {
    memoryPages: 16,
    overlayPages: 0,
    vpCount: 1,
    sharedMemory: false,
    clock,
    tscFrequencyHz: 2_000_000_000,
  };
  const engine = new KitEngine(options);
  const faults: unknown[] = [];
  engine.load(
    () => program,
    (error) => faults.push(error),
  );
  const gpa = new GpaSpace(engine.arena);
  gpa.map(0, engine.arena.take(16), 16, GpaAccess.ALL);
  const hypervisor = new FakeHypervisor();
  const vp = engine.createVp(0, gpa, hypervisor);
  hypervisor.afterAcknowledge = () => vp.setInterruptPending(hypervisor.vectors.length > 0);
  const raise = (...vectors: number[]) => {
    hypervisor.vectors.push(...vectors);
    vp.setInterruptPending(true);
  };
  return { vp, hypervisor, raise, faults, clock, gpa };
}

describe('KitVp', () => {
  it('turns instructions into intercepts, and RAM accesses into none', () => {
    const seen: number[] = [];
    const { vp, hypervisor, gpa } = boot(function* (cpu) {
      cpu.out(0x80, 1, 0x5a);
      seen.push(cpu.in(0xcfc, 4));
      cpu.store(0x2001, 2, 0xbeef);
      seen.push(cpu.load(0x2000, 4), cpu.load(0xfee00020, 4));
      cpu.store(0xfee000b0, 4, 0);
      cpu.store(0x3000, 4, 0x04030201);
      cpu.outs(0xe9, 1, 0x3000, 2);
      cpu.ins(0x1f0, 2, 0x3100, 2);
      seen.push(cpu.cpuid(1, 0).ebx, cpu.compareExchange(0x3000, 0x04030201, 9), cpu.load(0x3000, 4));
    });
    expect(vp.run(1000)).toBe(VpExit.ENDED);
    expect(seen).toEqual([0x44332211, 0x00beef00, 7, 0x1234, 0x04030201, 9]);
    expect(hypervisor.log).toEqual([
      'out 80/1 5a',
      'in cfc/4',
      'mmio read fee00020',
      'mmio write fee000b0 0',
      'out e9/1 1',
      'out e9/1 2',
      'in 1f0/2',
      'in 1f0/2',
    ]);
    const bytes = new Uint8Array(4);
    gpa.read(0x3100, bytes);
    expect([...bytes]).toEqual([0x11, 0x22, 0x11, 0x22]);
  });

  it('takes interrupts between instructions, only while they are on, and not nested', () => {
    const order: string[] = [];
    const machine = boot(function* (cpu) {
      cpu.setInterruptHandler(0x30, () => {
        order.push('30 begins');
        cpu.out(0x80, 1, 0);
        order.push('30 ends');
      });
      cpu.setInterruptHandler(0x31, () => order.push('31'));
      machine.raise(0x30, 0x31);
      cpu.out(0x80, 1, 0);
      order.push('off');
      cpu.sti();
      cpu.out(0x80, 1, 0);
      order.push('in the shadow of sti');
      cpu.out(0x80, 1, 0);
      order.push('after');
      yield undefined;
    });
    machine.vp.run(1000);
    expect(order).toEqual(['off', 'in the shadow of sti', '30 begins', '30 ends', '31', 'after']);
  });

  it('halts until an interrupt that it can take', () => {
    let woken = 0;
    const { vp, raise } = boot(function* (cpu) {
      cpu.setInterruptHandler(0x40, () => woken++);
      for (;;) {
        cpu.sti();
        yield 'hlt';
        cpu.cli();
      }
    });
    expect(vp.run(1000)).toBe(VpExit.HALT);
    expect(vp.run(1000)).toBe(VpExit.HALT);
    const retired = vp.instructionsRetired;
    vp.run(1000);
    expect(vp.instructionsRetired).toBe(retired);
    raise(0x40);
    expect(vp.run(1000)).toBe(VpExit.HALT);
    expect(woken).toBe(1);
  });

  it('does not lose an interrupt that comes before HLT', () => {
    let woken = false;
    const machine = boot(function* (cpu) {
      cpu.setInterruptHandler(0x40, () => {
        woken = true;
      });
      cpu.cli();
      machine.raise(0x40);
      cpu.sti();
      yield 'hlt';
    });
    expect(machine.vp.run(1000)).toBe(VpExit.ENDED);
    expect(woken).toBe(true);
  });

  it('stops at its budget, when asked to, and at PAUSE', () => {
    const { vp } = boot(function* (cpu: GuestCpu) {
      for (let i = 0; i < 10; i++) {
        cpu.out(0x80, 1, i);
        yield undefined;
      }
      vp.requestExit();
      yield undefined;
      yield 'pause';
    });
    expect(vp.run(5)).toBe(VpExit.BUDGET);
    expect(vp.instructionsRetired).toBe(6);
    expect(vp.run(1000)).toBe(VpExit.BUDGET);
    expect(vp.run(1000)).toBe(VpExit.YIELD);
    expect(vp.run(1000)).toBe(VpExit.ENDED);
    expect(vp.run(1000)).toBe(VpExit.ENDED);
  });

  it('turns refused instructions into faults of the guest, and escaped ones into a triple fault', () => {
    const caught: string[] = [];
    const { vp, faults } = boot(function* (cpu) {
      for (const instruction of [
        () => cpu.rdmsr(0x40000000, { lo: 0, hi: 0 }),
        () => cpu.wrmsr(0x40000000, 1, 0),
        () => cpu.memory(0x100000, 1),
        () => cpu.memory(0xf000, 0x2000),
        () => cpu.compareExchange(0xfee00000, 0, 0),
      ]) {
        try {
          instruction();
        } catch (error) {
          caught.push((error as GuestFault).message);
        }
      }
      yield undefined;
      throw new GuestFault('lost');
    });
    expect(vp.run(1000)).toBe(VpExit.TRIPLE_FAULT);
    expect(caught).toHaveLength(5);
    expect(faults).toEqual([new GuestFault('lost')]);
    expect(vp.run(1000)).toBe(VpExit.TRIPLE_FAULT);
  });

  it('faults thrice on an interrupt without a handler', () => {
    const machine = boot(function* (cpu) {
      cpu.sti();
      machine.raise(0x50);
      for (;;) yield undefined;
    });
    expect(machine.vp.run(1000)).toBe(VpExit.TRIPLE_FAULT);
  });

  it('counts its TSC from the clock', () => {
    const tsc = { lo: 0, hi: 0 };
    const machine = boot(function* (cpu) {
      machine.clock.advance(3e9);
      cpu.rdtsc(tsc);
    });
    machine.vp.run(10);
    expect(tsc.hi * 2 ** 32 + tsc.lo).toBe(6e9);
  });

  it('starts again at INIT and SIPI', () => {
    let starts = 0;
    const { vp } = boot(function* () {
      starts++;
      for (;;) yield 'pause';
    });
    vp.run(10);
    vp.init();
    expect(vp.run(10)).toBe(VpExit.HALT);
    vp.startup(8);
    vp.startup(8);
    vp.run(10);
    expect(starts).toBe(2);
  });

  it('ends the run with what the hypervisor throws, even if the program catches it', () => {
    const { vp, hypervisor, faults } = boot(function* (cpu) {
      try {
        cpu.out(0x80, 1, 0);
      } catch {}
      for (;;) yield undefined;
    });
    hypervisor.portWrite = () => {
      throw new Error('a device is broken');
    };
    expect(() => vp.run(1000)).toThrow('a device is broken');
    expect(faults).toEqual([]);
  });

  it('takes an error that an interrupt handler lets escape for a fault of the guest', () => {
    const { vp, raise, faults } = boot(function* (cpu) {
      cpu.setInterruptHandler(0x40, () => {
        throw new GuestFault('in the handler');
      });
      cpu.sti();
      yield 'hlt';
    });
    expect(vp.run(1000)).toBe(VpExit.HALT);
    raise(0x40);
    expect(vp.run(1000)).toBe(VpExit.TRIPLE_FAULT);
    expect(faults).toEqual([new GuestFault('in the handler')]);
  });

  it('splits accesses at the ends of pages, each part with its own rights', () => {
    const seen: number[] = [];
    const { vp, hypervisor, gpa } = boot(function* (cpu) {
      cpu.store(0x1ffe, 4, 0x04030201);
      seen.push(cpu.load(0x1ffe, 4), cpu.load(0x1ffd, 4));
      cpu.store(0x2fff, 2, 0xbbaa);
      cpu.store(0x3fff, 4, 0xddccbbaa);
      seen.push(cpu.load(0x3000, 1));
      yield undefined;
    });
    // The page behind 2FFFh is elsewhere in the arena, and may only be read.
    gpa.map(3, 8, 1, GpaAccess.READ);
    gpa.map(4, 9, 1, GpaAccess.ALL);
    vp.run(1000);
    expect(seen).toEqual([0x04030201, 0x03020100, 0]);
    expect(hypervisor.log).toEqual(['mmio write 3000 bb', 'mmio write 3fff aa']);
    expect([...gpa.arena.bytes.subarray(9 * 4096, 9 * 4096 + 3)]).toEqual([0xbb, 0xcc, 0xdd]);
  });

  it('waits for its SIPI whatever comes before, also after an INIT of its own', () => {
    let starts = 0;
    const { vp } = boot(function* () {
      if (starts++ === 0) vp.init();
      yield 'hlt';
      for (;;) yield 'pause';
    });
    expect(vp.run(10)).toBe(VpExit.HALT);
    vp.injectNmi();
    expect(vp.run(10)).toBe(VpExit.HALT);
    vp.init();
    vp.startup(8);
    expect(vp.run(10)).toBe(VpExit.HALT);
    expect(starts).toBe(2);
  });
});
