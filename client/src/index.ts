// `shopwire`: a page's connection to the shop's events.

export { ShopwireClient } from './client.js';
export { perFrame } from './frames.js';
export { namespaceOf } from './generated/events.js';
export { eventsOf } from './reader.js';
export type * from './generated/events.js';
export type {
  Client,
  ConnectionState,
  EventHandler,
  Identity,
  ListenOptions,
  Matching,
  Pattern,
  Problem,
  Publishable,
  PublishData,
  ShopwireOptions,
  Signals,
  Status,
  Subscribed,
  TokenSource,
  Want,
  WebSocketLike,
} from './types.js';
