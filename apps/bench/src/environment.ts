import os from 'node:os';

/** What a run ran on. */
export interface Environment {
  readonly node: string;
  readonly v8: string;
  readonly platform: string;
  readonly kernel: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
}

export function currentEnvironment(): Environment {
  const cpus = os.cpus();
  return {
    node: process.versions.node,
    v8: process.versions.v8,
    platform: `${process.platform}-${process.arch}`,
    kernel: `${os.type()} ${os.release()}`,
    cpu: cpus[0]?.model.trim().replace(/\s+/g, ' ') || 'unknown',
    cores: os.availableParallelism(),
    memoryBytes: os.totalmem(),
  };
}
