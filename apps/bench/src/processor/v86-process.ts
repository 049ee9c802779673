// Runs a Multiboot image on v86, in a process of its own, and prints what its kernels took.
//
//   node v86-process.ts IMAGE PACKAGE
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { cpuSeconds } from './cpu-time.ts';
import { MarkReader } from './marks.ts';

/** What of v86's interface is used. */
interface Emulator {
  add_listener(event: 'serial0-output-byte', listener: (byte: number) => void): void;
}

const [image = '', folder = ''] = process.argv.slice(2);
const build = path.join(folder, 'build');
const { V86 } = (await import(pathToFileURL(path.join(build, 'libv86.mjs')).href)) as {
  V86: new (options: object) => Emulator;
};
const bytes = fs.readFileSync(image);
const reader = new MarkReader(() => ({ cpuSeconds: cpuSeconds() }));
const emulator = new V86({
  wasm_path: path.join(build, 'v86.wasm'),
  memory_size: 64 * 2 ** 20,
  multiboot: { buffer: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) },
  autostart: true,
  disable_keyboard: true,
  disable_mouse: true,
  disable_speaker: true,
});
emulator.add_listener('serial0-output-byte', (byte) => {
  reader.push(byte);
  if (!reader.done) return;
  fs.writeSync(1, JSON.stringify(reader.runs));
  process.exit(0);
});
