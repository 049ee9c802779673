import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import dgram from 'node:dgram';
import { existsSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { Counters, RealClock, silentLogger, TimerQueue, WorkQueue } from '@kensho/core';
import { afterEach, describe, expect, it } from 'vitest';
import { impair } from './impairment.ts';
import { Nat } from './nat/nat.ts';
import { nodeHost } from './nat/node-host.ts';
import type { Frame, NetworkConnector, NetworkPort } from './port.ts';
import { seededRandom } from './random.ts';
import { Tap, TapInterface } from './tap.ts';

const run = promisify(execFile);
const found = (command: string) => spawnSync('which', [command]).status === 0;
/** Network namespaces and interfaces are root's; and the host's tools make them. */
const able =
  process.platform === 'linux' &&
  process.getuid?.() === 0 &&
  existsSync('/dev/net/tun') &&
  ['socat', 'ip', 'curl'].every(found) &&
  spawnSync('ip', ['netns', 'list']).status === 0;

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function loop() {
  const clock = new RealClock();
  const services = {
    work: new WorkQueue(clock),
    timers: new TimerQueue(clock),
    counters: new Counters(),
    log: silentLogger,
  };
  let running = true;
  const ended = (async () => {
    while (running) {
      services.timers.runDue();
      services.work.run();
      const idleMs = (services.timers.nextNs() - clock.nowNs()) / 1e6;
      await services.work.wait(Math.min(20, Math.max(0, idleMs)));
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  ends.push(async () => {
    running = false;
    await ended;
  });
  return services;
}

/** Two sockets that stand for each other's adapter. */
function join(a: NetworkConnector, b: NetworkConnector): void {
  const ports: NetworkPort[] = [];
  for (const [n, connector] of [a, b].entries()) {
    ports.push(
      connector.connect({
        name: `end${n}`,
        mac: new Uint8Array(6),
        receive(frame) {
          ports[1 - n].send(frame);
          return true;
        },
        linkChanged: () => {},
      }),
    );
  }
  ends.push(() => {
    for (const port of ports) port.close();
  });
}

/** A namespace whose Linux is a guest of the NAT, with a static address. */
async function linuxGuest(line?: Parameters<typeof impair>[1], offload = true) {
  const services = loop();
  const name = `kensho${process.pid}`;
  const tap = await Tap.open({ interface: name }, services);
  const random = seededRandom(5);
  const nat = await Nat.open(
    { offload },
    { ...services, host: nodeHost, random: () => Math.floor(random() * 2 ** 32) },
  );
  join(line === undefined ? nat : impair(nat, line, services), tap);
  await run('ip', ['netns', 'add', name]);
  ends.push(() => run('ip', ['netns', 'del', name]));
  const inside = (...command: string[]) =>
    run('ip', ['netns', 'exec', name, ...command], { encoding: 'buffer', maxBuffer: 2 ** 26 });
  await run('ip', ['link', 'set', name, 'netns', name]);
  for (const setting of ['link set lo up', `link set ${name} up`, `addr add 10.0.2.15/24 dev ${name}`]) {
    await inside('ip', ...setting.split(' '));
  }
  return { inside, nat };
}

const random = seededRandom(8);
const payload = Uint8Array.from({ length: 1_000_000 }, () => random() * 256);
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

async function httpServer(): Promise<number> {
  const server = http.createServer((request, response) => {
    if (request.method !== 'PUT') {
      response.end(payload);
      return;
    }
    const hash = createHash('sha256');
    request.on('data', (bytes) => hash.update(bytes));
    request.on('end', () => response.end(hash.digest('hex')));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ends.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

const title = 'Linux as the guest of a NAT, by a TAP';
describe.skipIf(!able)(able ? title : `${title} (needs root, socat, iproute2 and curl)`, () => {
  it.each([
    ['large segments', undefined, true],
    ['whole frames', undefined, false],
    ['a bad line', { seed: 3, lossRate: 0.01, duplicateRate: 0.01, reorderRate: 0.02, delayMs: 1 }, true],
  ] as const)('fetches and sends megabytes, with %s', async (_, line, offload) => {
    const port = await httpServer();
    const { inside, nat } = await linuxGuest(line, offload);
    const url = `http://10.0.2.2:${port}/`;
    const { stdout: fetched } = await inside('curl', '-s', url);
    expect(sha256(fetched)).toBe(sha256(payload));
    const { stdout: answer } = await inside('sh', '-c', `curl -s ${url} | curl -s -T - ${url}`);
    expect(answer.toString()).toBe(sha256(payload));
    await expect.poll(() => nat.load.tcpBytes).toBe(0);
  });

  it('is refused what the host refuses', async () => {
    const { inside } = await linuxGuest();
    await expect(inside('curl', '-s', '-m', '10', 'http://10.0.2.2:1/')).rejects.toMatchObject({ code: 7 });
  });
});

describe('TAP', () => {
  it.skipIf(!able)('keeps a held interface between two adapters', async () => {
    const name = `kenshoh${process.pid}`;
    const index = async () => {
      const { stdout } = await run('ip', ['-j', 'link', 'show', name]);
      return JSON.parse(stdout)[0].ifindex;
    };
    const held = await TapInterface.attach(name);
    ends.push(() => held.close());
    const services = loop();
    await run('ip', ['address', 'add', '192.0.2.1/24', 'dev', name]);
    (await Tap.open({ interface: held }, services)).close();
    const before = await index();
    const tap = await Tap.open({ interface: held }, services);
    expect(tap.linkUp).toBe(true);
    const arrived = new Promise<Frame>((resolve) =>
      tap.connect({
        name: 'nic',
        mac: new Uint8Array(6),
        receive(frame) {
          resolve(frame);
          return true;
        },
        linkChanged() {},
      }),
    );
    expect(await index()).toBe(before);
    // Linux still has its address, and asks there for its neighbour's.
    const socket = dgram.createSocket('udp4');
    socket.send('', 9, '192.0.2.2', () => socket.close());
    expect((await arrived).bytes.length).toBeGreaterThan(14);
    tap.close();
    expect(tap.linkUp).toBe(false);
    expect(held.up).toBe(true);
  });

  it('says in a line what is wrong', async () => {
    const services = loop();
    await expect(Tap.open({ interface: 'no/name' }, services)).rejects.toMatchObject({ code: 'TAP_NAME' });
    const { PATH } = process.env;
    process.env.PATH = '/nonexistent';
    ends.push(() => {
      process.env.PATH = PATH;
    });
    const code = process.platform === 'linux' ? 'TAP_NEEDS_SOCAT' : 'TAP_LINUX_ONLY';
    await expect(Tap.open({ interface: 'tap0' }, services)).rejects.toMatchObject({ code });
  });
});
