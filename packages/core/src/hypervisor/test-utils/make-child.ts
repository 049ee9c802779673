import { PAGE_SIZE } from '../../memory/arena.ts';
import { GpaAccess } from '../../memory/gpa-space.ts';
import { Hypervisor } from '../hypervisor.ts';
import type { Partition, PartitionOptions } from '../partition.ts';
import { ScriptedProcessor } from './scripted-processor.ts';

/** A child that is active, with its RAM mapped and its VPs created. */
export function makeChild(options: Partial<PartitionOptions> = {}): {
  hypervisor: Hypervisor;
  child: Partition;
  processor: ScriptedProcessor;
} {
  const processor = new ScriptedProcessor();
  const hypervisor = new Hypervisor();
  const { root } = hypervisor;
  const child = hypervisor.createPartition(root, {
    name: 'test',
    processor,
    memoryBytes: 0x200000,
    ...options,
  });
  hypervisor.initializePartition(root, child);
  for (const { gpa, sizeBytes } of child.ram) {
    const count = sizeBytes / PAGE_SIZE;
    const arenaPage = child.gpa.arena.take(count);
    hypervisor.mapGpaPages(root, child, gpa / PAGE_SIZE, arenaPage, count, GpaAccess.ALL);
  }
  for (let i = 0; i < child.info.vpCount; i++) hypervisor.createVp(root, child, i);
  return { hypervisor, child, processor };
}

/** Lets a guest set up the hypercall interface: OS id, then the hypercall page at guest page 1. */
export function enableHypercalls(child: Partition): void {
  const vp = child.vps[0];
  vp.msrWrite(0x40000000, { lo: 0x01c00000, hi: 0x81000006 });
  vp.msrWrite(0x40000001, { lo: 0x1001, hi: 0 });
}
