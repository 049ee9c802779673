import type { Guid } from '@kensho/core';

/** Interface GUIDs of the device classes (Linux `include/linux/hyperv.h`, HV_*_GUID). */
export const InterfaceId = {
  SCSI: 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f',
  IDE: '32412632-86cb-44a2-9b5c-50d1417354f5',
  FIBRE_CHANNEL: '2f9bcc4a-0069-4af3-b76b-6fd0be528cda',
  NETWORK: 'f8615163-df3e-46c5-913f-f2d2f965ed0e',
  KEYBOARD: 'f912ad6d-2b17-48ea-bd65-f927a61c7684',
  MOUSE: 'cfa8b69e-5b4a-4cc0-b98b-8ba1a1f3f95a',
  VIDEO: 'da0a7802-e377-4aac-8e77-0558eb1073f8',
  BALLOON: '525074dc-8985-46e2-8057-a307dc18a502',
  SHUTDOWN: '0e0b6031-5213-4934-818b-38d90ced39db',
  TIME_SYNC: '9527e630-d0ae-497b-adce-e80ab0175caf',
  HEARTBEAT: '57164f39-9115-4e78-ab55-382f3bd5422d',
  KVP: 'a9a0f4e7-5a45-4d96-b827-8a841e8c03e6',
  VSS: '35fa2e29-ea23-4236-96ae-3a6ebacba440',
  FILE_COPY: '34d14be3-dee4-41c8-9ae7-6b174977c192',
} as const satisfies Record<string, Guid>;

/** Instance GUIDs of devices of which a partition has one. */
export const InstanceId = {
  KEYBOARD: 'd34b2567-b9b6-42b9-8778-0a4ec0b955bf',
  MOUSE: '58f75a6d-d949-4320-99e1-a2a2576d581c',
  SHUTDOWN: 'b6650ff7-33bc-4840-8048-e0676786f393',
  TIME_SYNC: '2dd1ce17-079e-403c-b352-a1921ee207ee',
  KVP: '242ff919-07db-4180-9c2e-b86cb68c8c55',
} as const satisfies Record<string, Guid>;
