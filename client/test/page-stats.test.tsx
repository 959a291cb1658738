// @vitest-environment happy-dom
// What the charts of the live page begin with.

import { act, cleanup, renderHook } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';

import { useStats } from '../page/src/stats.js';
import { ShopwireProvider } from '../src/react/index.js';
import { driveClock, FakeSocket, settle } from './fake-socket.js';

driveClock();
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

test('what the page itself is sent to catch up is in no chart, and what lives is', async () => {
  let deliveries = 0;
  const latencyMs = { p50: 1, p99: 1, p999: 1 };
  vi.stubGlobal('fetch', async () => Response.json({ eventsIn: 0, deliveries, totalConnections: 1, latencyMs, workers: [{ deliveries }] }));
  const { result } = renderHook(() => useStats(undefined), {
    wrapper: ({ children }) => (
      <ShopwireProvider url="ws://shop.test/api/ws" token="h.a.s" WebSocket={FakeSocket} namespaces={['orders']} last={600}>
        {children}
      </ShopwireProvider>
    ),
  });
  /** The server sends these, and a second later it is asked again. */
  const second = async (...ids: number[]) => {
    for (const id of ids) act(() => FakeSocket.last.event(`r-${id}`));
    deliveries += ids.length;
    await act(() => vi.advanceTimersByTimeAsync(1_010));
  };
  await act(settle);
  const socket = FakeSocket.last;
  await act(async () => {
    socket.welcome();
    socket.authenticate();
  });
  act(() => socket.subscribed(['orders'], 'r-600'));
  await second(1, 2, 3);
  await second(599, 600);
  expect(result.current.now?.deliveries).toBe(5);
  expect(result.current.samples).toEqual([]);
  await second(601, 602, 603);
  await second(604);
  expect(result.current.samples.map(({ deliveries }) => Math.round(deliveries))).toEqual([3, 1]);
  expect(result.current.samples[0]!.workers.map(Math.round)).toEqual([3]);
});
