// Fusion of a comparison with the conditional jump behind it: one dispatch instead of two. The jump's record stays as
// it is, and the fused handler reads its target there.
import { H } from './handlers';
import { RECORD_SIZE } from './record';

const NOT_FUSED: u32 = 0xff;

/** Position of a condition among the fused handlers of CMP: JB JAE JE JNE JBE JA JL JGE JLE JG. */
function compareIndex(condition: u32): u32 {
  if (condition >= 2 && condition <= 7) return condition - 2;
  if (condition >= 12) return condition - 6;
  return NOT_FUSED;
}

/** Position among those of TEST: JE JNE JS JNS JLE JG. */
function testIndex(condition: u32): u32 {
  switch (condition) {
    case 4:
      return 0;
    case 5:
      return 1;
    case 8:
      return 2;
    case 9:
      return 3;
    case 14:
      return 4;
    case 15:
      return 5;
    default:
      return NOT_FUSED;
  }
}

export function fuse(records: u32, count: u32): void {
  for (let i: u32 = 0; i + 1 < count; i++) {
    const op = records + i * RECORD_SIZE;
    const jump = <i32>load<u16>(op + RECORD_SIZE);
    if (jump < H.JO || jump > H.JG) continue;
    const handler = <i32>load<u16>(op);
    let first: u32 = 0;
    let test = false;
    switch (handler) {
      case H.CMP_RR_32:
        first = H.CMP_RR_32_JB;
        break;
      case H.CMP_RR_64:
        first = H.CMP_RR_64_JB;
        break;
      case H.CMP_RI_32:
        first = H.CMP_RI_32_JB;
        break;
      case H.CMP_RI_64:
        first = H.CMP_RI_64_JB;
        break;
      case H.TEST_RR_8:
        first = H.TEST_RR_8_JE;
        test = true;
        break;
      case H.TEST_RR_32:
        first = H.TEST_RR_32_JE;
        test = true;
        break;
      case H.TEST_RR_64:
        first = H.TEST_RR_64_JE;
        test = true;
        break;
      default:
        continue;
    }
    const index = test ? testIndex(jump - H.JO) : compareIndex(jump - H.JO);
    if (index != NOT_FUSED) store<u16>(op, first + index);
  }
}
