import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { I8259 } from './i8259.ts';
import { Pic } from './pic.ts';
import { FakeControl, FakePorts } from './test-utils/fakes.ts';

const EOI = 0x20;

describe('Pic', () => {
  let control: FakeControl;
  let ports: FakePorts;
  let pic: Pic;

  beforeEach(() => {
    control = new FakeControl();
    ports = new FakePorts();
    pic = new Pic(control);
    for (const region of pic.regions) ports.add(region);
  });

  const initialise = (icw4 = 0x01) => {
    for (const [command, base, wiring] of [
      [0x20, 0x30, 0x04],
      [0xa0, 0x38, 0x02],
    ]) {
      ports.out(command, 0x11);
      ports.out(command + 1, base);
      ports.out(command + 1, wiring);
      ports.out(command + 1, icw4);
      ports.out(command + 1, 0x00);
    }
  };

  it('asks for nothing before it is initialised', () => {
    for (let irq = 0; irq < 16; irq++) pic.setInput(irq, true);
    expect(control.extInt).toBe(false);
    expect(ports.in(0x21)).toBe(0xff);
  });

  it('delivers an edge of the master and of the slave with their vectors', () => {
    initialise();
    pic.setInput(4, true);
    expect(control.extInt).toBe(true);
    expect(control.acknowledge()).toBe(0x34);
    expect(control.extInt).toBe(false);
    ports.out(0x20, EOI);

    pic.setInput(14, true);
    expect(control.acknowledge()).toBe(0x3e);
    ports.out(0xa0, 0x0b);
    expect(ports.in(0xa0)).toBe(0x40);
    ports.out(0x20, 0x0b);
    expect(ports.in(0x20)).toBe(0x04);
    ports.out(0xa0, EOI);
    ports.out(0x20, EOI);
    expect(ports.in(0xa0)).toBe(0);
    expect(ports.in(0x20)).toBe(0);
  });

  it('lets only more urgent requests interrupt one in service', () => {
    initialise();
    pic.setInput(5, true);
    control.acknowledge();
    pic.setInput(6, true);
    expect(control.extInt).toBe(false);
    pic.setInput(1, true);
    expect(control.acknowledge()).toBe(0x31);
    ports.out(0x20, EOI);
    ports.out(0x20, EOI);
    expect(control.acknowledge()).toBe(0x36);
  });

  it('gives the spurious interrupt, kept by no chip, where the request went away', () => {
    initialise();
    expect(control.acknowledge()).toBe(0x37);
    ports.out(0x20, 0x0b);
    expect(ports.in(0x20)).toBe(0);

    // A level that falls between the master's acknowledge and the slave's: IRQ 15, with the cascade in service.
    pic.setInput(10, true);
    ports.out(0xa1, 0xff);
    expect(control.acknowledge()).toBe(0x3f);
    expect(ports.in(0x20)).toBe(0x04);
    ports.out(0xa0, 0x0b);
    expect(ports.in(0xa0)).toBe(0);
  });

  it('keeps a level requested until it falls, as the ELCR says', () => {
    initialise();
    ports.out(0x4d0, 0xff);
    ports.out(0x4d1, 0xff);
    expect([ports.in(0x4d0), ports.in(0x4d1)]).toEqual([0xf8, 0xde]);
    expect(ports.in(0x4d0, 2)).toBe(0xdef8);

    pic.setInput(11, true);
    expect(control.acknowledge()).toBe(0x3b);
    ports.out(0xa0, EOI);
    ports.out(0x20, EOI);
    expect(control.acknowledge()).toBe(0x3b);
    pic.setInput(11, false);
    ports.out(0xa0, EOI);
    ports.out(0x20, EOI);
    expect(control.extInt).toBe(false);
  });

  it('answers a poll instead of an acknowledge', () => {
    initialise();
    pic.setInput(3, true);
    ports.out(0x20, 0x0c);
    expect(ports.in(0x20)).toBe(0x83);
    expect(control.extInt).toBe(false);
    ports.out(0x20, 0x0c);
    expect(ports.in(0x20)).toBe(0);
  });

  it('ends interrupts by itself in automatic EOI mode', () => {
    initialise(0x03);
    pic.setInput(3, true);
    expect(control.acknowledge()).toBe(0x33);
    pic.setInput(3, false);
    pic.setInput(3, true);
    expect(control.acknowledge()).toBe(0x33);
  });

  it('rotates priorities so that the one just served is last', () => {
    initialise();
    pic.setInput(0, true);
    control.acknowledge();
    ports.out(0x20, 0xa0);
    pic.setInput(0, false);
    pic.setInput(0, true);
    pic.setInput(7, true);
    expect(control.acknowledge()).toBe(0x37);
  });

  it('lets less urgent requests through in special mask mode while the one in service is masked', () => {
    initialise();
    pic.setInput(1, true);
    control.acknowledge();
    pic.setInput(6, true);
    expect(control.extInt).toBe(false);
    ports.out(0x21, 0x02);
    ports.out(0x20, 0x68);
    expect(control.acknowledge()).toBe(0x36);
    ports.out(0x20, EOI);
    ports.out(0x20, 0x0b);
    expect(ports.in(0x20)).toBe(0x02);
  });

  it('passes a more urgent interrupt of the slave in special fully nested mode', () => {
    initialise(0x11);
    pic.setInput(14, true);
    control.acknowledge();
    pic.setInput(8, true);
    expect(control.acknowledge()).toBe(0x38);
  });

  it('reports each change of its output once', () => {
    initialise();
    pic.setInput(5, true);
    pic.setInput(6, true);
    expect(control.extIntChanges).toBe(1);
  });
});

