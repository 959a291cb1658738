// `shopwire/tabs`: one connection for all tabs of a page's origin that show the same user.

import type { WebSocketLike } from '../types.js';
import { Group } from './group.js';
import { SharedSocket } from './socket.js';
import type { Channel, Locks, Platform } from './words.js';

export interface ShareOptions {
  /** What connects the tab that leads. Default: the runtime's. */
  WebSocket?: new (url: string, protocols: string[]) => WebSocketLike;
  /** Default: `navigator.locks`. */
  locks?: Locks;
  /** Default: the runtime's. */
  BroadcastChannel?: new (name: string) => Channel;
}

export type { Channel, Locks };

/**
 * What a client connects with to share one connection with the tabs of the same user: `new ShopwireClient({ WebSocket: shareTabs() })`.
 * Where the browser has no locks or no channels, which it only has in a secure context, each tab has a connection of its own.
 */
export function shareTabs(options: ShareOptions = {}): new (url: string, protocols: string[]) => WebSocketLike {
  const {
    locks = globalThis.navigator?.locks as Locks | undefined,
    BroadcastChannel = globalThis.BroadcastChannel as Platform['BroadcastChannel'] | undefined,
    WebSocket = globalThis.WebSocket,
  } = options;
  if (!locks || !BroadcastChannel || !WebSocket) return WebSocket;
  const platform = { locks, BroadcastChannel, WebSocket };
  const groups = new Map<string, Group>();
  const group = (name: string, url: string) => {
    const found = groups.get(name) ?? new Group(name, url, platform, () => groups.delete(name));
    groups.set(name, found);
    return found;
  };
  return class extends SharedSocket {
    constructor(url: string, protocols: string[]) {
      super({ platform, group }, url, protocols);
    }
  };
}
