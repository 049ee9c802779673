import { createHost, type DeviceSpec, KenshoError } from '@kensho/core';
import type { Disk } from '@kensho/devices-storage';
import { MACHINE_PLUGINS } from '@kensho/machine';
import { LinuxGuest } from '../linux/linux-guest.ts';
import { type CountedWindow, WindowRecorder } from '../linux/window.ts';
import type { BenchPath, LinuxGuestFiles } from '../options.ts';
import { parseFio } from './fio.ts';
import { guestScript } from './guest-script.ts';
import { MeteredDisk } from './metered-disk.ts';
import { jobName } from './options.ts';
import type { StorageRequest } from './request.ts';
import type { StorageSample } from './results.ts';
import { hashSpan, openSpan } from './span.ts';

/** Between two looks at the counters, at first. */
const STRIDE_BYTES = 64 * 4096;
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
  request: StorageRequest,
  files: LinuxGuestFiles,
  onProgress: (now: string) => void,
): Promise<StorageSample[]> {
  const disk = await openSpan(request);
  try {
    return await measureOn(disk, request, files, onProgress);
  } finally {
    await disk.close();
  }
}

async function measureOn(
  disk: Disk,
  request: StorageRequest,
  files: LinuxGuestFiles,
  onProgress: (now: string) => void,
): Promise<StorageSample[]> {
  const { path, jobs, spanBytes, imageSha256 } = request;
  const life = await liveOnce(disk, request, files, onProgress);
  const failed = (what: string) => new KenshoError('VERIFICATION_FAILED', `Linux guest, ${path}: ${what}`);
  const taken = life.disk.includes('/ata') ? 'emulated' : 'enlightened';
  if (taken !== path) throw failed(`the guest took the ${taken} path (${life.disk})`);
  if (life.hash !== imageSha256) throw failed('the guest read another image than the host did');
  const writtenSha256 = await hashSpan(disk, spanBytes);
  if (life.rehash !== writtenSha256)
    throw failed('the guest and the host read different data after the writes');
  return jobs.map((job, index): StorageSample => {
    const { window, report } = life.jobs[index];
    if (window === undefined)
      throw new KenshoError('SAMPLE_FAILED', `${jobName(job)}, ${path}: too few requests; give more seconds`);
    return {
      path,
      job,
      run: request.run,
      order: request.order + index,
      ...parseFio(report, job.workload),
      // A guest may merge some requests into one.
      countedOperations: window.work / job.blockBytes,
      cpuNs: window.cpuNs,
      counters: window.counters[0],
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
  request: StorageRequest,
  files: LinuxGuestFiles,
  onProgress: (now: string) => void,
): Promise<GuestLife> {
  const { path, jobs, seed, run } = request;
  const life: GuestLife = { disk: '', hash: '', rehash: '', jobs: [] };
  const metered = new MeteredDisk(disk, (sizeBytes) => recorder.add(sizeBytes));
  const host = await createHost({ plugins: MACHINE_PLUGINS });
  onProgress('booting');
  const guest = await LinuxGuest.create(host, {
    name: `Linux guest, ${path}`,
    files,
    script: guestScript(jobs, { ...request, seed: seed + run * jobs.length }),
    commandLine: PATH_COMMAND_LINE[path],
    devices: [storageOf(path, metered)],
    onBegin(name, text) {
      switch (name) {
        case 'hash':
          life.hash = text.split(' ')[0];
          break;
        case 'rehash':
          life.rehash = text.split(' ')[0];
          break;
        case 'begin':
          onProgress(jobName(jobs[Number(text)]));
          recorder.begin();
          guest.profile(recorder);
          break;
        case 'end':
          guest.profile(undefined);
          life.jobs.push({ window: recorder.end(), report: '' });
      }
    },
    onSection({ name, text, body }) {
      if (name === 'disk') life.disk = text;
      else if (name === 'end') life.jobs[Number(text)].report = body;
    },
  });
  const recorder = new WindowRecorder([guest.counters], STRIDE_BYTES);
  try {
    await guest.run();
    return life;
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