describe('I8259 against a list of priorities', () => {
  /** The same chip as a list: inputs from most to least urgent. */
  class Model {
    order = [0, 1, 2, 3, 4, 5, 6, 7];
    inputs = new Set<number>();
    requested = new Set<number>();
    inService = new Set<number>();
    masked = new Set<number>();

    pending(): number {
      for (const input of this.order) {
        if (this.inService.has(input)) return -1;
        if (this.requested.has(input) && !this.masked.has(input)) return input;
      }
      return -1;
    }
    last(input: number): void {
      while (this.order[7] !== input) this.order.push(this.order.shift() as number);
    }
  }

  const step = fc.oneof(
    fc.record({ do: fc.constant('rise' as const), input: fc.integer({ min: 0, max: 7 }) }),
    fc.record({ do: fc.constant('fall' as const), input: fc.integer({ min: 0, max: 7 }) }),
    fc.record({ do: fc.constant('mask' as const), input: fc.integer({ min: 0, max: 255 }) }),
    fc.record({ do: fc.constant('acknowledge' as const), input: fc.constant(0) }),
    fc.record({ do: fc.constant('eoi' as const), input: fc.constant(0) }),
    fc.record({ do: fc.constant('rotate' as const), input: fc.constant(0) }),
    fc.record({ do: fc.constant('specific' as const), input: fc.integer({ min: 0, max: 7 }) }),
    fc.record({ do: fc.constant('priority' as const), input: fc.integer({ min: 0, max: 7 }) }),
  );

  it('agrees after every step', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const chip = new I8259(true);
        const model = new Model();
        chip.write(0, 0x13);
        chip.write(1, 0x20);
        chip.write(1, 0x01);
        for (const { do: action, input } of steps) {
          switch (action) {
            case 'rise':
              chip.setInput(input, true);
              if (!model.inputs.has(input)) model.requested.add(input);
              model.inputs.add(input);
              break;
            case 'fall':
              chip.setInput(input, false);
              model.inputs.delete(input);
              break;
            case 'mask':
              chip.write(1, input);
              model.masked = new Set(model.order.filter((i) => ((input >> i) & 1) !== 0));
              break;
            case 'acknowledge': {
              const expected = model.pending();
              expect(chip.acknowledge()).toBe(expected < 0 ? 7 : expected);
              if (expected < 0) break;
              model.requested.delete(expected);
              model.inService.add(expected);
              break;
            }
            case 'eoi':
            case 'rotate': {
              chip.write(0, action === 'eoi' ? 0x20 : 0xa0);
              const ended = model.order.find((i) => model.inService.has(i));
              if (ended === undefined) break;
              model.inService.delete(ended);
              if (action === 'rotate') model.last(ended);
              break;
            }
            case 'specific':
              chip.write(0, 0x60 | input);
              model.inService.delete(input);
              break;
            case 'priority':
              chip.write(0, 0xc0 | input);
              model.last(input);
          }
          expect(chip.pending()).toBe(model.pending());
        }
      }),
      { numRuns: 300 },
    );
  });
});
