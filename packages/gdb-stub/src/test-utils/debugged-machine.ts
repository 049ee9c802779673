import {
  createHost,
  DEBUGGER,
  GPA_SPACE,
  type Host,
  type HostedPartition,
  HvRegister,
  type PartitionEnd,
  segmentRegister,
  VP_REGISTERS,
} from '@kensho/core';
import { processorX64Plugin } from '@kensho/processor-x64';
import { GdbServer } from '../server.ts';
import { GdbClient } from './gdb-client.ts';

export const CODE = 0x1000;
const MEMORY_BYTES = 2 ** 20;

/** A partition with 32-bit code at {@link CODE}, flat and without paging, and GDB at its side. */
export class DebuggedMachine {
  partition: HostedPartition;
  readonly server: GdbServer;
  readonly client: GdbClient;
  readonly #host: Host;
  end: Promise<PartitionEnd>;
  killed = false;

  private constructor(host: Host, partition: HostedPartition, server: GdbServer, client: GdbClient) {
    this.partition = partition;
    this.server = server;
    this.client = client;
    this.#host = host;
    this.end = partition.run();
  }

  static async start(code: string, vpCount = 1): Promise<DebuggedMachine> {
    const host = await createHost({ plugins: [processorX64Plugin] });
    const partition = await createPartition(host, code, vpCount);
    await partition.pause();
    let machine: DebuggedMachine | undefined;
    const onKill = () => {
      if (machine !== undefined) machine.killed = true;
      partition.stop();
    };
    const server = await GdbServer.listen({ partition, port: 0, onKill });
    const client = await GdbClient.connect(server.address.port);
    machine = new DebuggedMachine(host, partition, server, client);
    return machine;
  }

  /** Makes it anew, as after a reset, once it runs; `meanwhile` is when there is no partition. */
  async restart(code: string, meanwhile: () => unknown = () => {}): Promise<void> {
    const debug = this.partition.services.resolve(DEBUGGER);
    while (debug.stopped) await new Promise(setImmediate);
    this.server.leave();
    await this.partition.close();
    await meanwhile();
    this.partition = await createPartition(this.#host, code, 1);
    this.server.join(this.partition);
    this.end = this.partition.run();
  }

  /** A register by GDB's number, as a number. */
  async register(number: number): Promise<number> {
    const text = await this.client.ask(`p${number.toString(16)}`);
    return Number(`0x${Buffer.from(text, 'hex').reverse().toString('hex')}`);
  }

  rip(): Promise<number> {
    return this.register(16);
  }

  async close(): Promise<void> {
    this.partition.stop();
    await this.end;
    this.client.close();
    await this.server.close(0);
    await this.#host.close();
  }
}

async function createPartition(host: Host, code: string, vpCount: number): Promise<HostedPartition> {
  const partition = await host.createPartition({
    name: 'debugged',
    processor: 'x64',
    memoryBytes: MEMORY_BYTES,
    vpCount,
    devices: [],
  });
  const { services } = partition;
  services.resolve(GPA_SPACE).write(CODE, Buffer.from(code.replaceAll(/\s/g, ''), 'hex'));
  const flat = (selector: number, attributes: number) =>
    segmentRegister({ base: 0n, limit: 0xffffffff, selector, attributes });
  services
    .resolve(VP_REGISTERS)
    .set(0, [
      [HvRegister.CR0, 0x11n],
      [HvRegister.CS, flat(8, 0xc09b)],
      ...[HvRegister.SS, HvRegister.DS, HvRegister.ES].map((name) => [name, flat(16, 0xc093)] as const),
      [HvRegister.RIP, BigInt(CODE)],
      [HvRegister.RSP, 0x8000n],
    ]);
  return partition;
}
