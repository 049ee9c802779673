import fs from 'node:fs';
import type { SerialBackend } from '@kensho/chipset';
import { createHost, type DeviceSpec, HvRegister, KenshoError, VP_REGISTERS } from '@kensho/core';
import type { Disk } from '@kensho/devices-storage';
import { GUEST_COMMAND_LINE, withScript } from '@kensho/guest-linux';
import { MACHINE_PLUGINS, machineConfig } from '@kensho/machine';
import { type BenchPath, jobName, type LinuxGuestFiles } from '../options.ts';
import type { MeasurementRequest } from '../request.ts';
import type { Sample } from '../results.ts';
import { hashSpan, openSpan } from '../span.ts';
import { parseFio } from './fio.ts';
import { guestScript, SectionReader } from './guest-script.ts';
import { MeteredDisk } from './metered-disk.ts';
import { GuestMap } from './profile.ts';
import { type CountedWindow, WindowRecorder } from './window.ts';

const MEMORY_BYTES = 512 * 1024 * 1024;
/** A prime, so that no loop of the guest's keeps step with it. */
const SAMPLE_EVERY_INSTRUCTIONS = 20_011;
const CONSOLE_TAIL = 2048;
/** Both paths get the same machine and kernel; all that differs is which driver may take the disk. */
const PATH_COMMAND_LINE: Readonly<Record<BenchPath, string>> = {
  enlightened: '',
  // By itself ata_piix leaves disks to the enlightened driver where it sees Hyper-V.
  emulated: 'module_blacklist=hv_storvsc ata_piix.prefer_ms_hyperv=0',
};

/**
 * Boots Debian's Linux on the image's overlay and lets fio do the jobs. Throws KenshoError
 * VERIFICATION_FAILED and SAMPLE_FAILED as `measure` does.
 */
export async function measureLinux(
  request: MeasurementRequest,
  files: LinuxGuestFiles,
  onProgress: (now: string) => void,
): Promise<Sample[]> {
  const disk = await openSpan(request);
  try {
    return await measureOn(disk, request, files, onProgress);
  } finally {
    await disk.close();
  }
}

async function measureOn(
  disk: Disk,
  request: MeasurementRequest,
  files: LinuxGuestFiles,
  onProgress: (now: string) => void,
): Promise<Sample[]> {
  const { path, jobs, spanBytes, imageSha256 } = request;
  const life = await liveOnce(disk, request, files, onProgress);
  const failed = (what: string) => new KenshoError('VERIFICATION_FAILED', `Linux guest, ${path}: ${what}`);
  const taken = life.disk.includes('/ata') ? 'emulated' : 'enlightened';
  if (taken !== path) throw failed(`the guest took the ${taken} path (${life.disk})`);
  if (life.hash !== imageSha256) throw failed('the guest read another image than the host did');
  const writtenSha256 = await hashSpan(disk, spanBytes);
  if (life.rehash !== writtenSha256)
    throw failed('the guest and the host read different data after the writes');
  return jobs.map((job, index): Sample => {
    const { window, report } = life.jobs[index];
    if (window === undefined)
      throw new KenshoError('SAMPLE_FAILED', `${jobName(job)}, ${path}: too few requests; give more seconds`);
    return {
      path,
      job,
      run: request.run,
      order: request.order + index,
      ...parseFio(report, job.workload),
      countedOperations: window.operations,
      cpuNs: window.cpuNs,
      counters: window.counters,
      profile: window.profile,
      verification: { imageSha256, checkedReads: 0, checkedBlocks: 0, writtenSha256 },
    };
  });
}

/** What the guest said, and what was seen of it. */
interface GuestLife {
  /** Where sysfs has the disk. */
  disk: string;
  hash: string;
  rehash: string;
  readonly jobs: {
    window: CountedWindow | undefined;
    report: string;
  }[];
}

async function liveOnce(
  disk: Disk,
  request: MeasurementRequest,
  files: LinuxGuestFiles,
  onProgress: (now: string) => void,
): Promise<GuestLife> {
  const { path, jobs, seed, run } = request;
  const life: GuestLife = { disk: '', hash: '', rehash: '', jobs: [] };
  let done = false;
  let map = new GuestMap('');
  let consoleTail = '';
  const reader = new SectionReader(
    (name, text) => {
      switch (name) {
        case 'hash':
          life.hash = text.split(' ')[0];
          break;
        case 'rehash':
          life.rehash = text.split(' ')[0];
          break;
        case 'begin': {
          onProgress(jobName(jobs[Number(text)]));
          recorder.begin();
          partition.sample(SAMPLE_EVERY_INSTRUCTIONS, (vpIndex) => {
            const [rip] = registers.get(vpIndex, [HvRegister.RIP]);
            recorder.sample(map.placeOf(rip));
          });
          break;
        }
        case 'end':
          partition.sample(SAMPLE_EVERY_INSTRUCTIONS, undefined);
          life.jobs.push({
            window: recorder.end(jobs[Number(text)].blockBytes),
            report: '',
          });
          break;
        case 'done':
          done = true;
      }
    },
    ({ name, text, body }) => {
      if (name === 'disk') life.disk = text;
      else if (name === 'modules') map = new GuestMap(body);
      else if (name === 'end') life.jobs[Number(text)].report = body;
    },
  );
  const metered = new MeteredDisk(disk, (sizeBytes) => recorder.request(sizeBytes));
  const host = await createHost({ plugins: MACHINE_PLUGINS });
  onProgress('booting');
  const partition = await host.createPartition(
    machineConfig({
      memoryBytes: MEMORY_BYTES,
      vpCount: 1,
      clock: 'real',
      integration: true,
      serial: listener((byte) => {
        consoleTail = (consoleTail + String.fromCharCode(byte)).slice(-CONSOLE_TAIL);
      }),
      exitPort: undefined,
      devices: [
        { kind: 'uart', id: 'com2', options: { com: 2, backend: listener((byte) => reader.take(byte)) } },
        storageOf(path, metered),
      ],
      guest: {
        kernel: files.kernel,
        initrd: withScript(
          fs.readFileSync(files.initrd),
          Buffer.from(guestScript(jobs, { ...request, seed: seed + run * jobs.length })),
        ),
        commandLine: `${GUEST_COMMAND_LINE} quiet ${PATH_COMMAND_LINE[path]}`,
      },
    }),
  );
  const registers = partition.services.resolve(VP_REGISTERS);
  const recorder = new WindowRecorder(partition.counters);
  try {
    const end = await partition.run();
    if (done && end.reason === 'power-off') return life;
    const tail = consoleTail.trim().split(/\r?\n/).slice(-3).join(' | ');
    throw new KenshoError('SAMPLE_FAILED', `Linux guest, ${path}: ended early (${end.reason}): ${tail}`);
  } finally {
    await host.close();
  }
}

function storageOf(path: BenchPath, disk: Disk): DeviceSpec {
  return path === 'enlightened'
    ? { kind: 'scsi', id: 'scsi0', options: { luns: [{ lun: 0, disk, kind: 'disk' }] } }
    : {
        kind: 'ide',
        id: 'ide0',
        options: { drives: [{ channel: 0, position: 'master', disk, kind: 'disk' }] },
      };
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
