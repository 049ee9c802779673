// VEX-encoded general-register instructions: BMI1 and BMI2 (Intel SDM 2A, 2.3.5 and 5.1). There is no AVX.
import { H } from '../handlers';
import { fetch8 } from './fetch';
import { is64, vexOperands, vexRegister } from './decoder';

/** Decodes behind C4h or C5h; the handler, 0 where there is no such instruction. */
export function decodeVex(opcode: u32): u32 {
  const first = fetch8();
  let rex: u32 = (~first >> 5) & 4; // R
  let map: u32 = 1;
  let last = first;
  if (opcode == 0xc4) {
    rex |= (~first >> 5) & 3; // X, B
    map = first & 31;
    last = fetch8();
  }
  const wide = opcode == 0xc4 && (last & 0x80) != 0 && is64();
  const v = (~last >> 3) & 15;
  const long = (last & 4) != 0;
  const prefix = last & 3; // none, 66, F3, F2
  if (!is64()) rex = 0;
  const third = is64() ? v : v & 7;
  if (long) return 0;
  const code = fetch8();
  if (map == 3 && code == 0xf0 && prefix == 3 && v == 0) {
    vexOperands(rex, wide, 1);
    vexRegister(0, fetch8());
    return H.RORX;
  }
  if (map != 2) return 0;
  let handler: u32 = 0;
  switch (code) {
    case 0xf2:
      if (prefix == 0) handler = H.ANDN;
      break;
    case 0xf3: {
      if (prefix != 0) return 0;
      const extension = (vexOperands(rex, wide, 0) >> 3) & 7;
      vexRegister(third, 0);
      return extension == 1 ? H.BLSR : extension == 2 ? H.BLSMSK : extension == 3 ? H.BLSI : 0;
    }
    case 0xf5:
      handler = prefix == 0 ? H.BZHI : prefix == 2 ? H.PEXT : prefix == 3 ? H.PDEP : 0;
      break;
    case 0xf6:
      if (prefix == 3) handler = H.MULX;
      break;
    case 0xf7:
      handler = prefix == 0 ? H.BEXTR : prefix == 1 ? H.SHLX : prefix == 2 ? H.SARX : H.SHRX;
      break;
  }
  if (handler == 0) return 0;
  vexOperands(rex, wide, 0);
  vexRegister(third, 0);
  return handler;
}
