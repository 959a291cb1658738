// @vitest-environment happy-dom
// What came before a part of the page was there: it begins with what is still true, and has no hole.

import { act, cleanup, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { LiveSalesTicker, OrderStatusBadge, ShopwireProvider, useWebSocketEvent } from '../src/react/index.js';
import { connected, FakeSocket, settle } from './fake-socket.js';

beforeEach(() => {
  FakeSocket.all = [];
});
afterEach(() => {
  cleanup();
  vi.restoreAllMocks();
});

interface Parts {
  ticker?: boolean;
  /** Somebody looks at changes of status, and at nothing else that happens to orders. */
  changes?: boolean;
  /** The order whose badge is there, and its status as the page knows it. */
  badge?: [orderId: string, status: string];
}

function Changes() {
  useWebSocketEvent('order:status_changed', () => {});
  return null;
}

const Shop = ({ ticker, changes, badge }: Parts) => (
  <ShopwireProvider url="ws://shop.test/api/ws" token="h.a.s" WebSocket={FakeSocket} namespaces={['products']}>
    {ticker && <LiveSalesTicker currency="EUR" max={3} />}
    {changes && <Changes />}
    {badge && <OrderStatusBadge orderId={badge[0]} initialStatus={badge[1]} />}
  </ShopwireProvider>
);

/** A tree whose server answers each subscription. */
async function shop(parts: Parts) {
  const tree = render(<Shop {...parts} />);
  await act(settle);
  const socket = FakeSocket.last;
  await act(async () => {
    socket.welcome();
    socket.authenticate();
  });
  let answered = 0;
  const answer = () =>
    act(async () => {
      for (const { namespaces } of socket.said('subscribe').slice(answered)) socket.subscribed(namespaces, 'p-0');
      answered = socket.said('subscribe').length;
      await settle();
    });
  await answer();
  const show = async (parts: Parts) => {
    tree.rerender(<Shop {...parts} />);
    await act(settle);
    await answer();
  };
  return { socket, show };
}

const created = (socket: FakeSocket, orderId: string) =>
  act(() => socket.event(`e-${orderId}`, 'order:created', { orderId, customerName: `Ada ${orderId}`, total: 1, status: 'pending' }));
const changed = (socket: FakeSocket, id: string, newStatus: string) =>
  act(() => socket.event(id, 'order:status_changed', { orderId: 'o-1', newStatus }));
const status = () => document.querySelector('.shopwire-status')!.textContent;
const sales = () => screen.queryAllByRole('listitem').map(({ firstElementChild }) => firstElementChild!.textContent);

describe('a badge shows no older status than the one it was given', () => {
  test('where only the beginning of the order was seen', async () => {
    const { socket, show } = await shop({ ticker: true });
    created(socket, 'o-1');
    await show({ ticker: true, badge: ['o-1', 'shipped'] });
    expect(status()).toBe('Shipped');
    changed(socket, 'e-2', 'delivered');
    expect(status()).toBe('Delivered');
  });

  test('where nobody looked for a while', async () => {
    const { socket, show } = await shop({ badge: ['o-1', 'pending'] });
    changed(socket, 'e-1', 'processing');
    expect(status()).toBe('Processing');
    await show({});
    await show({ badge: ['o-1', 'delivered'] });
    expect(status()).toBe('Delivered');
  });

  test('where only sales were looked at for a while', async () => {
    const { socket, show } = await shop({ ticker: true, badge: ['o-1', 'pending'] });
    changed(socket, 'e-1', 'processing');
    await show({ ticker: true });
    await show({ ticker: true, badge: ['o-1', 'delivered'] });
    expect(status()).toBe('Delivered');
  });

  test('where one kind of change was looked at, and the shop knows others', async () => {
    const { socket, show } = await shop({ changes: true });
    changed(socket, 'e-1', 'processing');
    // Then came an `order:updated`, which nobody wanted.
    await show({ changes: true, badge: ['o-1', 'shipped'] });
    expect(status()).toBe('Shipped');
    changed(socket, 'e-3', 'delivered');
    expect(status()).toBe('Delivered');
    await show({ changes: true });
    await show({ changes: true, badge: ['o-1', 'cancelled'] });
    expect(status()).toBe('Cancelled');
  });

  test('where the line is lost', async () => {
    const { socket, show } = await shop({ ticker: true, badge: ['o-1', 'pending'] });
    changed(socket, 'e-1', 'processing');
    act(() => socket.end());
    await show({ ticker: true, badge: ['o-1', 'delivered'] });
    expect(status()).toBe('Delivered');
  });

  test('and begins with what came while others looked at the same', async () => {
    const { socket, show } = await shop({ badge: ['o-2', 'pending'] });
    changed(socket, 'e-1', 'shipped');
    await show({ badge: ['o-1', 'pending'] });
    expect(status()).toBe('Shipped');
  });
});

test('a ticker that was left and comes back asks for its past anew, and has no hole', async () => {
  const { socket, show } = await shop({ ticker: true });
  created(socket, 'o-1');
  await show({});
  // Under way when it was left: no part of what is to come.
  created(socket, 'o-2');
  await show({ ticker: true });
  expect(sales()).toEqual([]);
  expect(socket.said('subscribe').slice(-1)).toEqual([{ namespaces: ['orders'], events: ['order:created'], last: 3 }]);
  for (const id of ['o-1', 'o-2', 'o-3']) created(socket, id);
  expect(sales()).toEqual(['Ada o-3', 'Ada o-2', 'Ada o-1']);
});

test('a ticker that stays loses nothing when another part comes and goes', async () => {
  const { socket, show } = await shop({ ticker: true });
  created(socket, 'o-1');
  await show({ badge: ['o-1', 'pending'] });
  created(socket, 'o-2');
  await show({ ticker: true });
  expect(sales()).toEqual(['Ada o-2', 'Ada o-1']);
});

test('what a part begins with is not pushed out by what happens elsewhere', async () => {
  const { socket, show } = await shop({ badge: ['o-0', 'pending'] });
  created(socket, '1');
  act(() => {
    for (let number = 2; number <= 1_100; number++) socket.event(`e-${number}`, 'product:updated', { productId: 'p-1', changes: {} });
  });
  created(socket, '1101');
  await show({ ticker: true, badge: ['o-0', 'pending'] });
  expect(sales()).toEqual(['Ada 1101', 'Ada 1']);
});

test('of each namespace a thousand are kept, and all of them in the order in which they happened', async () => {
  const { client, socket } = await connected({ namespaces: ['orders', 'products'] });
  const fill = (type: string, from: number) => {
    for (let number = from; number < from + 1_001; number++) socket.event(`e-${number}`, type);
  };
  fill('product:deleted', 1_002);
  // Older ones, as the past of a namespace that is wanted later brings them.
  fill('order:deleted', 1);
  const numbers = client.recent('*').map(({ id }) => Number(id.slice(2)));
  expect(numbers).toHaveLength(2_000);
  expect([numbers[0], numbers[999], numbers[1_000], numbers.at(-1)]).toEqual([2, 1_001, 1_003, 2_002]);
  client.close();
});

describe('each part is asked for as many old events as it wants', () => {
  const asked = async (...wants: Parameters<Awaited<ReturnType<typeof connected>>['client']['subscribe']>[0][]) => {
    const { client, socket } = await connected({ namespaces: undefined });
    for (const want of wants) client.subscribe(want);
    await settle();
    return socket.said('subscribe').map(({ namespaces, last }) => [`${namespaces}`, last]);
  };

  test('of namespaces of its own', async () => {
    const wants = await asked({ namespaces: ['orders'], last: 10 }, { namespaces: ['products'], last: 10 });
    expect(wants.sort()).toEqual([
      ['orders', 10],
      ['products', 10],
    ]);
  });

  test('of each of its namespaces, and of one that others want more of', async () => {
    expect(await asked({ namespaces: ['products', 'orders'], last: 5 })).toEqual([
      ['orders', 5],
      ['products', 5],
    ]);
    const wants = await asked({ namespaces: ['orders', 'payments'], last: 5 }, { namespaces: ['orders'], last: 20 });
    expect(wants).toEqual([
      ['orders', 20],
      ['payments', 5],
    ]);
  });

  test('of some types, among all that others want', async () => {
    const sales = { namespaces: ['orders'], events: ['order:created'] } as const;
    expect(await asked({ ...sales, last: 5 })).toEqual([['orders', 5]]);
    expect(await asked({ ...sales, last: 5 }, { namespaces: ['orders'] })).toEqual([['orders', 50]]);
    expect(await asked({ ...sales, last: 500 }, { namespaces: ['orders'] })).toEqual([['orders', 1000]]);
    expect(await asked({ ...sales, last: 5 }, { namespaces: ['orders'], last: 10 })).toEqual([['orders', 50]]);
    // What is wanted of another namespace makes no difference.
    expect(await asked({ ...sales, last: 5 }, { namespaces: ['customers'], events: ['customer:online'] })).toContainEqual(['orders', 5]);
  });

  test('and all of them go on from where the first one stood while their past is under way', async () => {
    const { client, socket } = await connected({ namespaces: undefined });
    client.subscribe({ namespaces: ['orders'], last: 2 });
    client.subscribe({ namespaces: ['products'], last: 2 });
    await settle();
    socket.subscribed(['orders'], 'p-1');
    socket.subscribed(['orders', 'products'], 'p-2');
    socket.event('e-old');
    vi.useFakeTimers();
    socket.end();
    await vi.advanceTimersByTimeAsync(30_000);
    vi.useRealTimers();
    FakeSocket.last.welcome();
    FakeSocket.last.authenticate();
    expect(FakeSocket.last.said('subscribe').map(({ namespaces, since }) => [[...namespaces].sort().join(), since])).toEqual([['orders,products', 'p-1']]);
    client.close();
  });
});
