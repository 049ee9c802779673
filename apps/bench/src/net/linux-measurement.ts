import { createHost, KenshoError } from '@kensho/core';
import { netPlugin } from '@kensho/devices-net';
import { MACHINE_PLUGINS } from '@kensho/machine';
import { LinuxGuest } from '../linux/linux-guest.ts';
import { type CountedWindow, WindowRecorder } from '../linux/window.ts';
import type { BenchPath, LinuxGuestFiles } from '../options.ts';
import type { MeasurementRequest } from '../request.ts';
import { adapterOf, STATIONS, SWITCH } from './adapters.ts';
import { sumOfCounters } from './counters.ts';
import { receiverScript, senderScript } from './guest-scripts.ts';
import { dataPacketsOf, type MeteredNetworkOptions, meteredPlugin } from './metered.ts';
import type { NetJob } from './options.ts';
import type { NetSample } from './results.ts';
import { parseReportOfTool } from './tools.ts';

/** Between two looks at the counters, at first. */
const STRIDE_PACKETS = 64;
/** For one guest to end after the other. */
const PATIENCE_MS = 60_000;
/** Both paths get the same machines and kernel; all that differs is which driver may take the adapter. */
const PATH_COMMAND_LINE: Readonly<Record<BenchPath, string>> = {
  enlightened: 'module_blacklist=tulip,de2104x',
  emulated: 'module_blacklist=hv_netvsc',
};
const PATH_DRIVER: Readonly<Record<BenchPath, string>> = { enlightened: 'hv_netvsc', emulated: 'tulip' };

/**
 * Boots Debian's Linux twice and lets the tools in it do the jobs. Throws KenshoError VERIFICATION_FAILED and
 * SAMPLE_FAILED as `measure` does.
 */
export async function measureLinuxNet(
  request: MeasurementRequest<NetJob>,
  files: LinuxGuestFiles,
  onProgress: (now: string) => void,
): Promise<NetSample[]> {
  const { path, jobs, run } = request;
  const life = await liveOnce(request, files, onProgress);
  const { sender, receiver } = life;
  const failed = (what: string) => new KenshoError('VERIFICATION_FAILED', `Linux guests, ${path}: ${what}`);
  for (const { driver, snmp } of [sender, receiver]) {
    if (driver !== PATH_DRIVER[path]) throw failed(`a guest’s adapter is driven by '${driver}'`);
    const wrong = wrongChecksums(snmp);
    if (wrong > 0) throw failed(`${wrong} packets arrived with a wrong checksum`);
  }
  if (sender.fileSha256 === '' || sender.fileSha256 !== receiver.fileSha256)
    throw failed('a file arrived other than it was sent');
  return jobs.map((job, index): NetSample => {
    const { window, report } = life.jobs[index];
    const measured = parseReportOfTool(report, job.workload);
    if (window === undefined)
      throw new KenshoError('SAMPLE_FAILED', `${job.workload}, ${path}: too few packets; give more seconds`);
    const [ofSender, ofReceiver] = window.counters;
    return {
      path,
      job,
      run,
      order: request.order + index,
      ...measured,
      countedOperations: window.work,
      cpuNs: window.cpuNs,
      counters: sumOfCounters(window.counters),
      guestCounters: { sender: ofSender, receiver: ofReceiver },
      profile: window.profile,
      verification: { fileSha256: sender.fileSha256 },
    };
  });
}

/** What a guest said. */
interface GuestWords {
  driver: string;
  fileSha256: string;
  /** The text of /proc/net/snmp at the end. */
  snmp: string;
}

/** What both guests said, and what was seen of them. */
interface GuestsLife {
  readonly sender: GuestWords;
  readonly receiver: GuestWords;
  readonly jobs: { window: CountedWindow | undefined; report: string }[];
}

async function liveOnce(
  { path, jobs, seconds }: MeasurementRequest<NetJob>,
  files: LinuxGuestFiles,
  onProgress: (now: string) => void,
): Promise<GuestsLife> {
  const life: GuestsLife = {
    sender: { driver: '', fileSha256: '', snmp: '' },
    receiver: { driver: '', fileSha256: '', snmp: '' },
    jobs: [],
  };
  const host = await createHost({ plugins: [...MACHINE_PLUGINS, netPlugin, meteredPlugin] });
  onProgress('booting');
  let late: NodeJS.Timeout | undefined;
  try {
    const guests: LinuxGuest[] = [];
    const metered: MeteredNetworkOptions = {
      network: SWITCH,
      onFrame: (frame) => recorder.add(dataPacketsOf(frame)),
    };
    const create = (role: keyof typeof STATIONS, script: string, onJob: JobListener) =>
      LinuxGuest.create(host, {
        name: `Linux guest, ${role}, ${path}`,
        files,
        script,
        commandLine: PATH_COMMAND_LINE[path],
        devices: [
          adapterOf(path, STATIONS[role], role === 'sender' ? { kind: 'metered', options: metered } : SWITCH),
        ],
        onBegin(name, text) {
          if (name === 'adapter') life[role].driver = text;
          else if (name === 'hash') life[role].fileSha256 = text.split(' ')[0];
          else if (name === 'begin' || name === 'end') onJob(name, Number(text));
        },
        onSection({ name, text, body }) {
          if (name === 'snmp') life[role].snmp = body;
          else if (name === 'end') life.jobs[Number(text)].report = body;
        },
      });
    const onJob: JobListener = (event, index) => {
      if (event === 'begin') {
        onProgress(jobs[index].workload);
        recorder.begin();
      } else {
        life.jobs.push({ window: recorder.end(), report: '' });
      }
      for (const guest of guests) guest.profile(event === 'begin' ? recorder : undefined);
    };
    guests.push(await create('sender', senderScript(jobs, seconds), onJob));
    guests.push(await create('receiver', receiverScript(), () => {}));
    const recorder = new WindowRecorder(
      guests.map(({ counters }) => counters),
      STRIDE_PACKETS,
    );
    await Promise.all(
      guests.map(async (guest) => {
        const end = () => {
          for (const other of guests) other.stop();
        };
        try {
          await guest.run();
          late ??= setTimeout(end, PATIENCE_MS);
        } catch (error) {
          // The other would wait for this one for ever.
          end();
          throw error;
        }
      }),
    );
    return life;
  } finally {
    clearTimeout(late);
    await host.close();
  }
}

type JobListener = (event: 'begin' | 'end', index: number) => void;

/** The sum of InCsumErrors over the protocols of /proc/net/snmp: lines of names, each followed by one of values. */
export function wrongChecksums(snmp: string): number {
  const rows = snmp
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
  let sum = 0;
  for (let i = 0; i + 1 < rows.length; i += 2) {
    const column = rows[i].indexOf('InCsumErrors');
    if (column >= 0) sum += Number(rows[i + 1][column]);
  }
  return sum;
}
