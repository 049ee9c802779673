import { HvRegister, type TakenBranch } from '@kensho/core';
import type { GdbTarget } from './target.ts';

const HELP = `info counters [PREFIX]  what was counted: intercepts, hypercalls, interrupts
info vps                where each VP is
info branches           the last interrupts and exceptions, and branches if they are recorded
branches on|off         record every branch; the guest is slower meanwhile
gva2gpa ADDRESS         the guest-physical address behind a linear one, in this thread
xp ADDRESS [BYTES]      guest-physical memory
quit                    end the guest
`;

const XP_BYTES_MAX = 4096;
const XP_BYTES = 64;
const LINE_BYTES = 16;

/** Runs a command of GDB's `monitor`, for a VP; what it says. */
export function runMonitorCommand(command: string, target: GdbTarget, vpIndex: number): string {
  const words = command.trim().split(/\s+/);
  const [verb, noun = ''] = words;
  switch (verb) {
    case 'info':
      if (noun === 'counters') return counters(target, words[2] ?? '');
      if (noun === 'vps') return vps(target);
      if (noun === 'branches') return branchLines(target.debugger.processor?.branches() ?? []);
      return HELP;
    case 'branches':
      if (noun !== 'on' && noun !== 'off') return HELP;
      target.debugger.processor?.setBranchRecording(noun === 'on');
      return '';
    case 'gva2gpa': {
      const address = parse(noun);
      const gpa = address === undefined ? -1 : (target.debugger.processor?.translate(vpIndex, address) ?? -1);
      return gpa < 0 ? 'not mapped to RAM\n' : `0x${gpa.toString(16)}\n`;
    }
    case 'xp':
      return physical(target, noun, words[2]);
    case 'quit':
      target.kill();
      return '';
    default:
      return HELP;
  }
}

/** Taken branches, in a line each. */
export function branchLines(branches: readonly TakenBranch[]): string {
  return branches
    .map(({ vpIndex, from, to, vector }) => {
      const target = to === undefined ? 'failed' : hex(to);
      const event = vector === undefined ? '' : `  vector ${vector}`;
      return `VP ${vpIndex}  ${hex(from)} -> ${target}${event}\n`;
    })
    .join('');
}

function counters(target: GdbTarget, prefix: string): string {
  return Object.entries(target.counters.snapshot())
    .filter(([name, value]) => value !== 0 && name.startsWith(prefix))
    .map(([name, value]) => `${name} ${value}\n`)
    .join('');
}

function vps({ vpCount, registers }: GdbTarget): string {
  const lines: string[] = [];
  for (let vp = 0; vp < vpCount; vp++) {
    const [rip, rsp, cr3] = registers.get(vp, [HvRegister.RIP, HvRegister.RSP, HvRegister.CR3]);
    lines.push(`VP ${vp}  rip ${hex(rip)}  rsp ${hex(rsp)}  cr3 ${hex(cr3)}\n`);
  }
  return lines.join('');
}

function physical(target: GdbTarget, addressText: string, countText: string | undefined): string {
  const address = parse(addressText);
  const count = countText === undefined ? XP_BYTES : Number(countText);
  if (address === undefined || !(count > 0 && count <= XP_BYTES_MAX)) return HELP;
  const lines: string[] = [];
  for (let done = 0; done < count; done += LINE_BYTES) {
    const gpa = Number(address) + done;
    const bytes = Buffer.alloc(Math.min(LINE_BYTES, count - done));
    const there = Number.isSafeInteger(gpa) && target.gpa.read(gpa, bytes);
    const text = there ? (bytes.toString('hex').match(/../g) ?? []).join(' ') : 'no RAM';
    lines.push(`${hex(BigInt(gpa))}  ${text}\n`);
  }
  return lines.join('');
}

/** An address as people write it: hexadecimal with 0x, or decimal. */
function parse(text: string): bigint | undefined {
  return /^(0x[0-9a-f]{1,16}|\d{1,20})$/i.test(text) ? BigInt.asUintN(64, BigInt(text)) : undefined;
}

function hex(value: bigint): string {
  return value.toString(16).padStart(16, '0');
}
