import { describe, expect, it } from 'vitest';
import { IoApic } from './io-apic.ts';
import { fakeServices } from './test-utils/fakes.ts';

const LEVEL = 1 << 15;
const MASKED = 1 << 16;
const REMOTE_IRR = 1 << 14;

function setUp() {
  const { control, faults, counters } = fakeServices();
  const apic = new IoApic(control, faults);
  const write = (index: number, value: number) => {
    apic.write(0x00, 4, index);
    apic.write(0x10, 4, value);
  };
  const read = (index: number) => {
    apic.write(0x00, 4, index);
    return apic.read(0x10, 4);
  };
  const entry = (pin: number, low: number, high = 0) => {
    write(0x11 + 2 * pin, high);
    write(0x10 + 2 * pin, low);
  };
  return { apic, control, counters, write, read, entry, low: (pin: number) => read(0x10 + 2 * pin) };
}

describe('IoApic', () => {
  it('starts with 24 masked entries', () => {
    const { read, low } = setUp();
    expect(read(0x01)).toBe(0x00170020);
    for (let pin = 0; pin < 24; pin++) expect(low(pin)).toBe(MASKED);
  });

  it('keeps only the bits of an entry and of the id that exist', () => {
    const { write, read } = setUp();
    write(0x00, 0xffffffff);
    write(0x10, 0xffffffff);
    write(0x11, 0xffffffff);
    expect(read(0x00)).toBe(0x0f000000);
    expect(read(0x10)).toBe(0x0001afff);
    expect(read(0x11)).toBe(0xff000000);
  });

  it('delivers an edge once, with everything the entry says', () => {
    const { apic, control, entry } = setUp();
    entry(14, 0x31 | (1 << 8) | (1 << 11), 0x03000000);
    apic.setPin(14, true);
    apic.setPin(14, true);
    expect(control.asserted).toEqual([
      {
        vector: 0x31,
        deliveryMode: 'lowest-priority',
        levelTriggered: false,
        logicalDestination: true,
        destination: 3,
      },
    ]);
    apic.setPin(14, false);
    apic.setPin(14, true);
    expect(control.asserted).toHaveLength(2);
  });

  it('loses an edge while masked and does not deliver it at unmasking', () => {
    const { apic, control, entry } = setUp();
    entry(4, 0x40 | MASKED);
    apic.setPin(4, true);
    entry(4, 0x40);
    expect(control.asserted).toHaveLength(0);
  });

  it('holds a level back behind the remote IRR until its EOI', () => {
    const { apic, control, entry, low } = setUp();
    entry(11, 0x51 | LEVEL);
    apic.setPin(11, true);
    expect(control.asserted).toMatchObject([{ vector: 0x51, levelTriggered: true }]);
    expect(low(11) & REMOTE_IRR).not.toBe(0);

    apic.setPin(11, false);
    apic.setPin(11, true);
    expect(control.asserted).toHaveLength(1);

    control.endOfInterrupt(0x50);
    expect(control.asserted).toHaveLength(1);
    control.endOfInterrupt(0x51);
    expect(control.asserted).toHaveLength(2);

    apic.setPin(11, false);
    control.endOfInterrupt(0x51);
    expect(control.asserted).toHaveLength(2);
    expect(low(11) & REMOTE_IRR).toBe(0);
  });

  it('delivers a level that stands when its entry is unmasked', () => {
    const { apic, control, entry } = setUp();
    entry(9, 0x60 | LEVEL | MASKED);
    apic.setPin(9, true);
    expect(control.asserted).toHaveLength(0);
    entry(9, 0x60 | LEVEL);
    expect(control.asserted).toHaveLength(1);
  });

  it('ends a level through the EOI register and by turning the entry to edge', () => {
    const { apic, control, entry, low } = setUp();
    entry(9, 0x60 | LEVEL);
    apic.setPin(9, true);
    apic.write(0x40, 4, 0x60);
    expect(control.asserted).toHaveLength(2);

    entry(9, 0x60 | MASKED);
    expect(low(9) & REMOTE_IRR).toBe(0);
    entry(9, 0x60 | LEVEL);
    expect(control.asserted).toHaveLength(3);
  });

  it('refuses reserved delivery modes and counts registers that do not exist', () => {
    const { apic, control, counters, entry, read } = setUp();
    entry(3, 0x33 | (3 << 8));
    apic.setPin(3, true);
    expect(control.asserted).toHaveLength(0);
    expect(read(0x7f)).toBe(0);
    apic.write(0x80, 4, 1);
    expect(counters.snapshot()).toMatchObject({
      'fault.ioapic.delivery-mode': 1,
      'fault.ioapic.register': 2,
    });
  });

  it('delivers an NMI as an edge even where the entry says level', () => {
    const { apic, control, entry, low } = setUp();
    entry(1, (4 << 8) | LEVEL);
    apic.setPin(1, true);
    expect(control.asserted).toMatchObject([{ deliveryMode: 'nmi', levelTriggered: false }]);
    expect(low(1) & REMOTE_IRR).toBe(0);
  });
});
