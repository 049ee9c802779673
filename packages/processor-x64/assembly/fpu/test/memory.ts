// Takes the place of assembly/memory.ts in the test module: guest addresses are places in the linear memory.

export function readGuest8(va: u64): u32 {
  return load<u8>(<u32>va);
}

export function readGuest16(va: u64): u32 {
  return load<u16>(<u32>va);
}

export function readGuest32(va: u64): u32 {
  return load<u32>(<u32>va);
}

export function readGuest64(va: u64): u64 {
  return load<u64>(<u32>va);
}

export function writeGuest8(va: u64, value: u32): void {
  store<u8>(<u32>va, value);
}

export function writeGuest16(va: u64, value: u32): void {
  store<u16>(<u32>va, value);
}

export function writeGuest32(va: u64, value: u32): void {
  store<u32>(<u32>va, value);
}

export function writeGuest64(va: u64, value: u64): void {
  store<u64>(<u32>va, value);
}

export function readGuestBytes(va: u64, to: u32, size: u32): void {
  memory.copy(to, <u32>va, size);
}

export function writeGuestBytes(va: u64, from: u32, size: u32): void {
  memory.copy(<u32>va, from, size);
}

export function checkAlignment(_va: u64, _size: u32): void {}

export function probeRead(_va: u64, _size: u32): void {}

export function probeWrite(_va: u64, _size: u32): void {}
