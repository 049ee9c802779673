import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Contributions, DEVICES, type DeviceSpec, KenshoError, type Plugin } from '@kensho/core';

/** What the modules given with `--plugin` bring. */
export interface LoadedPlugins {
  readonly plugins: readonly Plugin[];
  /** What each machine gets. */
  readonly devices: readonly DeviceSpec[];
}

/**
 * Loads modules of third parties: a file, or a package as the working directory knows it. Every plugin that a module
 * exports is composed into the host, under whatever name it exports it; the device specs in an array that it exports
 * as `devices` are what the machine gets.
 *
 * Throws KenshoError PLUGIN_NOT_FOUND, PLUGIN_FAILED where a module throws, and NOT_A_PLUGIN.
 */
export async function loadPlugins(modules: readonly string[]): Promise<LoadedPlugins> {
  const plugins: Plugin[] = [];
  const devices: DeviceSpec[] = [];
  for (const module of modules) {
    const exported = await importModule(module);
    const found = Object.values(exported).filter(isPlugin);
    if (found.length === 0) {
      throw new KenshoError(
        'NOT_A_PLUGIN',
        `plugin ${module}: the module exports no plugin (see definePlugin)`,
      );
    }
    // A plugin may be exported as the default and by its name.
    plugins.push(...new Set(found));
    devices.push(...devicesOf(module, exported.devices));
  }
  return { plugins, devices };
}

/** Those of the devices that a guest can reach: without integration there is nothing on VMBus. */
export function reachable(
  devices: readonly DeviceSpec[],
  contributions: Contributions,
  integration: boolean,
): readonly DeviceSpec[] {
  return devices.filter(({ kind }) => integration || contributions.get(DEVICES, kind).path !== 'enlightened');
}

async function importModule(module: string): Promise<Readonly<Record<string, unknown>>> {
  const file = locate(module);
  try {
    return await import(pathToFileURL(file).href);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new KenshoError('PLUGIN_FAILED', `plugin ${module}: ${message}`, { cause });
  }
}

function locate(module: string): string {
  const file = path.resolve(module);
  if (fs.statSync(file, { throwIfNoEntry: false })?.isFile()) return file;
  try {
    return createRequire(path.resolve('.', 'package.json')).resolve(module);
  } catch (cause) {
    throw new KenshoError('PLUGIN_NOT_FOUND', `plugin ${module}: there is no such file or package`, {
      cause,
    });
  }
}

function isPlugin(value: unknown): value is Plugin {
  return (
    typeof value === 'object' &&
    value !== null &&
    'id' in value &&
    typeof value.id === 'string' &&
    'register' in value &&
    typeof value.register === 'function'
  );
}

function devicesOf(module: string, value: unknown): readonly DeviceSpec[] {
  if (value === undefined) return [];
  const isSpec = (spec: Partial<DeviceSpec> | null) =>
    typeof spec?.kind === 'string' && typeof spec.id === 'string';
  if (Array.isArray(value) && value.every(isSpec)) return value;
  throw new KenshoError(
    'NOT_A_PLUGIN',
    `plugin ${module}: its 'devices' has to be an array of { kind, id, options? }`,
  );
}
