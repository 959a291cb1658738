// A tree under a provider whose server is the test, for the tests of hooks and components.

import { act, cleanup } from '@testing-library/react';
import { afterEach, beforeEach, vi } from 'vitest';

import { ShopwireProvider, type ShopwireProviderProps } from '../src/react/index.js';
import { FakeSocket, settle } from './fake-socket.js';

/** Each test of the file begins without sockets and ends without a tree. */
export function treePerTest(): void {
  beforeEach(() => {
    FakeSocket.all = [];
  });
  afterEach(() => {
    cleanup();
    vi.useRealTimers();
    vi.restoreAllMocks();
  });
}

export function Shop({ children, token = 'h.a.s', ...options }: Omit<ShopwireProviderProps, 'token'> & { token?: string | null | (() => string) }) {
  return (
    <ShopwireProvider url="ws://shop.test/api/ws" token={token} WebSocket={FakeSocket} {...options}>
      {children}
    </ShopwireProvider>
  );
}

/** The server lets the tree in. */
export async function letIn(more: object = {}): Promise<FakeSocket> {
  await act(settle);
  const socket = FakeSocket.last;
  await act(async () => {
    socket.welcome();
    socket.authenticate();
  });
  act(() => {
    for (const { namespaces } of socket.said('subscribe')) socket.subscribed(namespaces, 'p-0', more);
  });
  return socket;
}

/** The server answers the last subscription. */
export function answer(socket: FakeSocket, more: object = {}): void {
  act(() => {
    for (const { namespaces } of socket.said('subscribe').slice(-1)) socket.subscribed(namespaces, 'p-0', more);
  });
}

export const send = (socket: FakeSocket, ...event: Parameters<FakeSocket['event']>) => act(() => socket.event(...event));

export const sale = (orderId: string, more: object = {}) => ({
  orderId,
  customerId: 'c-1',
  customerName: 'Ada',
  total: 12.5,
  status: 'pending',
  channel: 'web',
  ...more,
});
