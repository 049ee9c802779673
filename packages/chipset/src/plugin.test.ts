import {
  compose,
  DEVICES,
  GPA_SPACE,
  GUEST_FAULTS,
  INTERRUPT_LINES,
  IO_PORTS,
  PARTITION_CONTROL,
  TeardownStack,
} from '@kensho/core';
import { describe, expect, it } from 'vitest';
import { PCI_BUS } from './pci/pci-bus.ts';
import { chipsetPlugin } from './plugin.ts';
import { fakeServices } from './test-utils/fakes.ts';

function setUp() {
  const { ports, gpa, control, faults } = fakeServices();
  const provided = [IO_PORTS, GPA_SPACE, PARTITION_CONTROL, GUEST_FAULTS];
  const composition = compose([chipsetPlugin], { provided, teardown: new TeardownStack() });
  const teardown = new TeardownStack();
  const scope = composition.createPartitionScope(teardown);
  scope.bind(IO_PORTS, ports);
  scope.bind(GPA_SPACE, gpa);
  scope.bind(PARTITION_CONTROL, control);
  scope.bind(GUEST_FAULTS, faults);
  return { ports, scope, teardown, contributions: composition.contributions };
}

describe('chipsetPlugin', () => {
  it('makes one board when the first of its services is asked for, and ends it with the partition', async () => {
    const { ports, scope, teardown } = setUp();
    expect(ports.regions).toEqual([]);
    const lines = scope.resolve(INTERRUPT_LINES);
    expect(ports.in(0xcf8, 4)).toBe(0);
    scope.resolve(PCI_BUS);
    expect(scope.resolve(INTERRUPT_LINES)).toBe(lines);
    await teardown.unwind();
    expect(ports.regions).toEqual([]);
  });

  it('makes it for a device of kind board too', () => {
    const { ports, scope, contributions } = setUp();
    contributions.get(DEVICES, 'board').create(scope, { kind: 'board', id: 'board' });
    expect(ports.in(0xcf8, 4)).toBe(0);
  });
});
