// Runs the handlers of the FPU part.
import { immOf } from '../record';
import { keyGenerationAssist, sha1Rounds } from './crypto';
import {
  AESKEYGENASSIST,
  FXRSTOR,
  FXSAVE,
  LDMXCSR,
  MAP1,
  MAP2,
  MAP2_HIGH,
  MAP3,
  PALIGNR_MMX,
  SHA1RNDS4,
  SHIFT_MMX,
  SHIFT_XMM,
  STMXCSR,
  XRSTOR,
  XSAVE,
  XSAVEC,
} from './form';
import { executeMap1 } from './map1';
import { executeMap2, executeMap2High, executeMap3 } from './map23';
import { alignMmx, shiftMmx, shiftXmm } from './mmx';
import { destination, setDestination, source } from './sse-operand';
import { executeX87 } from './x87';
import { fxrstor, fxsave, ldmxcsr, stmxcsr, xrstor, xsave, xsavec } from './x87-save';

/** Runs a handler of the FPU part. */
export function executeFpu(handler: u32, op: u32): void {
  if (handler < MAP1) executeX87(handler, op);
  else if (handler < MAP2) executeMap1(handler - MAP1, op);
  else if (handler < MAP2_HIGH) executeMap2(handler - MAP2, op);
  else if (handler < MAP3) executeMap2High(handler - MAP2_HIGH + 0xc8, op);
  else if (handler < PALIGNR_MMX) executeMap3(handler - MAP3, op);
  else if (handler < SHIFT_XMM) executeNamed(handler, op);
  else if (handler < SHIFT_MMX) shiftXmm(handler - SHIFT_XMM, op);
  else shiftMmx(handler - SHIFT_MMX, op);
}

/** Handlers with numbers of their own. */
function executeNamed(handler: u32, op: u32): void {
  switch (handler) {
    case PALIGNR_MMX:
      alignMmx(op);
      break;
    case SHA1RNDS4: {
      const b = source(op);
      setDestination(op, sha1Rounds(destination(op), b, <u32>immOf(op)));
      break;
    }
    case AESKEYGENASSIST:
      setDestination(op, keyGenerationAssist(source(op), <u32>immOf(op) & 0xff));
      break;
    case FXSAVE:
      fxsave(op);
      break;
    case FXRSTOR:
      fxrstor(op);
      break;
    case LDMXCSR:
      ldmxcsr(op);
      break;
    case STMXCSR:
      stmxcsr(op);
      break;
    case XSAVE:
      xsave(op);
      break;
    case XRSTOR:
      xrstor(op);
      break;
    case XSAVEC:
      xsavec(op);
      break;
    default:
  }
}
