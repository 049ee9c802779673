import { Component } from '../component/definition.ts';
import { HeartbeatMessage } from '../protocol/heartbeat.ts';
import { IcStatus } from '../protocol/icmsg.ts';
import { ComponentVsc } from './component-vsc.ts';

/** The guest's end of the heartbeat: answers each beat. */
export function heartbeatVsc(): ComponentVsc {
  return new ComponentVsc(Component.HEARTBEAT, () => ({
    *answer(body) {
      if (body.length < HeartbeatMessage.sizeBytes) return { status: IcStatus.E_FAIL };
      const { sequence } = HeartbeatMessage.read(body);
      HeartbeatMessage.write(body, { sequence: BigInt.asUintN(64, sequence + 1n) });
      return { status: IcStatus.S_OK };
    },
  }));
}
