import { MODULES_SECTION } from '../linux/linux-guest.ts';
import { fioCommand } from './fio.ts';
import type { StorageJob } from './options.ts';

/** The jobs as a script for the guest; it says what it does in sections. The disk is the only one. */
export function guestScript(
  jobs: readonly StorageJob[],
  { seconds, spanBytes, seed }: { seconds: number; spanBytes: number; seed: number },
): string {
  const hash = `dd if=/dev/sda bs=${HASH_BLOCK_BYTES} count=${spanBytes} iflag=count_bytes,direct 2>/dev/null | sha256sum`;
  return [
    '#!/bin/sh',
    'tries=0',
    'while [ ! -b /dev/sda ] && [ $tries -lt 200 ]; do sleep 0.1; tries=$((tries + 1)); done',
    'echo "@disk $(readlink -f /sys/block/sda)"',
    ...MODULES_SECTION,
    `echo "@hash $(${hash})"`,
    ...jobs.flatMap((job, index) => [
      `echo "@begin ${index}"`,
      `${fioCommand(job, { device: '/dev/sda', seconds, spanBytes, seed: seed + index })} >/tmp/report`,
      `echo "@end ${index}"`,
      'cat /tmp/report',
    ]),
    `echo "@rehash $(${hash})"`,
    'echo "@done"',
    '',
  ].join('\n');
}

const HASH_BLOCK_BYTES = 1024 * 1024;
