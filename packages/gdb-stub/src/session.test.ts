import { GPA_SPACE } from '@kensho/core';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { encodePacket } from './packet.ts';
import { FEATURES, REGISTERS } from './registers.ts';
import { CODE, DebuggedMachine } from './test-utils/debugged-machine.ts';
import { GdbClient } from './test-utils/gdb-client.ts';

/** inc eax; inc ecx; mov [2000h], eax; jmp back to the start */
const LOOP = '40 41 a300200000 ebf7';
const HALT = 'fa f4 ebfc';
const INT3_WITHOUT_IDT = '0f011d00300000 cc';
const EAX = 0;

let machine: DebuggedMachine;
const start = async (code: string, vpCount?: number) => {
  machine = await DebuggedMachine.start(code, vpCount);
  return machine.client;
};
afterEach(() => machine.close());

describe('a connection', () => {
  it('stops the guest before its first instruction', async () => {
    const gdb = await start(LOOP);
    expect(await gdb.begin()).toBe('T02thread:1;');
    expect(await machine.rip()).toBe(CODE);
  });

  it('says what it can do', async () => {
    const gdb = await start(LOOP);
    expect(await gdb.ask('qSupported:multiprocess+')).toMatch(/^PacketSize=4000;.*qXfer:features:read\+/);
    expect(await gdb.ask('vCont?')).toBe('vCont;c;C;s;S;r');
    expect(await gdb.ask('qAttached')).toBe('1');
    for (const unknown of ['vMustReplyEmpty', 'qTStatus', 'jfoo', 'Z7,0,1', '!']) {
      expect(await gdb.ask(unknown)).toBe('');
    }
  });

  it('describes its registers', async () => {
    const gdb = await start(LOOP);
    let xml = '';
    for (let part = 'm'; part.startsWith('m'); xml += part.slice(1)) {
      part = await gdb.ask(`qXfer:features:read:target.xml:${xml.length.toString(16)},200`);
    }
    expect(xml.match(/<reg /g)).toHaveLength(REGISTERS.length);
    for (const { name } of FEATURES) expect(xml).toContain(`<feature name="${name}">`);
    expect(await gdb.ask('qXfer:features:read:other.xml:0,10')).toBe('E00');
    const bits = REGISTERS.reduce((sum, register) => sum + register.bits, 0);
    expect(await gdb.ask('g')).toHaveLength(bits / 4);
  });

  it('is one at a time', async () => {
    await start(LOOP);
    const second = await GdbClient.connect(machine.server.address.port);
    expect(await second.reply()).toBe('');
    expect(second.closed).toBe(true);
  });

  it('acknowledges, asks for what was broken, and sends again', async () => {
    const gdb = await start(LOOP);
    gdb.raw('$qC#00');
    expect(await gdb.next()).toEqual({ kind: 'nak' });
    gdb.send('qC');
    expect(await gdb.next()).toEqual({ kind: 'ack' });
    expect(await gdb.reply()).toBe('QC1');
    gdb.raw('-');
    expect(await gdb.reply()).toBe('QC1');
    expect(await gdb.ask('QStartNoAckMode')).toBe('OK');
    gdb.send('qC');
    expect(await gdb.next()).toMatchObject({ kind: 'packet' });
  });

  it('that is lost lets the guest go on, and another can follow', async () => {
    const gdb = await start(LOOP);
    await gdb.begin();
    await gdb.ask('Z0,1001,1');
    gdb.close();
    await expect.poll(() => machine.partition.counters.snapshot()['run.instructions']).toBeGreaterThan(1e5);
    const second = await GdbClient.connect(machine.server.address.port);
    expect(await second.begin()).toBe('T02thread:1;');
    expect(await second.ask('D')).toBe('OK');
    expect(await second.reply()).toBe('');
  });
});

