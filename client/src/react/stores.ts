// What hooks read with useSyncExternalStore: small values made of events, told only when they change.

import type { ShopwireClient } from '../client.js';
import type { ShopEvent } from '../generated/events.js';
import type { Matching, Pattern } from '../types.js';

export interface Store<T> {
  subscribe(tell: () => void): () => void;
  get(): T;
  /** While a server renders, and while its page comes alive. */
  initial(): T;
}

/** A value that events of a pattern change. It begins with those that came before, and anew when another user or role is here. */
export function reduced<P extends Pattern, T>(
  client: ShopwireClient,
  pattern: P,
  initial: T,
  reduce: (value: T, event: ShopEvent<Matching<P>>) => T,
  past = () => client.recent(pattern),
): Store<T> {
  let value: T | undefined;
  const begin = () => (value = past().reduce(reduce, initial));
  return {
    subscribe(tell) {
      // What came between the first rendering and now.
      begin();
      const set = (next: T) => {
        if (next === value) return;
        value = next;
        tell();
      };
      const undo = client.on(pattern, (_, event) => set(reduce(value!, event)));
      const unwatch = client.on('identity', () => set(initial));
      return () => {
        undo();
        unwatch();
      };
    },
    get: () => value ?? begin(),
    initial: () => initial,
  };
}

/** How long after a change of presence the server is asked for its own number again. */
const ASK_AGAIN_MS = 5_000;

const counts = new WeakMap<ShopwireClient, Store<number | undefined>>();

/** The number of customers online: one count for all parts of a page. */
export function onlineCount(client: ShopwireClient): Store<number | undefined> {
  let store = counts.get(client);
  if (!store) {
    store = newOnlineCount(client);
    counts.set(client, store);
  }
  return store;
}

// The server tells the number with each subscription, and events say who comes and goes. Events that are replayed after a
// reconnect are in the number already, and an emitter may send presence of its own: so the number is asked for again.
function newOnlineCount(client: ShopwireClient): Store<number | undefined> {
  const tells = new Set<() => void>();
  let count = client.online;
  const known = new Map<string, boolean>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let undo: (() => void)[] = [];

  const set = (next: number | undefined) => {
    if (next === count) return;
    count = next;
    for (const tell of [...tells]) tell();
  };
  const come = ({ customerId, isOnline }: { customerId: string; isOnline: boolean }) => {
    if (count === undefined || known.get(customerId) === isOnline) return;
    known.set(customerId, isOnline);
    set(Math.max(0, count + (isOnline ? 1 : -1)));
    timer ??= setTimeout(() => {
      timer = undefined;
      client.refresh();
    }, ASK_AGAIN_MS);
  };
  return {
    subscribe(tell) {
      if (tells.size === 0) {
        known.clear();
        count = client.online;
        // Told to others on the page, and maybe long ago: whoever came and went since then was not counted here.
        if (count !== undefined) client.refresh();
        undo = [
          client.on('customer:online', come),
          client.on('customer:offline', come),
          client.on('identity', () => {
            known.clear();
            set(undefined);
          }),
          client.on('subscribed', ({ online }) => {
            if (online === undefined) return;
            known.clear();
            set(online);
          }),
        ];
      }
      tells.add(tell);
      return () => {
        tells.delete(tell);
        if (tells.size > 0) return;
        for (const each of undo) each();
        clearTimeout(timer);
        timer = undefined;
      };
    },
    get: () => count,
    initial: () => undefined,
  };
}
