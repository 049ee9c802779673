import fs from 'node:fs';
import type { SerialBackend } from '@kensho/chipset';
import {
  type Counters,
  type DeviceSpec,
  type Host,
  type HostedPartition,
  HvRegister,
  KenshoError,
  VP_REGISTERS,
} from '@kensho/core';
import { GUEST_COMMAND_LINE, memoryForInitrd, withScript } from '@kensho/guest-linux';
import { machineConfig } from '@kensho/machine';
import type { LinuxGuestFiles } from '../options.ts';
import { type GuestSection, SectionReader } from './guest-sections.ts';
import { GuestMap } from './profile.ts';
import type { WindowRecorder } from './window.ts';

/** A prime, so that no loop of the guest's keeps step with it. */
const SAMPLE_EVERY_INSTRUCTIONS = 20_011;
const CONSOLE_TAIL = 2048;

/** What a guest says first, so that its instructions can be told apart. */
export const MODULES_SECTION = ['echo "@modules"', 'cat /proc/modules'] as const;

/** A boot of Debian's Linux that runs one script. */
export interface LinuxGuestOptions {
  /** Names it in errors. */
  readonly name: string;
  readonly files: LinuxGuestFiles;
  /** Prints sections, last one `@done`; one is {@link MODULES_SECTION}. */
  readonly script: string;
  /** What is added to the kernel's command line. */
  readonly commandLine: string;
  /** Beside the machine's own. */
  readonly devices: readonly DeviceSpec[];
  /** Told of a section when its first line is there. */
  readonly onBegin: (name: string, text: string) => void;
  /** Told of a section when it is whole. */
  readonly onSection: (section: GuestSection) => void;
}

/** Debian's Linux in a partition, with a script to run and a serial line to say how it goes. */
export class LinuxGuest {
  readonly #name: string;
  readonly #partition: HostedPartition;
  readonly #state: { done: boolean; map: GuestMap; consoleTail: string };

  /** @param host - of the machine's plugins, and those of the devices */
  static async create(host: Host, options: LinuxGuestOptions): Promise<LinuxGuest> {
    const { files, script, commandLine, devices, onBegin, onSection } = options;
    const state = { done: false, map: new GuestMap(''), consoleTail: '' };
    const reader = new SectionReader(
      (name, text) => {
        if (name === 'done') state.done = true;
        onBegin(name, text);
      },
      (section) => {
        if (section.name === 'modules') state.map = new GuestMap(section.body);
        onSection(section);
      },
    );
    const initrd = withScript(fs.readFileSync(files.initrd), Buffer.from(script));
    const config = machineConfig({
      memoryBytes: memoryForInitrd(initrd.length),
      vpCount: 1,
      clock: 'real',
      integration: true,
      serial: listener((byte) => {
        state.consoleTail = (state.consoleTail + String.fromCharCode(byte)).slice(-CONSOLE_TAIL);
      }),
      exitPort: undefined,
      devices: [
        { kind: 'uart', id: 'com2', options: { com: 2, backend: listener((byte) => reader.take(byte)) } },
        ...devices,
      ],
      guest: {
        kernel: files.kernel,
        initrd,
        commandLine: `${GUEST_COMMAND_LINE} quiet ${commandLine}`,
      },
    });
    return new LinuxGuest(options.name, await host.createPartition(config), state);
  }

  private constructor(
    name: string,
    partition: HostedPartition,
    state: { done: boolean; map: GuestMap; consoleTail: string },
  ) {
    this.#name = name;
    this.#partition = partition;
    this.#state = state;
  }

  get counters(): Counters {
    return this.#partition.counters;
  }

  /** Tells a recorder where the guest is, every now and then; undefined ends that. */
  profile(recorder: WindowRecorder | undefined): void {
    const registers = this.#partition.services.resolve(VP_REGISTERS);
    this.#partition.sample(
      SAMPLE_EVERY_INSTRUCTIONS,
      recorder &&
        ((vpIndex) => {
          const [rip] = registers.get(vpIndex, [HvRegister.RIP]);
          recorder.sample(this.#state.map.placeOf(rip));
        }),
    );
  }

  /** Runs it to the end of its script. Throws KenshoError SAMPLE_FAILED, with its last words, where it ends otherwise. */
  async run(): Promise<void> {
    const end = await this.#partition.run();
    if (this.#state.done && end.reason === 'power-off') return;
    const tail = this.#state.consoleTail.trim().split(/\r?\n/).slice(-3).join(' | ');
    throw new KenshoError('SAMPLE_FAILED', `${this.#name}: ended early (${end.reason}): ${tail}`);
  }

  /** Ends a run. */
  stop(): void {
    this.#partition.stop();
  }
}

/** A serial line of which somebody listens to the guest's end. */
function listener(onByte: (byte: number) => void): SerialBackend {
  return {
    connect() {},
    send(byte) {
      onByte(byte);
      return true;
    },
  };
}
