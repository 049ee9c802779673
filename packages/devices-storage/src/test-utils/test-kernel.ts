import { devfnOf } from '@kensho/chipset';
import {
  type GuestCpu,
  type GuestDeviceClass,
  type GuestEvent,
  type GuestKernel,
  type GuestPages,
  type GuestPciFunction,
  type GuestTask,
  PAGE_SIZE,
} from '@kensho/core';
import type { IdeMachine } from './ide-machine.ts';

/** A guest's kernel on an {@link IdeMachine}: instructions, interrupts between them, tasks, pages, a clock. */
export class TestKernel implements GuestKernel {
  readonly cpu: GuestCpu;
  readonly published: { readonly name: string }[] = [];
  readonly lines: string[] = [];
  readonly #machine: IdeMachine;
  readonly #handlers = new Map<number, () => void>();
  readonly #pending = new Set<number>();
  #inHandler = false;
  #ready: GuestTask[] = [];
  #nowNs = 0;
  #nextPage = 256;

  constructor(machine: IdeMachine) {
    this.#machine = machine;
    machine.onRise = (gsi) => this.#pending.add(gsi);
    const unused = () => {
      throw new Error('not an instruction of this test');
    };
    this.cpu = {
      index: 0,
      in: (port, sizeBytes) => this.#instruction(() => machine.in(port, sizeBytes)),
      out: (port, sizeBytes, value) => this.#instruction(() => machine.out(port, value, sizeBytes)),
      ins: (port, sizeBytes, gpa, count) => {
        for (let i = 0; i < count; i++) {
          const bytes = new Uint8Array(4);
          new DataView(bytes.buffer).setUint32(0, machine.in(port, sizeBytes), true);
          machine.store(gpa + i * sizeBytes, bytes.subarray(0, sizeBytes));
          this.#deliver();
        }
      },
      outs: (port, sizeBytes, gpa, count) => {
        for (let i = 0; i < count; i++) {
          const bytes = new Uint8Array(4);
          bytes.set(machine.memory(gpa + i * sizeBytes, sizeBytes));
          machine.out(port, new DataView(bytes.buffer).getUint32(0, true), sizeBytes);
          this.#deliver();
        }
      },
      load: unused,
      store: unused,
      compareExchange: unused,
      rdmsr: unused,
      wrmsr: unused,
      cpuid: unused,
      vmcall: unused,
      rdtsc: unused,
      setInterruptHandler: unused,
      sti() {},
      cli() {},
      memory: unused,
    };
  }

  /** The IDE function. */
  get ideFunction(): GuestPciFunction {
    const machine = this.#machine;
    return {
      bus: 0,
      device: 7,
      fn: 1,
      vendorId: machine.readConfig(0, 2),
      deviceId: machine.readConfig(2, 2),
      classCode: machine.readConfig(8, 4) >>> 8,
      read: (offset, sizeBytes) => machine.readConfig(offset, sizeBytes, devfnOf(7, 1)),
      write: (offset, sizeBytes, value) => machine.writeConfig(offset, sizeBytes, value, devfnOf(7, 1)),
    };
  }

  /** Pages that lie at the end of the arena in order, as contiguous memory of a guest does. */
  allocate(sizeBytes: number): GuestPages {
    const count = Math.ceil(sizeBytes / PAGE_SIZE);
    const first = this.#nextPage;
    this.#nextPage += count;
    const { gpa } = this.#machine;
    const arenaFirst = first;
    gpa.map(first, arenaFirst, count, 3);
    const bytes = gpa.arena.bytes.subarray(arenaFirst * PAGE_SIZE, (arenaFirst + count) * PAGE_SIZE).fill(0);
    const pages = Array.from({ length: count }, (_, i) => first + i);
    return { gpa: first * PAGE_SIZE, sizeBytes: count * PAGE_SIZE, pages, bytes, free() {} };
  }

  spawn(_name: string, task: GuestTask): void {
    this.#ready.push(task);
  }

  connectInterrupt(gsi: number, handler: () => void): void {
    this.#handlers.set(gsi, handler);
  }

  *sleep(ns: number): GuestTask {
    this.#nowNs += ns;
    yield undefined;
  }

  nowNs(): number {
    return this.#nowNs;
  }

  print(line: string): void {
    this.lines.push(line);
  }

  publish<T extends { readonly name: string }>(_deviceClass: GuestDeviceClass<T>, device: T): void {
    this.published.push(device);
  }

  withdraw(): void {}

  /** Runs a task, and all that were spawned, to the end; throws what it throws. */
  async run<T>(main: GuestTask<T>): Promise<T> {
    let outcome: { value: T } | undefined;
    let failure: unknown;
    this.spawn(
      'main',
      (function* () {
        try {
          outcome = { value: yield* main };
        } catch (error) {
          failure = error;
        }
      })(),
    );
    for (let idle = 0; outcome === undefined && failure === undefined; ) {
      const batch = this.#ready;
      this.#ready = [];
      for (const task of batch) {
        const step = task.next();
        if (step.done === true) continue;
        if (step.value === undefined) this.#ready.push(task);
        else (step.value as GuestEvent).subscribe(() => this.#ready.push(task));
      }
      if (batch.length > 0) {
        idle = 0;
        continue;
      }
      if (++idle > 50) throw new Error('every task waits and nothing comes');
      await this.#machine.settle();
      this.#deliver();
    }
    if (failure !== undefined) throw failure;
    return (outcome as { value: T }).value;
  }

  #instruction<T>(access: () => T): T {
    const result = access();
    this.#deliver();
    return result;
  }

  /** Interrupts are edges that wait while a handler runs. */
  #deliver(): void {
    if (this.#inHandler) return;
    while (this.#pending.size > 0) {
      const [gsi] = this.#pending;
      this.#pending.delete(gsi);
      this.#inHandler = true;
      this.#handlers.get(gsi)?.();
      this.#inHandler = false;
    }
  }
}