describe('breakpoints', () => {
  it.each([
    ['Z0', 'swbreak:;'],
    ['Z1', 'hwbreak:;'],
  ])('%s stops, as %s, until it is taken away', async (insert, name) => {
    const gdb = await start(LOOP);
    await gdb.begin();
    expect(await gdb.ask(`${insert},1001,1`)).toBe('OK');
    for (let round = 1; round <= 3; round++) {
      expect(await gdb.ask('c')).toBe(`T05${name}thread:1;`);
      expect([await machine.rip(), await machine.register(EAX)]).toEqual([CODE + 1, round]);
    }
    expect(await gdb.ask('m1000,2')).toBe('4041');
    expect(await gdb.ask(`z${insert[1]},1001,1`)).toBe('OK');
    gdb.send('c');
    gdb.raw('\x03');
    expect(await gdb.reply()).toBe('T02thread:1;');
  });

  it.each([
    ['Z2', 'watch'],
    ['Z4', 'awatch'],
  ])('%s watches', async (insert, name) => {
    const gdb = await start(LOOP);
    await gdb.begin();
    expect(await gdb.ask(`${insert},2000,4`)).toBe('OK');
    expect(await gdb.ask('c')).toBe(`T05${name}:2000;thread:1;`);
    expect(await machine.rip()).toBe(CODE + 7);
    expect(await gdb.ask('m2000,4')).toBe('01000000');
  });

  it('more than there are, and what is none, are refused', async () => {
    const gdb = await start(LOOP);
    await gdb.begin();
    for (let i = 0; i < 64; i++) expect(await gdb.ask(`Z2,${(0x3000 + i).toString(16)},1`)).toBe('OK');
    expect(await gdb.ask('Z2,4000,1')).toBe('E16');
    expect(await gdb.ask('Z0,,1')).toBe('E16');
    expect(await gdb.ask('Z2,2000,0')).toBe('E16');
  });
});

describe('going on', () => {
  it('steps one instruction, from where it is told to', async () => {
    const gdb = await start(LOOP);
    await gdb.begin();
    expect(await gdb.ask('s')).toBe('T05thread:1;');
    expect(await machine.rip()).toBe(CODE + 1);
    expect(await gdb.ask('vCont;s:1;c')).toBe('T05thread:1;');
    expect(await machine.rip()).toBe(CODE + 2);
    await gdb.ask('s1000');
    expect(await machine.rip()).toBe(CODE + 1);
  });

  it('steps through a range, up to a breakpoint in it', async () => {
    const gdb = await start(LOOP);
    await gdb.begin();
    expect(await gdb.ask('vCont;r1000,1007:1')).toBe('T05thread:1;');
    expect(await machine.rip()).toBe(CODE + 7);
    await gdb.ask('Z0,1001,1');
    await gdb.ask('vCont;r1000,1009:1');
    expect(await machine.rip()).toBe(CODE + 1);
  });

  it('is interrupted where the guest is halted, too', async () => {
    const gdb = await start(HALT);
    await gdb.begin();
    gdb.send('c');
    gdb.raw('\x03');
    expect(await gdb.reply()).toBe('T02thread:1;');
  });

  it('is told of the end', async () => {
    const gdb = await start(INT3_WITHOUT_IDT);
    await gdb.begin();
    expect(await gdb.ask('c')).toBe('T06thread:1;');
    expect(await machine.rip()).toBe(CODE + 7);
    gdb.send('c');
    expect(await machine.end).toEqual({ reason: 'triple-fault', vpIndex: 0 });
    await machine.server.close(14);
    expect(await gdb.reply()).toBe('W0e');
  });

  it('ends when the guest is killed', async () => {
    const gdb = await start(LOOP);
    await gdb.begin();
    gdb.send('k');
    expect(await machine.end).toEqual({ reason: 'stopped' });
    expect(machine.killed).toBe(true);
  });
});

