import {
  ChannelMessageType,
  GPADL_CREATED,
  GPADL_TORNDOWN,
  MESSAGE_HEADER,
  MODIFYCHANNEL_RESPONSE,
  type NtStatus,
  OFFERCHANNEL,
  OPENCHANNEL_RESULT,
  RESCIND_CHANNELOFFER,
  TL_CONNECT_RESULT,
  VERSION_RESPONSE,
  VMBUS_EVENT_CONNECTION_BASE,
} from '../protocol/messages.ts';
import type { BusChannel } from './bus-channel.ts';

/** The messages that the host sends, as the control plane words them. */
export const hostMessage = {
  versionResponse: (versionSupported: number, connectionState: number, messageConnectionId: number) =>
    VERSION_RESPONSE.encode({
      messageType: ChannelMessageType.VERSION_RESPONSE,
      versionSupported,
      connectionState,
      messageConnectionId,
    }),

  offer(channel: BusChannel): Uint8Array {
    const { interfaceId, instanceId, flags, mmioMegabytes, userData } = channel.description;
    return OFFERCHANNEL.encode({
      messageType: ChannelMessageType.OFFERCHANNEL,
      interfaceId,
      instanceId,
      flags,
      mmioMegabytes,
      userData,
      subChannelIndex: channel.subChannelIndex,
      relid: channel.relid,
      // No monitor pages: each signal is a hypercall, and nothing is polled.
      monitorId: 0xff,
      isDedicatedInterrupt: 1,
      connectionId: VMBUS_EVENT_CONNECTION_BASE | channel.relid,
    });
  },

  allOffersDelivered: () => MESSAGE_HEADER.encode({ messageType: ChannelMessageType.ALLOFFERS_DELIVERED }),

  rescind: (relid: number) =>
    RESCIND_CHANNELOFFER.encode({ messageType: ChannelMessageType.RESCIND_CHANNELOFFER, relid }),

  openResult: (relid: number, openId: number, status: NtStatus) =>
    OPENCHANNEL_RESULT.encode({ messageType: ChannelMessageType.OPENCHANNEL_RESULT, relid, openId, status }),

  gpadlCreated: (relid: number, gpadl: number, status: NtStatus) =>
    GPADL_CREATED.encode({ messageType: ChannelMessageType.GPADL_CREATED, relid, gpadl, status }),

  gpadlTornDown: (gpadl: number) =>
    GPADL_TORNDOWN.encode({ messageType: ChannelMessageType.GPADL_TORNDOWN, gpadl }),

  modifyResponse: (relid: number, status: NtStatus) =>
    MODIFYCHANNEL_RESPONSE.encode({ messageType: ChannelMessageType.MODIFYCHANNEL_RESPONSE, relid, status }),

  connectResult: (endpointId: string, serviceId: string, status: NtStatus) =>
    TL_CONNECT_RESULT.encode({
      messageType: ChannelMessageType.TL_CONNECT_RESULT,
      endpointId,
      serviceId,
      status,
    }),

  unloadResponse: () => MESSAGE_HEADER.encode({ messageType: ChannelMessageType.UNLOAD_RESPONSE }),
} as const;
