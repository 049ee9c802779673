import { describe, expect, it } from 'vitest';
import { wrongChecksums } from './linux-measurement.ts';
import { parseReportOfTool, toolCommand } from './tools.ts';

const IPERF3_TCP = JSON.stringify({
  start: { version: 'iperf 3.12' },
  end: {
    sum_sent: { seconds: 2.000064, bytes: 227_213_312, retransmits: 0, sender: true },
    sum_received: { seconds: 2.013629, bytes: 226_036_000, sender: true },
  },
});
const IPERF3_UDP = JSON.stringify({
  end: {
    sum: { seconds: 1.012867, bytes: 10_627_840, lost_packets: 4700, packets: 7220 },
    sum_sent: { seconds: 1.000464, bytes: 10_627_840, lost_packets: 0, packets: 7220 },
    sum_received: { seconds: 1.012867, bytes: 3_045_568, lost_packets: 4700, packets: 6769 },
  },
});
const SOCKPERF = `sockperf: \u001b[2;35m== version #3.7-no.git == \u001b[0m
sockperf: Test ended
sockperf: [Total Run] RunTime=1.001 sec; Warm up time=400 msec; SentMessages=1166; ReceivedMessages=1165
sockperf: [Valid Duration] RunTime=0.550 sec; SentMessages=664; ReceivedMessages=664
sockperf: \u001b[2;35m====> avg-rtt=827.029 (std-dev=688.961)\u001b[0m
sockperf: ---> <MAX> observation = 7267.794
sockperf: ---> percentile 99.900 = 6415.720
sockperf: ---> percentile 99.000 = 4795.754
sockperf: ---> percentile 90.000 = 1143.439
sockperf: ---> percentile 50.000 =  647.755
sockperf: ---> <MIN> observation =  505.197
`;

describe('reports of the tools', () => {
  it('of streams say what arrived', () => {
    expect(parseReportOfTool(IPERF3_TCP, 'tcp-stream')).toEqual({
      operations: 156_102,
      elapsedNs: 2.013629e9,
    });
    // Also what was lost after the last datagram that arrived, which iperf3 does not know of.
    expect(parseReportOfTool(IPERF3_UDP, 'udp-stream')).toEqual({
      operations: 2069,
      lostOperations: 5151,
      elapsedNs: 1.012867e9,
    });
  });

  it('of round trips are of the steady part', () => {
    expect(parseReportOfTool(SOCKPERF, 'tcp-rr')).toEqual({
      operations: 664,
      elapsedNs: 0.55e9,
      latencyNs: { p50: 647_755, p90: 1_143_439, p99: 4_795_754, max: 7_267_794, mean: 827_029 },
    });
  });

  it.each([
    ['tcp-stream', '', /iperf3: no report/],
    ['tcp-stream', '{"start":{},"error":"unable to connect to server: Connection refused"}', /refused/],
    ['udp-small', '{"end":{}}', /without an end/],
    ['tcp-rr', 'sockperf: No messages were received from the server.', /sockperf: No messages/],
  ] as const)('that are none are refused: %s, %s', (workload, text, message) => {
    expect(() => parseReportOfTool(text, workload)).toThrow(message);
    expect(() => parseReportOfTool(text, workload)).toThrow(
      expect.objectContaining({ code: 'SAMPLE_FAILED' }),
    );
  });

  it('are asked for by commands of their own', () => {
    const command = (workload: 'tcp-stream' | 'tcp-rr' | 'udp-small') =>
      toolCommand({ workload }, { server: '10.0.0.2', seconds: 3 });
    expect(command('tcp-stream')).toBe('iperf3 -c 10.0.0.2 -J -i 0 -t 3');
    expect(command('udp-small')).toBe('iperf3 -c 10.0.0.2 -J -i 0 -t 3 -u -b 0 -l 18');
    expect(command('tcp-rr')).toMatch(/^sockperf ping-pong --tcp -i 10.0.0.2 .*--full-rtt$/);
  });
});

it('wrong checksums are summed over the protocols', () => {
  const snmp = `Ip: Forwarding InReceives
Ip: 2 64
Tcp: InSegs InErrs OutRsts InCsumErrors
Tcp: 100 7 1 3
Udp: InDatagrams InCsumErrors IgnoredMulti
Udp: 5 4 9
`;
  expect(wrongChecksums(snmp)).toBe(7);
  expect(wrongChecksums('')).toBe(0);
});
