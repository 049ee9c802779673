// What the engine asks of TypeScript. Everything but `throwFault` returns.

/** Unwinds to the run loop, which calls `deliverFault`. Never returns. */
// @ts-ignore: decorator
@external('host', 'throwFault') export declare function throwFault(): void;
// @ts-ignore: decorator
@external('host', 'portRead') export declare function portRead(port: u32, size: u32): u32;
// @ts-ignore: decorator
@external('host', 'portWrite') export declare function portWrite(port: u32, size: u32, value: u32): void;
// @ts-ignore: decorator
@external('host', 'mmioRead') export declare function mmioRead(gpa: f64, size: u32): u32;
// @ts-ignore: decorator
@external('host', 'mmioWrite') export declare function mmioWrite(gpa: f64, size: u32, value: u32): void;
/** The value is in EXCHANGE; 0: #GP(0). */
// @ts-ignore: decorator
@external('host', 'msrRead') export declare function msrRead(msr: u32): u32;
// @ts-ignore: decorator
@external('host', 'msrWrite') export declare function msrWrite(msr: u32): u32;
/** EAX, EBX, ECX and EDX are left in EXCHANGE. */
// @ts-ignore: decorator
@external('host', 'cpuid') export declare function cpuid(leaf: u32, subleaf: u32): void;
/** EXCHANGE holds control, input and output, and gets the result; 0: #UD. */
// @ts-ignore: decorator
@external('host', 'hypercall') export declare function hypercall(): u32;
/** The vector to deliver, or -1. */
// @ts-ignore: decorator
@external('host', 'acknowledgeInterrupt') export declare function acknowledgeInterrupt(): i32;
// @ts-ignore: decorator
@external('host', 'readTaskPriority') export declare function readTaskPriority(): u32;
// @ts-ignore: decorator
@external('host', 'writeTaskPriority') export declare function writeTaskPriority(priority: u32): void;
/** Ticks of the TSC since the clock's zero: a whole number. */
// @ts-ignore: decorator
@external('host', 'tscTicks') export declare function tscTicks(): f64;
// @ts-ignore: decorator
@external('host', 'random32') export declare function random32(): u32;
/** The instruction at RIP is about to run. */
// @ts-ignore: decorator
@external('host', 'trace') export declare function trace(): void;
/** An instruction that the decoder does not know; its bytes are in EXCHANGE. */
// @ts-ignore: decorator
@external('host', 'unknownInstruction') export declare function unknownInstruction(length: u32): void;
