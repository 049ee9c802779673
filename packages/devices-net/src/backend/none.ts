import type { NetworkKind } from './network.ts';
import type { NetworkConnector, NetworkPort } from './port.ts';

/** What an adapter has that is not plugged in. */
export const UNPLUGGED: NetworkPort = {
  linkUp: false,
  send: () => {},
  receiveReady: () => {},
  close: () => {},
};

/** A socket without a cable in it: the link stays down, and what is sent is lost. */
export const unplugged: NetworkConnector = { connect: () => UNPLUGGED };

/** Network kind `none`. */
export const noneKind: NetworkKind = {
  id: 'none',
  description: 'No cable: the link is down',
  open: () => unplugged,
};
