// @vitest-environment happy-dom
// What the live page says: of orders on the board, of what may be missing or not be seen, and of a token that was refused.

import { act, cleanup, fireEvent, render, screen, within } from '@testing-library/react';
import { useEffect, useMemo } from 'react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { ConnectionState } from '../page/src/connection.js';
import { SendEvent } from '../page/src/send.js';
import { Shop, ShopContext } from '../page/src/shop.js';
import { ShopView } from '../page/src/views.js';
import { ShopwireProvider, useShopwire } from '../src/react/index.js';
import { FakeSocket, settle } from './fake-socket.js';

beforeEach(() => {
  FakeSocket.all = [];
});
afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const at = (ui: React.ReactNode, token: string | null = 'h.a.s') => (
  <ShopwireProvider url="ws://shop.test/api/ws" token={token} WebSocket={FakeSocket} namespaces={['orders']}>
    {ui}
  </ShopwireProvider>
);

/** The board of a shop, which is taken on by steps of its own. */
async function board() {
  vi.useFakeTimers();
  const shop = new Shop();
  function Followed() {
    return (
      <ShopContext value={shop}>
        <ShopView />
      </ShopContext>
    );
  }
  render(at(<Followed />));
  await act(settle);
  const socket = FakeSocket.last;
  await act(async () => {
    socket.welcome();
    socket.authenticate();
  });
  act(() => socket.said('subscribe').forEach(({ namespaces }) => socket.subscribed(namespaces, 'p-0')));
  const event = (id: string, type: string, data: object) => {
    act(() => socket.event(id, type, data));
    shop.take({ id, type, namespace: 'orders', data, timestamp: 1 } as never);
  };
  const order = (id: string) => event(id, 'order:created', { orderId: id, customerId: 'c', customerName: 'Ada', total: 1e300, status: 'pending', channel: 'web' });
  const lane = (name: RegExp) => within(screen.getByRole('region', { name }));
  return { event, order, lane, step: () => act(() => vi.advanceTimersByTime(500)) };
}

test('a card is in the lane that its badge says, at any moment', async () => {
  const { event, order, lane, step } = await board();
  order('o-1');
  step();
  expect(lane(/^Pending/).getByText('Pending', { selector: '.shopwire-status' })).toBeTruthy();
  event('e-2', 'order:status_changed', { orderId: 'o-1', customerName: 'Ada', newStatus: 'shipped' });
  expect(lane(/^Pending/).getByText('Pending', { selector: '.shopwire-status' })).toBeTruthy();
  step();
  expect(lane(/^Shipped/).getByText('Shipped', { selector: '.shopwire-status' })).toBeTruthy();
  expect(lane(/^Pending/).queryByText('Pending', { selector: '.shopwire-status' })).toBeNull();
});

test('a lane says how many it does not show, also where it shows three', async () => {
  const { order, lane, step } = await board();
  const more = () => lane(/^Pending/).queryAllByText(/^and \d+ more$/).map(({ className, textContent }) => [className, textContent]);
  for (let i = 1; i <= 3; i++) order(`o-${i}`);
  step();
  expect(more()).toEqual([]);
  order('o-4');
  step();
  expect(more()).toEqual([['more narrow', 'and 1 more']]);
  for (let i = 5; i <= 8; i++) order(`o-${i}`);
  step();
  expect(more()).toEqual([
    ['more wide', 'and 2 more'],
    ['more narrow', 'and 5 more'],
  ]);
});

test('who may have missed something is told so', async () => {
  render(at(<ConnectionState reloadedAt={Date.UTC(2026, 0, 1)} />));
  await act(settle);
  act(() => FakeSocket.last.welcome());
  await act(async () => FakeSocket.last.authenticate());
  act(() => FakeSocket.last.subscribed(['orders'], 'p-0'));
  expect(screen.getByRole('status').textContent).toMatch(/^Live.*loaded anew at .+; what came before may be missing$/);
});

test.each([
  { who: 'The public', token: null },
  { who: 'This role', token: 'h.a.s' },
])('$who is told what may not be seen', async ({ who, token }) => {
  function Followed() {
    const client = useShopwire();
    const shop = useMemo(() => new Shop(), []);
    useEffect(() => shop.follow(client), [client, shop]);
    return (
      <ShopContext value={shop}>
        <ShopView />
      </ShopContext>
    );
  }
  render(at(<Followed />, token));
  await act(settle);
  const socket = FakeSocket.last;
  act(() => socket.welcome());
  if (token) await act(async () => socket.authenticate('u-1', 'guest'));
  act(() => socket.say({ type: 'error', data: { code: 'forbidden', message: 'no', request: 'subscribe' } }));
  // Both the board and the ticker.
  expect(await screen.findAllByText(`${who} may not see orders.`)).toHaveLength(2);
});

test.each([
  { key: undefined, reason: 'this role may not see it, or it is addressed to others.' },
  { key: 'k-1', reason: 'this role may not see it, it is addressed to others, or its key was used in the last 10 minutes, so it is no new event.' },
])('a line with the key $key that brings no frame is told why that may be', async ({ key, reason }) => {
  vi.stubGlobal('fetch', async () => Response.json({ id: 'e-1' }));
  render(<SendEvent types={['product:deleted']} />);
  fireEvent.change(screen.getByLabelText('Line'), { target: { value: JSON.stringify({ type: 'product:deleted', data: { productId: 'p' }, key }) } });
  fireEvent.click(screen.getByRole('button', { name: 'Send' }));
  expect((await screen.findByText(/^Accepted/)).textContent).toBe(`Accepted. No frame came here so far: ${reason}`);
});

test('a token that has expired is said to be so', async () => {
  render(at(<ConnectionState reloadedAt={undefined} />));
  await act(settle);
  act(() => FakeSocket.last.welcome());
  act(() => FakeSocket.last.say({ type: 'error', data: { code: 'token_expired', message: 'the token has expired', request: 'auth' } }));
  act(() => FakeSocket.last.end(4401, 'the token was refused'));
  expect(document.querySelector('.banner')!.textContent).toContain('Disconnected. The token has expired.');
});
