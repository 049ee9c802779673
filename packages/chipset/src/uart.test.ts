import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ModemLines, type SerialBackend, type SerialLine } from './serial-backend.ts';
import { fakeServices } from './test-utils/fakes.ts';
import { Uart } from './uart.ts';

/** A backend that keeps what it gets, and can be made busy. */
class FakeBackend implements SerialBackend {
  readonly sent: number[] = [];
  line!: SerialLine;
  room = Number.POSITIVE_INFINITY;
  inputSpaces = 0;

  connect(line: SerialLine): void {
    this.line = line;
  }
  send(byte: number): boolean {
    if (this.room === 0) return false;
    this.room--;
    this.sent.push(byte);
    return true;
  }
  onInputSpace(): void {
    this.inputSpaces++;
  }
  get text(): string {
    return String.fromCharCode(...this.sent);
  }
}

function setUp(com: 1 | 2 = 1) {
  const services = fakeServices();
  const backend = new FakeBackend();
  const uart = new Uart(services, { com, backend });
  const base = com === 1 ? 0x3f8 : 0x2f8;
  const irq = com === 1 ? 4 : 3;
  return {
    ...services,
    backend,
    uart,
    read: (register: number) => services.ports.in(base + register),
    write: (register: number, value: number) => services.ports.out(base + register, value),
    receive: (text: string) => {
      const taken = backend.line.receive(new TextEncoder().encode(text));
      services.work.run();
      return taken;
    },
    raised: () => services.interruptLines.levels[irq],
    rises: () => services.interruptLines.rises[irq],
  };
}

const [DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR] = [0, 1, 2, 3, 4, 5, 6, 7];
const FCR = IIR;
const OUT2 = 0x08;

