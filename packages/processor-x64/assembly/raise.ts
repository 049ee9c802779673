// Raising exceptions: the fault is noted in the state and the host unwinds to the run loop (exceptions.ts goes on).
import { throwFault } from './host';
import {
  EX_GP,
  EX_MF,
  EX_NM,
  EX_PF,
  EX_SS,
  EX_UD,
  EX_XM,
  CR4,
  CR4_OSXMMEXCPT,
  FAULT_ADDRESS,
  FAULT_ERROR,
  FAULT_HAS_ERROR,
  FAULT_VECTOR,
} from './state';

/** Raises an exception without an error code. Never returns. */
export function raise(vector: u32): void {
  store<u32>(FAULT_VECTOR, vector);
  store<u32>(FAULT_HAS_ERROR, 0);
  store<u32>(FAULT_ERROR, 0);
  throwFault();
}

/** Raises an exception with an error code. Never returns. */
export function raiseWithError(vector: u32, error: u32): void {
  store<u32>(FAULT_VECTOR, vector);
  store<u32>(FAULT_HAS_ERROR, 1);
  store<u32>(FAULT_ERROR, error);
  throwFault();
}

export function raisePageFault(address: u64, error: u32): void {
  store<u64>(FAULT_ADDRESS, address);
  raiseWithError(EX_PF, error);
}

export function raiseUd(): void {
  raise(EX_UD);
}

export function raiseNm(): void {
  raise(EX_NM);
}

export function raiseMf(): void {
  raise(EX_MF);
}

/** SIMD floating point: #XM where the system has said that it handles it, else #UD (Intel SDM 1, 11.5.1). */
export function raiseXm(): void {
  raise((load<u32>(CR4) & CR4_OSXMMEXCPT) != 0 ? EX_XM : EX_UD);
}

export function raiseGp(error: u32): void {
  raiseWithError(EX_GP, error);
}

export function raiseSs(error: u32): void {
  raiseWithError(EX_SS, error);
}
