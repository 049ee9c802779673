import { KenshoError } from '@kensho/core';
import type { Latency } from '../results.ts';
import { type NetJob, type NetWorkload, PAYLOAD_BYTES } from './options.ts';

/** What a guest's tool measured, by the guest's clock. */
export interface ToolResult {
  readonly operations: number;
  readonly elapsedNs: number;
  readonly latencyNs?: Latency;
  readonly lostOperations?: number;
}

/** Where the servers of both tools listen. */
export const IPERF3_PORT = 5201;
export const SOCKPERF_PORT = 5301;

/** Beside what sockperf takes to be steady, in whole seconds. */
const SOCKPERF_WARM_UP_SECONDS = 1;

/** The command line of a job for the sender; its report goes to stdout. */
export function toolCommand({ workload }: NetJob, options: { server: string; seconds: number }): string {
  const { server, seconds } = options;
  const payloadBytes = PAYLOAD_BYTES[workload];
  if (workload === 'tcp-rr') {
    return `sockperf ping-pong --tcp -i ${server} -p ${SOCKPERF_PORT} -t ${seconds + SOCKPERF_WARM_UP_SECONDS} -m ${payloadBytes} --full-rtt`;
  }
  // UDP is sent as fast as the guest can.
  const udp = workload === 'tcp-stream' ? '' : ` -u -b 0 -l ${payloadBytes}`;
  return `iperf3 -c ${server} -J -i 0 -t ${seconds}${udp}`;
}

/** Reads the report of a job's tool. Throws KenshoError SAMPLE_FAILED where it is none, or reports an error. */
export function parseReportOfTool(text: string, workload: NetWorkload): ToolResult {
  return workload === 'tcp-rr' ? parseSockperf(text) : parseIperf3(text, workload);
}

interface Iperf3Sum {
  readonly seconds: number;
  readonly bytes: number;
  /** Of UDP. */
  readonly packets?: number;
}

interface Iperf3Report {
  readonly error?: string;
  readonly end?: { readonly sum_sent?: Iperf3Sum; readonly sum_received?: Iperf3Sum };
}

/** iperf3(1), --json; the server's side of it is what arrived. */
function parseIperf3(text: string, workload: NetWorkload): ToolResult {
  let report: Iperf3Report;
  try {
    report = JSON.parse(text);
  } catch {
    throw failed('iperf3', lastLineOf(text));
  }
  if (report.error !== undefined) throw failed('iperf3', report.error);
  const { sum_received: received, sum_sent: sent } = report.end ?? {};
  if (received === undefined || sent === undefined) throw failed('iperf3', 'a report without an end');
  const operations = Math.round(received.bytes / PAYLOAD_BYTES[workload]);
  return {
    operations,
    // What was lost at the end of the test is not in iperf3's own count of it.
    ...(sent.packets !== undefined && { lostOperations: sent.packets - operations }),
    elapsedNs: received.seconds * 1e9,
  };
}

/** Lines of text, in microseconds; the part that sockperf takes to be steady. */
function parseSockperf(text: string): ToolResult {
  const value = (pattern: RegExp) => {
    const found = pattern.exec(text)?.[1];
    if (found === undefined) throw failed('sockperf', lastLineOf(text));
    return Number(found);
  };
  const percentile = (name: string) => 1e3 * value(new RegExp(`percentile ${name} = +([\\d.]+)`));
  return {
    operations: value(/Valid Duration.*ReceivedMessages=(\d+)/),
    elapsedNs: 1e9 * value(/Valid Duration.*RunTime=([\d.]+)/),
    latencyNs: {
      p50: percentile('50.000'),
      p90: percentile('90.000'),
      p99: percentile('99.000'),
      max: 1e3 * value(/<MAX> observation = +([\d.]+)/),
      mean: 1e3 * value(/avg-rtt=([\d.]+)/),
    },
  };
}

function failed(tool: string, what: string): KenshoError {
  return new KenshoError('SAMPLE_FAILED', `${tool}: ${what === '' ? 'no report' : what.slice(0, 200)}`);
}

function lastLineOf(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
