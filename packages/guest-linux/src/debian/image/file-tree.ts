import fs from 'node:fs';
import path from 'node:path';

/** What is under a name in a guest's file system. */
export type TreeEntry =
  | { readonly kind: 'folder'; readonly mode: number }
  /** Of a file on the host by its path, or of bytes. */
  | { readonly kind: 'file'; readonly mode: number; readonly content: string | Uint8Array }
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'device'; readonly mode: number; readonly major: number; readonly minor: number };

/** Folders that are one: as in Debian since its usrmerge, and programs of the administrator's with the others. */
const MERGED: readonly (readonly [from: string, to: string])[] = [
  ['bin', 'usr/bin'],
  ['sbin', 'usr/bin'],
  ['usr/sbin', 'usr/bin'],
  ['lib', 'usr/lib'],
  ['lib64', 'usr/lib64'],
];

/** A guest's file system as it is put together: all of it is root's. Paths have no slash at the start. */
export class FileTree {
  readonly #entries = new Map<string, TreeEntry>();

  constructor() {
    for (const [from, to] of MERGED) {
      this.folder(to);
      this.folder(path.posix.dirname(from));
      this.#entries.set(from, { kind: 'link', target: path.posix.relative(path.posix.dirname(from), to) });
    }
  }

  /** Adds a folder, and those above it. One that is there stays as it is. */
  folder(name: string, mode = 0o755): void {
    if (name === '.') return;
    const merged = merge(name);
    if (this.#entries.has(merged)) return;
    this.folder(path.posix.dirname(merged));
    this.#entries.set(merged, { kind: 'folder', mode });
  }

  /** Adds a file, replacing what has its name. */
  file(name: string, content: string | Uint8Array, mode = 0o644): void {
    this.#put(name, { kind: 'file', mode, content });
  }

  /** Adds a file with a text. */
  text(name: string, text: string, mode = 0o644): void {
    this.file(name, new TextEncoder().encode(text), mode);
  }

  /** Adds a symbolic link, replacing what has its name. */
  link(name: string, target: string): void {
    this.#put(name, { kind: 'link', target });
  }

  /** Adds a character device. */
  device(name: string, mode: number, major: number, minor: number): void {
    this.#put(name, { kind: 'device', mode, major, minor });
  }

  /**
   * Adds what is in a folder of the host.
   *
   * @param leaveOut - says of a path in the guest whether it is left out, with what is in it
   */
  addFolder(hostFolder: string, leaveOut: (name: string) => boolean = () => false): void {
    const visit = (folder: string) => {
      for (const found of fs.readdirSync(path.join(hostFolder, folder), { withFileTypes: true })) {
        const name = path.posix.join(folder, found.name);
        if (leaveOut(name)) continue;
        const onHost = path.join(hostFolder, name);
        if (found.isDirectory()) {
          this.folder(name, fs.statSync(onHost).mode & 0o7777);
          visit(name);
        } else if (found.isSymbolicLink()) this.link(name, fs.readlinkSync(onHost));
        else if (found.isFile()) this.file(name, onHost, fs.statSync(onHost).mode & 0o7777);
      }
    };
    visit('');
  }

  has(name: string): boolean {
    return this.#entries.has(merge(name));
  }

  /** All, a folder before what is in it, in an order that does not depend on the host. */
  entries(): [name: string, entry: TreeEntry][] {
    return [...this.#entries].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  #put(name: string, entry: TreeEntry): void {
    const merged = merge(name);
    // A package may have a link where its twin of another architecture has a folder.
    if (this.#entries.get(merged)?.kind === 'folder') return;
    this.folder(path.posix.dirname(merged));
    this.#entries.set(merged, entry);
  }
}

function merge(name: string): string {
  for (const [from, to] of MERGED) {
    if (name === from) return to;
    if (name.startsWith(`${from}/`)) return to + name.slice(from.length);
  }
  return name;
}
