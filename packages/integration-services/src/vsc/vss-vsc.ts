import type { GuestKernel, GuestTask } from '@kensho/core';
import { Component } from '../component/definition.ts';
import { IcStatus } from '../protocol/icmsg.ts';
import { VSS_HBU_NO_AUTO_RECOVERY, VssMessage, VssOperation } from '../protocol/vss.ts';
import { ComponentVsc, type IcReply } from './component-vsc.ts';

/** How a guest holds still. */
export interface VssVscOptions {
  /** Writes everything out and holds writes back from then on; false where it cannot. */
  freeze(kernel: GuestKernel): GuestTask<boolean>;
  /** Lets writes go on. Called also where nothing is frozen. */
  thaw(kernel: GuestKernel): GuestTask<boolean>;
}

const OK: IcReply = { status: IcStatus.S_OK };
const FAILED: IcReply = { status: IcStatus.E_FAIL };

/** The guest's end of backups. */
export function vssVsc(options: VssVscOptions): ComponentVsc {
  return new ComponentVsc(Component.VSS, (kernel) => {
    let frozen = false;
    const thaw = function* (): GuestTask {
      yield* options.thaw(kernel);
    };
    return {
      *answer(body) {
        if (body.length < VssMessage.sizeBytes) return FAILED;
        switch (VssMessage.read(body).operation) {
          case VssOperation.HOT_BACKUP:
            VssMessage.write(body, { flags: VSS_HBU_NO_AUTO_RECOVERY });
            return OK;
          case VssOperation.GET_DM_INFO:
            VssMessage.write(body, { flags: 0 });
            return OK;
          case VssOperation.FREEZE:
            frozen = yield* options.freeze(kernel);
            return frozen ? OK : FAILED;
          case VssOperation.THAW: {
            const thawed = yield* options.thaw(kernel);
            if (thawed) frozen = false;
            return thawed ? OK : FAILED;
          }
          default:
            return FAILED;
        }
      },
      end() {
        if (frozen) kernel.spawn('thaw', thaw());
      },
    };
  });
}
