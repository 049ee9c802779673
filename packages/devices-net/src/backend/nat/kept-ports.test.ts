import net from 'node:net';
import { expect, it } from 'vitest';
import { KeptPorts } from './kept-ports.ts';
import { nodeHost } from './node-host.ts';
import { FakeHost, FakeStream } from './test-utils/fake-host.ts';

const NOTHING = { connected() {}, data() {}, ended() {}, closed() {} };

it('keeps a TCP port open for the next one who asks for it', async () => {
  const host = new FakeHost();
  const kept = new KeptPorts(host);
  const accepted: string[] = [];
  const ask = (who: string) =>
    kept.listen('127.0.0.1', 80, () => {
      accepted.push(who);
      return NOTHING;
    });
  const connect = () => host.listeners[0].accept(new FakeStream('127.0.0.1', 80));
  const first = await ask('first');
  expect(connect()).toBe(true);
  await expect(ask('at once')).rejects.toMatchObject({ code: 'HOST_PORT' });
  first.close();
  expect(connect()).toBe(false);
  const second = await ask('second');
  // Once more, too late: the port is the second one's.
  first.close();
  expect(connect()).toBe(true);
  expect(accepted).toEqual(['first', 'second']);
  second.close();
  expect(host.listeners.map(({ closed }) => closed)).toEqual([false]);
  kept.release();
  expect(host.listeners.map(({ closed }) => closed)).toEqual([true]);
});

it('keeps a UDP port open likewise, and nobody sends from it who has closed it', async () => {
  const host = new FakeHost();
  const kept = new KeptPorts(host);
  const got: string[] = [];
  const ask = (who: string) =>
    kept.bindDatagrams('127.0.0.1', 53, {
      message: (_, from, port) => got.push(`${who} ${from}:${port}`),
      failed: (error) => got.push(`${who} ${error}`),
    });
  const first = await ask('first');
  const [socket] = host.datagrams;
  socket.events.message(new Uint8Array(1), '1.1.1.1', 1);
  await expect(ask('at once')).rejects.toMatchObject({ code: 'HOST_PORT' });
  first.close();
  first.sendTo(new Uint8Array(1), '1.1.1.1', 1);
  socket.events.message(new Uint8Array(1), '2.2.2.2', 2);
  const second = await ask('second');
  second.sendTo(new Uint8Array(1), '3.3.3.3', 3);
  socket.events.failed('ECONNREFUSED');
  expect(got).toEqual(['first 1.1.1.1:1', 'second ECONNREFUSED']);
  expect(socket.sent.map(({ to }) => to)).toEqual(['3.3.3.3:3']);
  expect([host.datagrams.length, socket.closed]).toEqual([1, false]);
  kept.release();
  expect(socket.closed).toBe(true);
});

it('has the host’s port all the while', async () => {
  const kept = new KeptPorts(nodeHost);
  const probe = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => probe.once('listening', resolve));
  const { port } = probe.address() as net.AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  (await kept.listen('127.0.0.1', port, () => undefined)).close();
  await expect(nodeHost.listen('127.0.0.1', port, () => undefined)).rejects.toMatchObject({
    code: 'HOST_PORT',
  });
  kept.release();
  (await nodeHost.listen('127.0.0.1', port, () => undefined)).close();
});
