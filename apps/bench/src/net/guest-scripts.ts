import { MODULES_SECTION } from '../linux/linux-guest.ts';
import { STATIONS } from './adapters.ts';
import type { NetJob } from './options.ts';
import { IPERF3_PORT, SOCKPERF_PORT, toolCommand } from './tools.ts';

const SENDER = `10.0.0.${STATIONS.sender.host}`;
const RECEIVER = `10.0.0.${STATIONS.receiver.host}`;
const FILE_PORT = 5302;
const FILE_BYTES = 4 * 1024 * 1024;

/** Tries a condition for a minute. */
const until = (condition: string) =>
  `tries=0; until ${condition} || [ $tries = 300 ]; do tries=$((tries + 1)); sleep 0.2; done`;
const ADAPTER = [
  until('[ -e /sys/class/net/eth0 ]'),
  'echo "@adapter $(basename $(readlink -f /sys/class/net/eth0/device/driver))"',
  ...MODULES_SECTION,
];
const plug = (address: string) => `ip addr add ${address}/24 dev eth0; ip link set eth0 up`;
/** Nothing may arrive that was damaged on its way. */
const CHECKSUMS = ['echo "@snmp"', 'cat /proc/net/snmp'];

/** The jobs as a script for the sender, and a file after them. */
export function senderScript(jobs: readonly NetJob[], seconds: number): string {
  return [
    '#!/bin/sh',
    ...ADAPTER,
    plug(SENDER),
    until(`ping -c 1 -W 1 ${RECEIVER} >/dev/null 2>&1`),
    ...jobs.flatMap((job, index) => [
      `echo "@begin ${index}"`,
      `${toolCommand(job, { server: RECEIVER, seconds })} >/tmp/report`,
      `echo "@end ${index}"`,
      'cat /tmp/report',
    ]),
    `head -c ${FILE_BYTES} /dev/urandom >/tmp/file`,
    'echo "@hash $(sha256sum </tmp/file)"',
    `nc ${RECEIVER} ${FILE_PORT} </tmp/file`,
    ...CHECKSUMS,
    'echo "@done"',
    '',
  ].join('\n');
}

/** The servers of the sender's tools as a script for the receiver: it is on the network once they listen. */
export function receiverScript(): string {
  const listens = (port: number) => `netstat -ltn | grep -q ':${port} '`;
  return [
    '#!/bin/sh',
    ...ADAPTER,
    'iperf3 -s >/dev/null &',
    `sockperf server --tcp -i 0.0.0.0 -p ${SOCKPERF_PORT} >/dev/null &`,
    // Its input stays open: at the end of that it would tell the sender that nobody reads any more.
    'mkfifo /tmp/silence; tail -f /dev/null >/tmp/silence &',
    `nc -l -p ${FILE_PORT} </tmp/silence >/tmp/file &`,
    'file=$!',
    ...[IPERF3_PORT, SOCKPERF_PORT, FILE_PORT].map((port) => until(listens(port))),
    plug(RECEIVER),
    'wait $file',
    'echo "@hash $(sha256sum </tmp/file)"',
    ...CHECKSUMS,
    'echo "@done"',
    '',
  ].join('\n');
}
