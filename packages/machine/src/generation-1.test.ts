import { ACPI_TABLES, createHost, GPA_SPACE } from '@kensho/core';
import { expect, it } from 'vitest';
import { MACHINE_PLUGINS, type MachineOptions, machineConfig } from './generation-1.ts';

/** What its firmware's tables say, of a machine that nothing is loaded into. */
async function tablesOf(options: Partial<MachineOptions>): Promise<string> {
  const host = await createHost({ plugins: MACHINE_PLUGINS });
  try {
    const config = machineConfig({
      memoryBytes: 16 * 2 ** 20,
      vpCount: 1,
      clock: 'virtual',
      integration: true,
      serial: { connect() {}, send: () => true },
      exitPort: undefined,
      guest: { kernel: '' },
      ...options,
    });
    const { services } = await host.createPartition({ ...config, guest: undefined });
    const { rsdpGpa = 0 } = services.resolve(ACPI_TABLES);
    const bytes = Buffer.alloc(0x20000);
    expect(services.resolve(GPA_SPACE).read(rsdpGpa, bytes)).toBe(true);
    return bytes.toString('latin1');
  } finally {
    await host.close();
  }
}

it('a machine has its first serial port, and a VMBus where the hypervisor shows itself', async () => {
  const shown = await tablesOf({ vpCount: 2, exitPort: 0xf4 });
  for (const name of ['RSD PTR ', 'UAR1', 'P002', 'VMBus', 'Microsoft Corporation'])
    expect(shown).toContain(name);
  for (const name of ['UAR2', 'PS2K', 'P003']) expect(shown).not.toContain(name);
  const hidden = await tablesOf({ integration: false });
  for (const name of ['VMBus', 'Microsoft', 'P002']) expect(hidden).not.toContain(name);
});

it('a machine with an exit port where something else is cannot be', async () => {
  await expect(tablesOf({ exitPort: 0x3f8 })).rejects.toMatchObject({ code: 'PORTS_IN_USE' });
});
