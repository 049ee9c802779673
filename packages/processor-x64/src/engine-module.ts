import { readFileSync } from 'node:fs';
import { KenshoError } from '@kensho/core';

/** What of WebAssembly's interface is used; Node.js's types leave it to those of browsers. */
declare const WebAssembly: {
  Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  Memory: new (limits: { initial: number; maximum: number; shared: boolean }) => EngineMemory;
  Instance: new (module: object, imports: object) => { readonly exports: object };
};

/** The engine's linear memory. */
export interface EngineMemory {
  readonly buffer: ArrayBufferLike;
}

/** An address in it. */
interface Place {
  readonly value: number;
}

/** The engine's functions and places, as assembly/index.ts exports them. */
export interface EngineExports {
  readonly CPL: Place;
  readonly CR0: Place;
  readonly CR2: Place;
  readonly CR3: Place;
  readonly CR4: Place;
  readonly DEBUG: Place;
  readonly EFER: Place;
  readonly EXCHANGE: Place;
  readonly GPR: Place;
  readonly SIGNATURE: Place;
  readonly STATE: Place;
  configure(arenaPages: number, vpCount: number, codeCacheBytes: number): number;
  arenaAddress(): number;
  gpaMapAddress(): number;
  pageInfoAddress(): number;
  select(vp: number): void;
  stateDelta(vp: number): number;
  init(): void;
  startup(vector: number): void;
  beginSlice(budget: number): void;
  run(): number;
  deliverFault(): void;
  retired(): number;
  requestExit(): void;
  setInterruptPending(delta: number, pending: number): void;
  injectNmi(delta: number): void;
  flushAll(): void;
  flushPage(address: bigint): void;
  codeChanged(arenaPage: number): void;
  codeDrops(): number;
  dropCode(): void;
  currentRip(): bigint;
  getFlags(): number;
  setRip(address: bigint): void;
  setFlagsRegister(value: number): void;
  setSegmentRegister(n: number, selector: number, base: bigint, limit: number, attributes: number): void;
  setEfer(value: bigint): number;
  setControl(register: number, value: bigint): number;
  setDebugRegister(n: number, value: bigint): void;
  refreshX87(): void;
}

/** What the engine calls; see assembly/host.ts. */
export interface EngineHost {
  throwFault(): void;
  portRead(port: number, sizeBytes: number): number;
  portWrite(port: number, sizeBytes: number, value: number): void;
  mmioRead(gpa: number, sizeBytes: number): number;
  mmioWrite(gpa: number, sizeBytes: number, value: number): void;
  msrRead(msr: number): number;
  msrWrite(msr: number): number;
  cpuid(leaf: number, subleaf: number): void;
  hypercall(): number;
  acknowledgeInterrupt(): number;
  readTaskPriority(): number;
  writeTaskPriority(priority: number): void;
  tscTicks(): number;
  random32(): number;
  trace(): void;
  unknownInstruction(length: number): void;
}

const modules = new Map<boolean, object>();

/** What the module declares of its memory (asconfig.json): pages of 64 KiB. */
const INITIAL_PAGES = 2;
const MAXIMUM_PAGES = 65536;

/** One instance of the engine, over a memory of its own. Throws KenshoError ENGINE_MISSING where it was not built. */
export function instantiate(shared: boolean, host: EngineHost): [EngineMemory, EngineExports] {
  let module = modules.get(shared);
  if (module === undefined) {
    module = new WebAssembly.Module(withMemory(readEngine(), shared));
    modules.set(shared, module);
  }
  const memory = new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum: MAXIMUM_PAGES, shared });
  const instance = new WebAssembly.Instance(module, {
    env: { memory },
    host,
  });
  return [memory, instance.exports as unknown as EngineExports];
}

function readEngine(): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(readFileSync(new URL('../build/x64.wasm', import.meta.url)));
  } catch (cause) {
    throw new KenshoError(
      'ENGINE_MISSING',
      'the processor x64 is not built: run its script build:wasm (npm test does)',
      { cause },
    );
  }
}

/** Bytes of an import of a memory called `memory` of the module `env`, up to the flags of its limits. */
const MEMORY_IMPORT = [3, 0x65, 0x6e, 0x76, 6, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 2];
/** Flags of a memory's limits (WebAssembly threads proposal): a maximum; shared. */
const LIMITS_MAXIMUM = 1;
const LIMITS_SHARED = 2;

/**
 * One build serves both kinds of memory: nothing in the code depends on it, only the declaration, in which one flag
 * is set here.
 */
function withMemory(bytes: Uint8Array<ArrayBuffer>, shared: boolean): Uint8Array<ArrayBuffer> {
  const at = Buffer.from(bytes.buffer).indexOf(Buffer.from(MEMORY_IMPORT)) + MEMORY_IMPORT.length;
  bytes[at] = shared ? LIMITS_MAXIMUM | LIMITS_SHARED : LIMITS_MAXIMUM;
  return bytes;
}
