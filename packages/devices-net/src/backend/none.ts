import type { NetworkKind } from './network.ts';
import type { NetworkConnector } from './port.ts';

/** A socket without a cable in it: the link stays down, and what is sent is lost. */
export const unplugged: NetworkConnector = {
  connect: () => ({ linkUp: false, send: () => {}, receiveReady: () => {}, close: () => {} }),
};

/** Network kind `none`. */
export const noneKind: NetworkKind = {
  id: 'none',
  description: 'No cable: the link is down',
  open: () => unplugged,
};
