'use client';
// The one connection of a React tree: made by the provider, found by the hooks.

import { createContext, useContext, useEffect, useInsertionEffect, useMemo, useRef, type ReactNode } from 'react';

import { ShopwireClient } from '../client.js';
import type { ShopwireOptions, Want } from '../types.js';

const Context = createContext<ShopwireClient | null>(null);

export interface ShopwireProviderProps extends Omit<ShopwireOptions, 'autoConnect'> {
  /** A client made elsewhere. Who made it connects and closes it; only `namespaces`, `events` and `last` are heeded beside it. */
  client?: ShopwireClient;
  children?: ReactNode;
}

/** Connects the hooks below it. Renders on a server without connecting; connects when it is on the page. */
export function ShopwireProvider({ client: given, children, ...options }: ShopwireProviderProps) {
  const { url, token, namespaces, events, last } = options;
  const latest = useRef(token);
  useInsertionEffect(() => {
    latest.current = token;
  });
  // A function is another one with each rendering, but the same source: the newest one is called.
  const source = useMemo(() => {
    if (typeof token !== 'function') return token;
    return () => (typeof latest.current === 'function' ? latest.current() : latest.current);
  }, [typeof token === 'function' || token]);
  const client = useMemo(
    () => given ?? new ShopwireClient({ ...options, token: source, namespaces: undefined, autoConnect: false }),
    [given, url],
  );
  useWant(client, { namespaces, events, last });
  useEffect(() => {
    if (!given) client.setToken(source);
  }, [client, source]);
  useEffect(() => {
    if (given) return undefined;
    client.connect();
    return () => client.close();
  }, [client]);
  return <Context.Provider value={client}>{children}</Context.Provider>;
}

/** The tree's client. */
export function useShopwire(): ShopwireClient {
  const client = useContext(Context);
  if (!client) throw new Error('there is no <ShopwireProvider> above this component');
  return client;
}

/** Wants to see namespaces while the component is on the page. Lists may be other ones with each rendering. */
export function useWant(client: ShopwireClient, want: Partial<Want>): void {
  const key = want.namespaces?.length ? JSON.stringify(want) : '';
  useEffect(() => (key ? client.subscribe(JSON.parse(key)) : undefined), [client, key]);
}