describe('a machine that is made anew', () => {
  it('still has the breakpoints, and runs where it ran', async () => {
    const gdb = await start(HALT);
    await gdb.begin();
    expect(await gdb.ask(`Z0,${(CODE + 2).toString(16)},1`)).toBe('OK');
    gdb.send('c');
    await machine.restart(LOOP);
    expect(await gdb.reply()).toBe('T05swbreak:;thread:1;');
    expect([await machine.rip(), await machine.register(EAX)]).toEqual([CODE + 2, 1]);
    expect(await gdb.ask(`z0,${(CODE + 2).toString(16)},1`)).toBe('OK');
    gdb.send('c');
    gdb.raw('\x03');
    expect(await gdb.reply()).toBe('T02thread:1;');
  });

  it('stops before its first instruction where it was interrupted meanwhile', async () => {
    const gdb = await start(HALT);
    await gdb.begin();
    gdb.send('c');
    await machine.restart(LOOP, async () => {
      gdb.raw('\x03');
      const late = await GdbClient.connect(machine.server.address.port);
      // Nobody is served, and the interrupt has come by then.
      expect(await late.reply()).toBe('');
    });
    expect(await gdb.reply()).toBe('T02thread:1;');
    expect(await machine.rip()).toBe(CODE);
  });

  it('can be debugged by one who comes later', async () => {
    const first = await start(HALT);
    await first.begin();
    first.close();
    await machine.restart(LOOP);
    let gdb = await GdbClient.connect(machine.server.address.port);
    // The first one's connection may not have ended yet.
    while (gdb.closed || (await gdb.ask('vCont?')) === '') {
      gdb = await GdbClient.connect(machine.server.address.port);
    }
    expect(await gdb.begin()).toBe('T02thread:1;');
    gdb.close();
  });
});

describe('registers and memory', () => {
  it('are written one by one and together', async () => {
    const gdb = await start(LOOP);
    await gdb.begin();
    expect(await gdb.ask('P0=7856341200000000')).toBe('OK');
    expect(await machine.register(EAX)).toBe(0x12345678);
    const all = await gdb.ask('g');
    const changed = `${'11'.repeat(8)}${all.slice(16)}`;
    expect(await gdb.ask(`G${changed}`)).toBe('OK');
    expect(await gdb.ask('g')).toBe(changed);
    for (const wrong of ['G00', `G${changed}00`, 'P0=12', 'Pffff=00', 'pffff', 'p', 'Px=1']) {
      expect(await gdb.ask(wrong)).toBe('E16');
    }
  });

  it.each(REGISTERS.map(({ name, bits }, i) => [name, bits, i] as const))(
    '%s can be written with itself',
    async (_name, _bits, number) => {
      const gdb = await start(LOOP);
      await gdb.begin();
      const before = await gdb.ask('g');
      const value = await gdb.ask(`p${number.toString(16)}`);
      expect(await gdb.ask(`P${number.toString(16)}=${value}`)).toBe('OK');
      expect(await gdb.ask('g')).toBe(before);
    },
  );

  it('are read as far as there is RAM, and written there', async () => {
    const gdb = await start(LOOP);
    await gdb.begin();
    expect(await gdb.ask('M2000,3:010203')).toBe('OK');
    expect(await gdb.ask(Buffer.from('X2003,2:\x7d#', 'latin1'))).toBe('OK');
    expect(await gdb.ask('m2000,5')).toBe('0102037d23');
    expect(await gdb.ask('m9fffe,10')).toHaveLength(4);
    expect(await gdb.ask('ma0000,1')).toBe('E0e');
    expect(await gdb.ask('mffffffffffffffff,2')).toBe('E0e');
    expect(await gdb.ask('Ma0000,1:00')).toBe('E0e');
    for (const wrong of ['m', 'm0', 'mx,1', 'M2000,2:00', 'M2000,1', 'X2000,2:a']) {
      expect(await gdb.ask(wrong)).toBe('E16');
    }
  });

  it('that are code are decoded anew', async () => {
    const gdb = await start(LOOP);
    await gdb.begin();
    await gdb.ask('Z0,1007,1');
    await gdb.ask('c');
    // dec eax instead of inc eax
    await gdb.ask('M1000,1:48');
    await gdb.ask('c');
    expect(await machine.register(EAX)).toBe(0);
  });
});

