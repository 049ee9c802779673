import { describe, expect, it } from 'vitest';
import { encodeNegotiation, IcStatus } from '../protocol/icmsg.ts';
import { ComponentBench } from '../test-utils/component-bench.ts';
import { Component } from './definition.ts';
import { ask, askFor, RootComponent, waitFor } from './root-component.ts';

function setUp() {
  const bench = new ComponentBench();
  const heard: string[] = [];
  const component = new RootComponent(Component.SHUTDOWN, bench.services, {
    onReady: () => heard.push('ready'),
    onClosed: () => heard.push('closed'),
  });
  component.start();
  bench.open();
  /** One request, with this body; its first byte of the answer. */
  const request = (byte: number, timeoutMs = 1000) => {
    const answer = component.run(function* () {
      return (yield* askFor('it', Uint8Array.of(byte), timeoutMs))[0];
    });
    answer.catch(() => {});
    bench.settle();
    return answer;
  };
  const fault = (kind: string) => bench.counters.counter(`fault.ic.${kind}`).value;
  return { bench, component, heard, request, fault };
}

const code = (code: string) => expect.objectContaining({ code });

describe('RootComponent', () => {
  it('is ready once versions are agreed on, and closed after it', () => {
    const { bench, component, heard } = setUp();
    expect(component.state).toBe('negotiating');
    expect(component.version).toBeUndefined();
    bench.negotiate({ major: 3, minor: 1 });
    expect(component.state).toBe('ready');
    expect(component.version).toEqual({ major: 3, minor: 1 });
    component.need({ major: 3, minor: 1 }, 'it');
    expect(() => component.need({ major: 3, minor: 2 }, 'it')).toThrow(code('IC_UNSUPPORTED'));
    bench.close();
    expect(component.state).toBe('closed');
    expect(heard).toEqual(['ready', 'closed']);
  });

  it.each([
    ['none', { frameworks: [], versions: [] }, 0],
    [
      'one that was not offered',
      { frameworks: [{ major: 3, minor: 0 }], versions: [{ major: 9, minor: 9 }] },
      1,
    ],
  ])('is refused by a guest that chooses %s', async (_name, chosen, faults) => {
    const { bench, component, request, fault } = setUp();
    bench.answer(bench.take(), { body: encodeNegotiation(chosen) });
    expect(component.state).toBe('refused');
    expect(fault('negotiation')).toBe(faults);
    await expect(request(1)).rejects.toEqual(code('IC_NOT_READY'));
  });

  it('asks one thing at a time, in order, with a transaction of its own each', async () => {
    const { bench, request } = setUp();
    bench.negotiate();
    const answers = [1, 2, 3].map((byte) => request(byte));
    const ids: number[] = [];
    for (const byte of [1, 2, 3]) {
      const asked = bench.take();
      expect(bench.inbox).toEqual([]);
      expect([...asked.body]).toEqual([byte]);
      ids.push(asked.transactionId);
      bench.answer(asked, { body: Uint8Array.of(10 * byte) });
    }
    expect(new Set(ids).size).toBe(3);
    expect(await Promise.all(answers)).toEqual([10, 20, 30]);
  });

  it('counts transactions in a byte', async () => {
    const { bench, request } = setUp();
    bench.negotiate();
    for (let i = 0; i < 600; i++) {
      const answer = request(i & 0xff);
      bench.answer(bench.take());
      expect(await answer).toBe(i & 0xff);
    }
  });

  it('holds the next request back until a late answer has come', async () => {
    const { bench, request, fault } = setUp();
    bench.negotiate();
    const late = request(1, 1000);
    const asked = bench.take();
    bench.pass(999);
    const next = request(2, 5000);
    bench.pass(1);
    await expect(late).rejects.toEqual(code('IC_TIME_OUT'));
    expect(bench.inbox).toEqual([]);
    bench.pass(1000);
    bench.answer(asked);
    expect(bench.counters.counter('ic.shutdown.late').value).toBe(1);
    bench.answer(asked);
    expect(fault('unasked')).toBe(1);
    bench.answer(bench.take(), { body: Uint8Array.of(7) });
    expect(await next).toBe(7);
  });

  it('gives up a request that waits for a late answer in its own time', async () => {
    const { bench, request } = setUp();
    bench.negotiate();
    const first = request(1, 1000);
    const asked = bench.take();
    bench.pass(1000);
    await expect(first).rejects.toEqual(code('IC_TIME_OUT'));
    const second = request(2, 1000);
    bench.pass(1000);
    await expect(second).rejects.toEqual(code('IC_TIME_OUT'));
    bench.answer(asked);
    expect(bench.inbox).toEqual([]);
    const third = request(3);
    bench.answer(bench.take());
    expect(await third).toBe(3);
  });

  it('tells a status that is no success, and leaves it to who wants it', async () => {
    const { bench, component, request } = setUp();
    bench.negotiate();
    const refusal = request(1);
    bench.answer(bench.take(), { status: IcStatus.E_FAIL });
    await expect(refusal).rejects.toEqual(
      expect.objectContaining({ code: 'IC_REFUSED', status: IcStatus.E_FAIL }),
    );
    const answer = component.run(() => ask(Uint8Array.of(2), 1000));
    bench.settle();
    bench.answer(bench.take(), { status: 7 });
    expect(await answer).toEqual({ status: 7, body: Uint8Array.of(2) });
  });

  it('runs an operation to its end before the next begins, also while the host is at work', async () => {
    const { bench, component, request } = setUp();
    bench.negotiate();
    const host = Promise.withResolvers<number>();
    const long = component.run(function* () {
      yield* askFor('begin', Uint8Array.of(1), 1000);
      const value = yield* waitFor(host.promise);
      yield* askFor('end', Uint8Array.of(value), 1000);
      return 'done';
    });
    bench.settle();
    const short = request(9);
    bench.answer(bench.take());
    expect(bench.inbox).toEqual([]);
    host.resolve(5);
    await host.promise;
    bench.settle();
    const end = bench.take();
    expect([...end.body]).toEqual([5]);
    bench.answer(end);
    expect(await long).toBe('done');
    bench.answer(bench.take());
    expect(await short).toBe(9);
  });

  it('throws what ends an operation into it, so that it can put things right', async () => {
    const { bench, component } = setUp();
    bench.negotiate();
    const seen: string[] = [];
    const operation = component.run(function* () {
      try {
        yield* askFor('it', Uint8Array.of(1), 1000);
      } catch (error) {
        seen.push((error as { code: string }).code);
        yield* askFor('undo', Uint8Array.of(2), 1000);
      }
    });
    operation.catch(() => {});
    bench.settle();
    bench.close();
    await expect(operation).rejects.toEqual(code('IC_CLOSED'));
    expect(seen).toEqual(['IC_CLOSED']);
    bench.open();
    bench.negotiate();
    expect(bench.inbox).toEqual([]);
  });

  it('lets no operation go on with a guest that has opened the channel anew', async () => {
    const { bench, component } = setUp();
    bench.negotiate();
    const host = Promise.withResolvers<void>();
    const operation = component.run(function* () {
      yield* waitFor(host.promise);
      yield* askFor('it', Uint8Array.of(1), 1000);
    });
    bench.settle();
    bench.close();
    bench.open();
    bench.negotiate();
    host.resolve();
    await host.promise;
    bench.settle();
    await expect(operation).rejects.toEqual(code('IC_CLOSED'));
    expect(bench.inbox).toEqual([]);
  });

  it('fails what waits when the channel is closed, and what the host does for an operation at its end', async () => {
    const { bench, component, request } = setUp();
    bench.negotiate();
    const host = Promise.withResolvers<void>();
    const operation = component.run(function* () {
      yield* waitFor(host.promise);
      yield* askFor('it', Uint8Array.of(1), 1000);
    });
    bench.settle();
    const waiting = request(2);
    bench.close();
    await expect(waiting).rejects.toEqual(code('IC_CLOSED'));
    host.resolve();
    await host.promise;
    bench.settle();
    await expect(operation).rejects.toEqual(code('IC_CLOSED'));
  });

  it('refuses what makes too much wait, and all while the partition is paused', async () => {
    const { bench, request } = setUp();
    bench.negotiate();
    const waiting = Array.from({ length: 257 }, (_, i) => request(i & 0xff));
    await expect(request(1)).rejects.toEqual(code('IC_BUSY'));
    bench.paused = true;
    await expect(request(1)).rejects.toEqual(code('IC_PAUSED'));
    bench.close();
    for (const one of waiting) await expect(one).rejects.toEqual(code('IC_CLOSED'));
  });
});
