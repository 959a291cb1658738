'use client';
// The hooks. Each re-renders its component for what it returns, and for nothing else.

import { useEffect, useInsertionEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react';

import { IDLE, type ShopwireClient } from '../client.js';
import { namespaceOf, type EventType, type Namespace, type OrderStatus, type ShopEvent } from '../generated/events.js';
import type {
  ConnectionState,
  EventHandler,
  ListenOptions,
  Matching,
  Pattern,
  Signals,
  Status,
  Want,
} from '../types.js';
import { useShopwire, useWant } from './provider.js';
import { onlineCount, reduced, type Store } from './stores.js';

/** What `useWebSocket` returns. */
export interface ShopwireSocket {
  client: ShopwireClient;
  isConnected: boolean;
  status: Status;
  /** A sentence on the status; empty while all is well. */
  reason: string;
  /**
   * Listens to events or signals, and returns how to stop. May be called while rendering, as the result's only use: then the
   * handler holds until the next rendering gives another. In effects and event handlers it is the client's own `on`.
   */
  on<P extends Pattern>(pattern: P, handler: EventHandler<P>, options?: ListenOptions): () => void;
  on<S extends keyof Signals>(signal: S, handler: (value: Signals[S]) => void, options?: ListenOptions): () => void;
  publish: ShopwireClient['publish'];
}

interface Given {
  add(): () => void;
  undo?: () => void;
  isGone?: boolean;
}

/** The connection, and namespaces that this component wants to see: `const ws = useWebSocket({ namespaces: ['orders'] })`. */
export function useWebSocket(want: Partial<Want> = {}): ShopwireSocket {
  const client = useShopwire();
  const { status, reason } = useConnection();
  useWant(client, want);

  // Handlers given while rendering. A list for each rendering, since React may throw one away: only what gets onto the page listens.
  const given: Given[] = [];
  // How many were begun, and which one is on the page: what was kept of an earlier one, thrown away or not, is used outside of rendering then.
  const turns = useRef([0, 0]).current;
  const mine = ++turns[0]!;
  useInsertionEffect(() => {
    turns[1] = mine;
  });
  useEffect(() => {
    for (const each of given) each.undo = each.isGone ? undefined : each.add();
    return () => given.forEach((each) => each.undo?.());
  });
  const on = (name: any, handler: any, options?: ListenOptions) => {
    const add = () => client.on(name, handler, options);
    if (mine <= turns[1]!) return add();
    const each: Given = { add };
    given.push(each);
    return () => {
      each.isGone = true;
      each.undo?.();
    };
  };
  return { client, isConnected: status === 'connected', status, reason, on, publish: (type, data) => client.publish(type, data) };
}

/** The connection's state, with its reason. */
export function useConnection(): ConnectionState {
  const client = useShopwire();
  const subscribe = useMemo(() => (tell: () => void) => client.on('status', tell), [client]);
  return useSyncExternalStore(subscribe, () => client.state, () => IDLE);
}

/** Calls `handler`, always the newest one given, for each event of a pattern. Subscribes to what it needs. Causes no rendering. */
export function useWebSocketEvent<P extends Pattern>(pattern: P, handler: EventHandler<P>): void;
/** The newest event of a pattern since the component was mounted. */
export function useWebSocketEvent<P extends Pattern>(pattern: P): ShopEvent<Matching<P>> | undefined;
export function useWebSocketEvent<P extends Pattern>(pattern: P, handler?: EventHandler<P>): unknown {
  const client = useShopwire();
  useWant(client, wantOf(pattern));
  const latest = useRef(handler);
  useInsertionEffect(() => {
    latest.current = handler;
  });
  const [event, setEvent] = useState<ShopEvent<Matching<P>>>();
  useEffect(() => {
    const take: EventHandler<P> = (data, event) => (latest.current ? latest.current(data, event) : setEvent(event));
    const undo = client.on(pattern, take);
    const unwatch = client.on('identity', () => setEvent(undefined));
    return () => {
      undo();
      unwatch();
    };
  }, [client, pattern]);
  return event;
}

function wantOf(pattern: Pattern): Partial<Want> {
  // All namespaces would include those that this user may not see: they have to be named.
  if (pattern === '*') return {};
  const namespaces = [namespaceOf(pattern as EventType)];
  return pattern.endsWith(':*') ? { namespaces } : { namespaces, events: [pattern as EventType] };
}

export interface NamespaceOptions {
  /** How many events are kept. Default: 50. */
  max?: number;
  /** Begin with so many of the newest events that the server still keeps. */
  last?: number;
}

/** The newest events of a namespace, newest first, and the connection's state. */
export function useWebSocketNamespace(namespace: Namespace, { max = 50, last }: NamespaceOptions = {}) {
  const client = useShopwire();
  useWant(client, { namespaces: [namespace], last });
  const store = useMemo(() => newestOf(client, '*', max, (event) => event.namespace === namespace), [client, namespace, max]);
  const events = useStore(store);
  const { status, reason } = useConnection();
  return { events, isConnected: status === 'connected', status, reason };
}

/** The newest events of a pattern, newest first. */
export function useNewest<P extends Pattern>(pattern: P, max: number): readonly ShopEvent<Matching<P>>[] {
  const client = useShopwire();
  return useStore(useMemo(() => newestOf(client, pattern, max), [client, pattern, max]));
}

function newestOf<P extends Pattern>(
  client: ShopwireClient,
  pattern: P,
  max: number,
  isWanted: (event: { namespace: Namespace }) => boolean = () => true,
): Store<readonly ShopEvent<Matching<P>>[]> {
  type Events = readonly ShopEvent<Matching<P>>[];
  return reduced(client, pattern, [] as Events, (events, event) => {
    // One that waits for its frame is among the recent ones already.
    if (!isWanted(event) || events.some(({ id }) => id === event.id)) return events;
    return [event, ...events].slice(0, max);
  });
}

/** Where an order stands. */
export interface OrderState {
  /** Undefined until something is known. */
  status: OrderStatus | undefined;
  previous?: OrderStatus;
  /** When it came to that, in ms since 1970. */
  changedAt?: number;
  isDeleted: boolean;
}

/** An order's status: `initial`, from your own API, and then what events say. Re-renders for this order only. */
export function useOrderStatus(orderId: string, initial?: OrderStatus): OrderState {
  const client = useShopwire();
  useWant(client, { namespaces: ['orders'] });
  const store = useMemo(() => {
    const begin: OrderState = { status: initial, isDeleted: false };
    const reduce = (state: OrderState, event: ShopEvent<Matching<'order:*'>>) => (event.data.orderId === orderId ? follow(state, event) : state);
    const past = () => {
      if (initial === undefined) return client.recent('order:*');
      // How an order began is no news about one that is known; and what came before the line was lost is older.
      return client.isConnected ? client.recent('order:*', true).filter(({ type }) => type !== 'order:created') : [];
    };
    return reduced(client, 'order:*', begin, reduce, past);
  }, [client, orderId, initial]);
  return useStore(store);
}

function follow(state: OrderState, event: ShopEvent<Matching<'order:*'>>): OrderState {
  const changedAt = event.timestamp;
  if (event.type === 'order:deleted') return { ...state, changedAt, isDeleted: true };
  const status = statusIn(event);
  if (typeof status !== 'string' || status === state.status) return state;
  return { status, previous: state.status, changedAt, isDeleted: false };
}

function statusIn(event: ShopEvent<'order:created' | 'order:status_changed' | 'order:updated'>): unknown {
  switch (event.type) {
    case 'order:created':
      return event.data.status;
    case 'order:status_changed':
      return event.data.newStatus;
    case 'order:updated':
      return event.data.changes.status;
  }
}

/** How many customers are online; undefined until the server said so. For roles that may see customers. */
export function useOnlineCount(): number | undefined {
  const client = useShopwire();
  useWant(client, { namespaces: ['customers'], events: ['customer:online', 'customer:offline'] });
  return useStore(onlineCount(client));
}

function useStore<T>(store: Store<T>): T {
  return useSyncExternalStore(store.subscribe, store.get, store.initial);
}