describe('threads', () => {
  it('are the VPs', async () => {
    const gdb = await start(LOOP, 2);
    await gdb.begin();
    expect(await gdb.ask('qfThreadInfo')).toBe('m1,2');
    expect(await gdb.ask('qsThreadInfo')).toBe('l');
    expect(await gdb.ask('qThreadExtraInfo,2')).toBe(Buffer.from('VP 1').toString('hex'));
    expect(await gdb.ask('T2')).toBe('OK');
    expect(await gdb.ask('T3')).toBe('E16');
    expect(await gdb.ask('Hg2')).toBe('OK');
    expect(await gdb.ask('qC')).toBe('QC2');
    expect(await machine.rip()).toBe(0xfff0);
    expect(await gdb.ask('Hg3')).toBe('E16');
  });

  it('go on alone or together', async () => {
    const gdb = await start(LOOP, 2);
    await gdb.begin();
    expect(await gdb.ask('vCont;s:1')).toBe('T05thread:1;');
    expect(await gdb.ask('vCont;s:1;c')).toBe('T05thread:1;');
    expect(await machine.rip()).toBe(CODE + 2);
    // The second waits to be started.
    gdb.send('vCont;c:2');
    gdb.raw('\x03');
    await gdb.reply();
    expect(await gdb.ask('Hg1')).toBe('OK');
    expect(await machine.rip()).toBe(CODE + 2);
  });
});

describe('monitor commands', () => {
  const monitor = async (gdb: GdbClient, command: string) => {
    let text = '';
    let reply = await gdb.ask(`qRcmd,${Buffer.from(command).toString('hex')}`);
    for (; reply.startsWith('O') && reply !== 'OK'; reply = await gdb.reply()) {
      text += Buffer.from(reply.slice(1), 'hex').toString();
    }
    expect(reply).toBe('OK');
    return text;
  };

  it('show what GDB cannot ask for', async () => {
    const gdb = await start(LOOP);
    await gdb.begin();
    await monitor(gdb, 'branches on');
    await gdb.ask('Z0,1001,1');
    for (let i = 0; i < 2; i++) await gdb.ask('c');
    expect(await monitor(gdb, 'info branches')).toBe('VP 0  0000000000001007 -> 0000000000001000\n');
    expect(await monitor(gdb, 'info counters run.')).toMatch(/^run\.instructions 5\n/m);
    expect(await monitor(gdb, 'info vps')).toMatch(/^VP 0 {2}rip 0000000000001001/);
    expect(await monitor(gdb, 'gva2gpa 0x1234')).toBe('0x1234\n');
    expect(await monitor(gdb, 'gva2gpa 0x200000')).toBe('not mapped to RAM\n');
    expect(await monitor(gdb, 'xp 0x1000 2')).toBe('0000000000001000  40 41\n');
    for (const wrong of ['', 'nonsense', 'info', 'xp', 'xp 0 5000']) {
      expect(await monitor(gdb, wrong)).toMatch(/^info counters/);
    }
    await monitor(gdb, 'quit');
    expect(await machine.end).toEqual({ reason: 'stopped' });
  });
});

/** Packets that look like some, and ones that do not. */
const packet = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc
    .tuple(
      fc.constantFrom(
        'm',
        'M',
        'X',
        'p',
        'P',
        'G',
        'H',
        'T',
        'Z0,',
        'z0,',
        'Z2,',
        'qXfer:features:read:',
        'qRcmd,',
      ),
      fc.string({ maxLength: 20, unit: fc.constantFrom(...'0123456789abcdef,:;=-+.') }),
    )
    .map((parts) => parts.join('')),
);

it('whatever GDB sends, a stopped guest stays, and the next question is answered', async () => {
  const gdb = await start(LOOP);
  await gdb.begin();
  await fc.assert(
    fc.asyncProperty(fc.array(packet, { maxLength: 20 }), async (packets) => {
      // What resumes the guest, ends it or lets it go has tests of its own.
      const harmless = packets.filter((text) => !/^([cCsSkDv?]|qRcmd,.*71756974)/.test(text));
      gdb.raw(Buffer.concat(harmless.map((text) => encodePacket(Buffer.from(text)))));
      gdb.send('qC');
      let reply = '';
      while (!/^QC/.test(reply)) reply = await gdb.reply();
    }),
    { numRuns: 60 },
  );
  expect(machine.partition.services.resolve(GPA_SPACE).accessOf(1)).toBe(7);
});