describe('Uart', () => {
  it("is a 16550A to Linux's probe", () => {
    const { read, write } = setUp();
    write(IER, 0);
    expect(read(IER)).toBe(0);
    write(IER, 0xff);
    expect(read(IER)).toBe(0x0f);
    write(IER, 0);
    expect(read(LSR)).toBe(0x60);
    expect(read(IIR)).toBe(0x01);
    write(FCR, 0x01);
    expect(read(IIR) >> 6).toBe(3);
    // No more than a 16550A: no enhanced features, no 64-byte FIFO.
    write(LCR, 0xbf);
    expect(read(IIR)).not.toBe(0);
    write(LCR, 0);
    write(FCR, 0x21);
    expect(read(IIR) & 0x20).toBe(0);
    write(FCR, 0x00);
    expect(read(IIR) >> 6).toBe(0);
    write(SCR, 0x5a);
    expect(read(SCR)).toBe(0x5a);
  });

  it('keeps the divisor behind its own bit', () => {
    const { read, write, backend } = setUp();
    write(LCR, 0x83);
    write(DATA, 0x01);
    write(IER, 0x02);
    expect([read(DATA), read(IER)]).toEqual([0x01, 0x02]);
    write(LCR, 0x03);
    expect(read(IER)).toBe(0);
    expect(backend.sent).toEqual([]);
  });

  it('sends what is written', () => {
    const { write, read, backend } = setUp(2);
    for (const char of 'hello') {
      expect(read(LSR) & 0x20).toBe(0x20);
      write(DATA, char.charCodeAt(0));
    }
    expect(backend.text).toBe('hello');
  });

  it('announces an empty transmitter when that is asked for, and each time it becomes empty', () => {
    const { read, write, raised, rises } = setUp();
    write(MCR, OUT2);
    write(IER, 0x02);
    expect(raised()).toBe(true);
    expect(read(IIR)).toBe(0x02);
    expect(raised()).toBe(false);
    expect(read(IIR)).toBe(0x01);
    // Linux's test for a missing re-assertion: off, on, and there must be one again.
    write(IER, 0);
    write(IER, 0x02);
    expect(read(IIR)).toBe(0x02);
    write(DATA, 0x41);
    expect(raised()).toBe(true);
    expect(rises()).toBe(3);
    expect(read(IIR)).toBe(0x02);
    expect(read(IIR)).toBe(0x01);
  });

  it('keeps the IRQ behind OUT2, and off in loopback', () => {
    const { write, raised } = setUp();
    write(IER, 0x02);
    expect(raised()).toBe(false);
    write(MCR, OUT2);
    expect(raised()).toBe(true);
    write(MCR, OUT2 | 0x10);
    expect(raised()).toBe(false);
  });

  it('waits with what a busy backend does not take, and drops no byte of a guest that waits too', () => {
    const { read, write, backend, work, raised } = setUp();
    write(FCR, 0x01);
    write(MCR, OUT2);
    write(IER, 0x02);
    read(IIR);
    backend.room = 1;
    write(DATA, 0x31);
    expect(read(IIR) & 0x0f).toBe(0x02);
    for (let i = 0; i < 16; i++) write(DATA, 0x41 + i);
    expect(read(LSR) & 0x60).toBe(0);
    expect(raised()).toBe(false);
    backend.room = 5;
    backend.line.resumeOutput();
    work.run();
    expect(read(LSR) & 0x60).toBe(0);
    backend.room = 100;
    backend.line.resumeOutput();
    work.run();
    expect(backend.text).toBe('1ABCDEFGHIJKLMNOP');
    expect(read(LSR) & 0x60).toBe(0x60);
    expect(raised()).toBe(true);
  });

  it('holds no more than its FIFO of what the guest does not wait with', () => {
    const { write, backend, work } = setUp();
    write(FCR, 0x01);
    backend.room = 0;
    for (let i = 0; i < 1000; i++) write(DATA, i & 0xff);
    backend.room = 1000;
    backend.line.resumeOutput();
    work.run();
    expect(backend.sent).toEqual([...Array(15).keys(), 999 & 0xff]);
  });

  it('receives into its FIFO, announces the trigger level and the rest as a time-out', () => {
    const { read, write, receive, raised } = setUp();
    write(FCR, 0x41);
    write(MCR, OUT2);
    write(IER, 0x01);
    receive('abc');
    expect(raised()).toBe(true);
    expect(read(IIR)).toBe(0xcc);
    receive('defg');
    expect(read(IIR)).toBe(0xc4);
    let text = '';
    while ((read(LSR) & 1) !== 0) text += String.fromCharCode(read(DATA));
    expect(text).toBe('abcdefg');
    expect(raised()).toBe(false);
    expect(read(IIR)).toBe(0xc1);
  });

  it('gets any input through in order, without an overrun, and says when there is room', () => {
    const { read, write, backend, work } = setUp();
    write(FCR, 0x01);
    const input = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7) & 0xff);
    let offered = backend.line.receive(input);
    expect(offered).toBe(65_536);
    expect(backend.line.receive(input.subarray(offered))).toBe(0);
    work.run();
    const got: number[] = [];
    while ((read(LSR) & 3) === 1) {
      got.push(read(DATA));
      work.run();
      if (backend.inputSpaces > 0) {
        backend.inputSpaces = 0;
        offered += backend.line.receive(input.subarray(offered));
        work.run();
      }
    }
    expect(got.length).toBe(input.length);
    expect(Uint8Array.from(got)).toEqual(input);
  });

  it('has one byte to receive into without FIFOs', () => {
    const { read, receive } = setUp();
    receive('xy');
    expect(read(LSR) & 1).toBe(1);
    expect(read(DATA)).toBe(0x78);
    expect(read(LSR) & 1).toBe(1);
    expect(read(DATA)).toBe(0x79);
    expect(read(LSR) & 1).toBe(0);
  });

  it('tells of a break with the character that it is, and as an interrupt of its own', () => {
    const { read, write, receive, backend, work, raised } = setUp();
    write(FCR, 0x01);
    write(MCR, OUT2);
    write(IER, 0x05);
    receive('a');
    backend.line.receiveBreak();
    receive('h');
    work.run();
    expect(read(LSR)).toBe(0x61 | 0x80);
    expect(read(DATA)).toBe(0x61);
    expect(read(IIR)).toBe(0xc6);
    expect(read(LSR)).toBe(0x61 | 0x80 | 0x10);
    expect(read(IIR)).toBe(0xc4);
    expect(read(DATA)).toBe(0);
    expect(read(LSR)).toBe(0x61);
    expect(read(DATA)).toBe(0x68);
    expect(raised()).toBe(false);
  });

  it('loops back data, overruns and modem lines', () => {
    const { read, write, backend } = setUp();
    write(FCR, 0x01);
    write(MCR, 0x1a);
    expect(read(MSR) & 0xf0).toBe(0x90);
    for (let i = 0; i < 17; i++) write(DATA, i);
    expect(backend.sent).toEqual([]);
    expect(read(LSR) & 0x03).toBe(0x03);
    expect(read(LSR) & 0x03).toBe(0x01);
    for (let i = 0; i < 16; i++) expect(read(DATA)).toBe(i);
    expect(read(LSR) & 0x01).toBe(0);
    write(LCR, 0x40);
    expect(read(LSR) & 0x11).toBe(0x11);
  });

  it('keeps input for after the loopback', () => {
    const { read, write, receive } = setUp();
    write(MCR, 0x10);
    receive('q');
    expect(read(LSR) & 1).toBe(0);
    write(MCR, 0x00);
    expect(read(DATA)).toBe(0x71);
  });

  it('shows the modem lines and what changed, of the ring only its end', () => {
    const { read, write, backend, work, raised } = setUp();
    expect(read(MSR)).toBe(0xb0);
    write(MCR, OUT2);
    write(IER, 0x08);
    backend.line.setModemLines(ModemLines.CLEAR_TO_SEND | ModemLines.RING);
    work.run();
    expect(raised()).toBe(true);
    expect(read(IIR)).toBe(0x00);
    expect(read(MSR)).toBe(0x50 | 0x0a);
    expect(raised()).toBe(false);
    backend.line.setModemLines(ModemLines.CLEAR_TO_SEND);
    work.run();
    expect(read(MSR)).toBe(0x10 | 0x04);
  });

  it('forgets what is in the FIFOs when they are cleared or switched', () => {
    const { read, write, receive } = setUp();
    write(FCR, 0x01);
    receive('abc');
    write(FCR, 0x03);
    expect(read(LSR) & 1).toBe(0);
    receive('abc');
    write(FCR, 0x00);
    expect(read(LSR) & 1).toBe(0);
  });

  it('takes everything where nothing is at the other end', () => {
    const services = fakeServices();
    const uart = new Uart(services, {});
    services.ports.out(0x3f8, 0x41);
    expect(services.ports.in(0x3fd)).toBe(0x60);
    expect(services.ports.in(0x3fe)).toBe(0);
    uart.stop();
    expect(services.ports.in(0x3fd)).toBe(0xff);
  });

  it('tells its other end when it goes', () => {
    const told: string[] = [];
    const backend = {
      connect: () => void told.push('connected'),
      disconnect: () => void told.push('gone'),
      send: () => true,
    };
    const services = fakeServices();
    new Uart(services, { backend }).stop();
    new Uart(services, { backend });
    expect(told).toEqual(['connected', 'gone', 'connected']);
  });

  it('raises nothing once it is gone', () => {
    const { uart, write, receive, raised, read } = setUp();
    write(MCR, OUT2);
    write(IER, 0x0f);
    expect(raised()).toBe(true);
    uart.stop();
    receive('late');
    expect(raised()).toBe(false);
    expect(read(LSR)).toBe(0xff);
  });

  it('bears any sequence of accesses', () => {
    const access = fc.tuple(fc.nat({ max: 7 }), fc.nat({ max: 255 }), fc.nat({ max: 3 }));
    fc.assert(
      fc.property(fc.array(access, { maxLength: 80 }), (accesses) => {
        const { read, write, receive, backend } = setUp();
        for (const [register, value, what] of accesses) {
          if (what === 0) receive('input');
          if (what === 1) backend.room = value & 3;
          if (what === 2) backend.line.resumeOutput();
          if (what === 3) backend.line.receiveBreak();
          write(register, value);
          expect(read(register)).toBeLessThanOrEqual(0xff);
        }
      }),
      { numRuns: 200 },
    );
  });
});
