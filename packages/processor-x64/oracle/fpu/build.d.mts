/** Compiles assembly/fpu/test-entry.ts with further options of asc; the bytes of the module. */
export declare function buildFpuModule(...options: string[]): Promise<Uint8Array<ArrayBuffer>>;
