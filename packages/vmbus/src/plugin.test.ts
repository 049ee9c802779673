import {
  COUNTERS,
  compose,
  DMA,
  GUEST_FAULTS,
  LOGGER,
  PORTS,
  silentLogger,
  TeardownStack,
  TIMERS,
  WORK,
} from '@kensho/core';
import { expect, it } from 'vitest';
import { VMBUS } from './channel.ts';
import { vmbusPlugin } from './plugin.ts';
import { FakePartition } from './test-utils/fake-partition.ts';

it('gives each partition one bus, which ends with it', async () => {
  const teardown = new TeardownStack();
  const provided = [PORTS, WORK, TIMERS, COUNTERS, DMA, GUEST_FAULTS, LOGGER];
  const composition = compose([vmbusPlugin], { provided, teardown });
  const partition = new FakePartition();
  const scope = composition.createPartitionScope(teardown);
  scope.bind(PORTS, partition.ports);
  scope.bind(DMA, {
    attach: (device) => partition.domain(device),
    domainOf: (device) => partition.domain(device),
    detach: () => {},
  });
  scope.bind(WORK, partition.work);
  scope.bind(TIMERS, partition.timers);
  scope.bind(COUNTERS, partition.counters);
  scope.bind(GUEST_FAULTS, partition.faults);
  scope.bind(LOGGER, silentLogger);
  const bus = scope.resolve(VMBUS);
  expect(scope.resolve(VMBUS)).toBe(bus);
  expect(partition.ports.openConnections).toEqual([1, 4]);
  await teardown.unwind();
  expect(partition.ports.openConnections).toEqual([]);
});
