// Which floating-point and SIMD instructions exist.

/** The form of an x87 instruction, 0 where there is none. */
export function x87Form(_opcode: u32, _modrm: u32): u32 {
  return 0;
}

/** The form of an MMX or SSE instruction, 0 where there is none. */
export function sseForm(_map: u32, _prefix: u32, _opcode: u32, _modrm: u32): u32 {
  return 0;
}
