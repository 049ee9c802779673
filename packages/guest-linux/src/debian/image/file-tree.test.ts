import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FileTree } from './file-tree.ts';

let folder: string;
beforeAll(() => (folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-tree-test-'))));
afterAll(() => fs.rmSync(folder, { recursive: true }));

const names = (tree: FileTree) => tree.entries().map(([name]) => name);

describe('FileTree', () => {
  it('has a folder before what is in it, whatever the order', () => {
    const tree = new FileTree();
    tree.text('var/lib/a', '');
    tree.folder('var-x');
    tree.folder('var', 0o700);
    const found = names(tree);
    for (const name of found) {
      const above = path.posix.dirname(name);
      if (above !== '.') expect(found.indexOf(above)).toBeLessThan(found.indexOf(name));
    }
  });

  it('puts what is for /bin, /sbin and /lib where it is in a merged system', () => {
    const tree = new FileTree();
    tree.text('bin/a', '');
    tree.text('sbin/b', '');
    tree.text('usr/sbin/c', '');
    tree.text('lib64/ld.so', '');
    expect(names(tree)).toEqual(
      expect.arrayContaining(['usr/bin/a', 'usr/bin/b', 'usr/bin/c', 'usr/lib64/ld.so']),
    );
    const links = tree
      .entries()
      .flatMap(([name, entry]) => (entry.kind === 'link' ? [[name, entry.target]] : []));
    expect(links).toEqual([
      ['bin', 'usr/bin'],
      ['lib', 'usr/lib'],
      ['lib64', 'usr/lib64'],
      ['sbin', 'usr/bin'],
      ['usr/sbin', 'bin'],
    ]);
  });

  it('takes folders of the host as they are, and leaves out what it is told to', () => {
    fs.mkdirSync(path.join(folder, 'usr/share/doc/x'), { recursive: true });
    fs.mkdirSync(path.join(folder, 'sbin'));
    fs.writeFileSync(path.join(folder, 'sbin/tool'), 'tool');
    fs.chmodSync(path.join(folder, 'sbin/tool'), 0o755);
    fs.symlinkSync('tool', path.join(folder, 'sbin/alias'));
    const tree = new FileTree();
    tree.addFolder(folder, (name) => name === 'usr/share/doc');
    const found = new Map(tree.entries());
    expect(found.get('usr/bin/tool')).toEqual({
      kind: 'file',
      mode: 0o755,
      content: path.join(folder, 'sbin/tool'),
    });
    expect(found.get('usr/bin/alias')).toEqual({ kind: 'link', target: 'tool' });
    expect([...found.keys()]).toContain('usr/share');
    expect([...found.keys()]).not.toContain('usr/share/doc');
  });

  it('lets the later file win, and a folder stay one', () => {
    const tree = new FileTree();
    tree.text('etc/a', 'first');
    tree.text('etc/a', 'second');
    tree.link('etc', '/other');
    const found = new Map(tree.entries());
    expect(found.get('etc/a')).toMatchObject({ content: new TextEncoder().encode('second') });
    expect(found.get('etc')).toEqual({ kind: 'folder', mode: 0o755 });
  });
});
