import { type GpaSpace, KenshoError } from '@kensho/core';
import type { Pic } from './pic.ts';

/** Where the handlers lie: behind the vectors and the data that a PC's firmware keeps there. */
const HANDLERS = 0x500;
/** Vectors of the interrupt controllers, as a PC's firmware chooses them. */
const MASTER_VECTOR = 0x08;
const SLAVE_VECTOR = 0x70;
const VECTORS = 256;
/** IRQ 0, and 2, the cascade. */
const UNMASKED = 0x05;

/** iret */
const IGNORE = [0xcf];
/** push ax; mov al, 20h; out 20h, al; pop ax; iret */
const END_MASTER = [0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf];
/** push ax; mov al, 20h; out a0h, al; out 20h, al; pop ax; iret */
const END_SLAVE = [0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58, 0xcf];

/** What real-mode code stands on. */
export interface RealModeServices {
  readonly gpa: GpaSpace;
  readonly pic: Pic;
}

/**
 * Leaves what a PC's firmware leaves for real-mode code that brings no handlers of its own: interrupt vectors of which
 * those of IRQs end their interrupt and all others return, and interrupt controllers that know them, open for the timer.
 *
 * @throws KenshoError NO_RAM where the first page is none
 */
export function prepareRealMode({ gpa, pic }: RealModeServices): void {
  const vectors = Buffer.alloc(VECTORS * 4);
  const endMaster = HANDLERS + IGNORE.length;
  const endSlave = endMaster + END_MASTER.length;
  for (let vector = 0; vector < VECTORS; vector++) {
    const irq = vector & ~7;
    const handler = irq === MASTER_VECTOR ? endMaster : irq === SLAVE_VECTOR ? endSlave : HANDLERS;
    vectors.writeUInt16LE(handler, vector * 4);
  }
  const handlers = Uint8Array.from([...IGNORE, ...END_MASTER, ...END_SLAVE]);
  if (!gpa.write(0, vectors) || !gpa.write(HANDLERS, handlers)) {
    throw new KenshoError('NO_RAM', 'real-mode code needs RAM at 0');
  }
  pic.initialise(MASTER_VECTOR, SLAVE_VECTOR, ~UNMASKED & 0xff, 0xff);
}
