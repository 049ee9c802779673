/** Runs a handler of the FPU part. */
export function executeFpu(_handler: u32, _op: u32): void {}
