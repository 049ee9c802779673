import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { KenshoError } from '@kensho/core';

const SUFFIX = '.sock';
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,47}$/;
/** `sun_path` of Linux and macOS, the shorter, less the terminator. */
const MAX_SOCKET_PATH_BYTES = 103;

/**
 * The folder with the sockets of this user's machines, made where it is missing: what KENSHO_RUNTIME_DIR says, else in
 * the user's runtime directory, else among the temporary files. Throws KenshoError RUNTIME_DIR where somebody else owns
 * it or may enter it.
 */
export function controlDirectory(): string {
  const { KENSHO_RUNTIME_DIR, XDG_RUNTIME_DIR } = process.env;
  const uid = process.getuid?.() ?? 0;
  const fallback = path.join(os.tmpdir(), `kensho-${uid}`);
  const folder = KENSHO_RUNTIME_DIR ?? (XDG_RUNTIME_DIR ? path.join(XDG_RUNTIME_DIR, 'kensho') : fallback);
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { uid: owner, mode } = fs.lstatSync(folder);
  // Among temporary files another user may have made it first, as a folder or as a link to one.
  const isFolder = (mode & fs.constants.S_IFMT) === fs.constants.S_IFDIR;
  if (!isFolder || owner !== uid || (mode & 0o077) !== 0) {
    throw new KenshoError(
      'RUNTIME_DIR',
      `${folder}: machines are controlled through a folder that is yours alone (mode 0700): remove it, or set KENSHO_RUNTIME_DIR`,
    );
  }
  return folder;
}

/** Where a machine of that name listens. Throws KenshoError INVALID_OPTION for what is no name. */
export function socketPath(name: string): string {
  if (!NAME.test(name)) {
    throw new KenshoError(
      'INVALID_OPTION',
      `'${name}' is no name of a machine: letters, digits, dots, dashes and underscores, at most 48`,
    );
  }
  const file = path.join(controlDirectory(), `${name}${SUFFIX}`);
  if (Buffer.byteLength(file) <= MAX_SOCKET_PATH_BYTES) return file;
  throw new KenshoError(
    'RUNTIME_DIR',
    `${file}: too long for a socket; set KENSHO_RUNTIME_DIR to a shorter one`,
  );
}

/** The names of machines of which there is a socket, live or stale, sorted. */
export function socketNames(): string[] {
  return fs
    .readdirSync(controlDirectory())
    .filter((file) => file.endsWith(SUFFIX))
    .map((file) => file.slice(0, -SUFFIX.length))
    .filter((name) => NAME.test(name))
    .sort();
}

/** Connects to a socket; undefined where nobody listens any more, or never has. */
export function connect(file: string): Promise<net.Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(file);
    socket.once('connect', () => {
      socket.removeAllListeners('error');
      resolve(socket);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(undefined);
      else reject(error);
    });
  });
}

/** Removes the socket of a machine that ended without doing so. Throws KenshoError NAME_IN_USE where it has not ended. */
export async function clearStale(file: string, name: string): Promise<void> {
  const socket = await connect(file);
  if (socket !== undefined) {
    socket.destroy();
    throw new KenshoError('NAME_IN_USE', `a machine named ${name} is running: choose another with --name`);
  }
  fs.rmSync(file, { force: true });
}
