import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type LinuxOptions, NO_GUEST, quickestWith, runLinux, sha256 } from './test-utils/linux.ts';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const PAYLOAD = randomBytes(20_000_003);
const HASH = sha256(PAYLOAD);
const NO_TSHARK = 'tshark is not here: it reads the captures';

/** Serves the payload at a port of the loopback interface. */
async function server(): Promise<number> {
  const serving = http.createServer((_, response) => response.end(PAYLOAD)).listen(0, '127.0.0.1');
  await once(serving, 'listening');
  ends.push(() => serving.close());
  return (serving.address() as AddressInfo).port;
}

/** A port of the loopback interface that nobody has. */
async function freePort(): Promise<number> {
  const probe = net.createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}

/** Fetches the file that a guest serves at a port, and connects to another to tell it so; the file's hash. */
async function fetched(port: number, donePort: number): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/file`);
  const hash = sha256(Buffer.from(await response.arrayBuffer()));
  net.connect(donePort, '127.0.0.1').end();
  return hash;
}

/** By DHCP, ping, a file from the host, and the same file back through a forwarded port. */
async function exchange(options: Pick<LinuxOptions, 'guest' | 'integration'> & { readonly nic: string }) {
  const { nic, ...rest } = options;
  const [from, files, done] = [await server(), await freePort(), await freePort()];
  let back: Promise<string> | undefined;
  const report = await runLinux({
    ...rest,
    clock: 'real',
    nics: [nic],
    forwards: [`127.0.0.1:${files}:80`, `127.0.0.1:${done}:81`],
    script: `
      eth=/sys/class/net/eth0
      echo "$(basename $(readlink -f $eth/device/driver)) $(cat $eth/address)"
      ip link set eth0 up
      udhcpc -i eth0 -n -q -t 20 >/dev/null 2>&1 || echo "no lease"
      ip -4 addr show eth0 | grep -o 'inet [^ ]*'
      ping -c 2 -q 10.0.2.2 | grep -o '[0-9]*% packet loss'
      mkdir /tmp/www; cd /tmp/www
      wget -q -O file http://10.0.2.2:${from}/
      sha256sum file | cut -d ' ' -f 1
      httpd -p 80 -h /tmp/www; echo serving
      timeout 60 nc -l -p 81 >/dev/null </dev/null`,
    onLine: (line) => {
      if (line === 'serving') back = fetched(files, done);
    },
  });
  return { ...report, back: await back };
}

/** What tshark says of a capture: each frame's checksum, whether it says what the hardware was to do, and errors. */
function read(capture: string) {
  const fields = ['tcp.checksum.status', 'udp.checksum.status', 'ip.checksum.status', 'frame.comment'];
  const { stdout, error } = spawnSync(
    'tshark',
    [
      ...['ip', 'tcp', 'udp'].flatMap((protocol) => ['-o', `${protocol}.check_checksum:TRUE`]),
      ...['-r', capture, '-T', 'fields'],
      ...[...fields, '_ws.malformed', '_ws.expert.severity'].flatMap((field) => ['-e', field]),
    ],
    { encoding: 'utf8', maxBuffer: 2 ** 28 },
  );
  if (error !== undefined) return undefined;
  const frames = stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t'));
  return { frames, wrong: frames.filter((frame) => frame.slice(0, 3).includes('0')) };
}

describe('Debian’s kernel on a network', { timeout: 300_000 }, () => {
  const guest = quickestWith('tulip');
  beforeEach(({ skip }) => skip(guest === undefined, NO_GUEST));

  it.each([
    { driver: 'hv_netvsc', bus: 'vmbus' },
    { driver: 'tulip', bus: 'tulip' },
  ])('by $driver: an address, a file from the host and one to it, a capture', async ({ driver, bus }) => {
    if (guest === undefined) return;
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-linux-test-'));
    ends.push(() => fs.rmSync(folder, { recursive: true }));
    const capture = path.join(folder, 'frames.pcapng');
    const mac = '00:15:5d:07:08:09';
    const { end, output, back, console } = await exchange({
      guest,
      nic: `nat,bus=${bus},mac=${mac},capture=${capture}`,
    });
    expect(output.slice(0, 5)).toEqual([
      `${driver} ${mac}`,
      'inet 10.0.2.15/24',
      '0% packet loss',
      HASH,
      'serving',
    ]);
    expect(back).toBe(HASH);
    expect(end).toEqual({ reason: 'power-off' });
    expect(console.join('\n')).not.toMatch(/NETDEV WATCHDOG|\bWARNING: CPU|\bBUG:/);
    const captured = read(capture);
    if (captured === undefined) {
      process.stderr.write(`${NO_TSHARK}\n`);
      return;
    }
    expect(captured.frames.length).toBeGreaterThan(100);
    for (const [, , , , malformed, severity] of captured.frames)
      expect([malformed, severity]).not.toContain('8388608');
    // What the hardware was to finish says so; nothing else is wrong.
    for (const frame of captured.wrong) expect(frame[3]).toMatch(/its checksum to be finished/);
  });
});
