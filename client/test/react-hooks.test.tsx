// @vitest-environment happy-dom
// The provider and the hooks in a tree, on a socket that the test holds.

import { act, render, renderHook, screen } from '@testing-library/react';
import { StrictMode, useEffect, useState } from 'react';
import { renderToString } from 'react-dom/server';
import { describe, expect, test, vi } from 'vitest';

import {
  LiveCustomerCount,
  LiveSalesTicker,
  OrderStatusBadge,
  useOnlineCount,
  useOrderStatus,
  useShopwire,
  useWebSocket,
  useWebSocketEvent,
  useWebSocketNamespace,
} from '../src/react/index.js';
import { connected, FakeSocket, settle } from './fake-socket.js';
import { answer, letIn, sale, send, Shop, treePerTest } from './react-shop.js';

treePerTest();

const StrictShop = ({ children }: { children: React.ReactNode }) => (
  <StrictMode>
    <Shop>{children}</Shop>
  </StrictMode>
);

describe('the provider', () => {
  test('makes one connection for the tree, also under StrictMode, and ends it with the tree', async () => {
    const Part = () => {
      useWebSocket({ namespaces: ['orders'] });
      useWebSocketEvent('product:deleted', () => {});
      return null;
    };
    const tree = render(
      <StrictMode>
        <Shop>
          <Part />
          <Part />
        </Shop>
      </StrictMode>,
    );
    const socket = await letIn();
    expect(FakeSocket.all).toHaveLength(1);
    expect(socket.said('subscribe')).toEqual([{ namespaces: ['orders', 'products'], events: ['product:deleted'] }]);
    tree.unmount();
    expect(socket.isClosedByPage).toBe(true);
  });

  test('asks the newest token function, and makes no new connection for it', async () => {
    const tree = render(<Shop token={() => 'h.first.s'} />);
    tree.rerender(<Shop token={() => 'h.second.s'} />);
    await act(settle);
    expect(FakeSocket.all.map(({ protocols }) => protocols[1])).toEqual(['token.h.second.s']);
  });

  test('shows another token on the connection there is', async () => {
    const tree = render(<Shop token="h.a.s" />);
    const socket = await letIn();
    tree.rerender(<Shop token="h.b.s" />);
    await act(settle);
    expect(socket.said('auth')).toEqual([{ token: 'h.b.s' }]);
  });

  test('renders on a server, and connects nothing there', async () => {
    const Part = () => {
      const ws = useWebSocket({ namespaces: ['orders'] });
      return <i>{`${ws.status} ${useOnlineCount()}`}</i>;
    };
    const html = renderToString(
      <Shop>
        <Part />
        <OrderStatusBadge orderId="o-1" initialStatus="on_hold" />
        <LiveCustomerCount />
        <LiveSalesTicker currency="EUR" />
      </Shop>,
    );
    await settle();
    expect(FakeSocket.all).toEqual([]);
    expect(html).toContain('<i>idle undefined</i>');
    expect(html).toContain('On hold');
    expect(html).toContain('connecting');
    expect(html).not.toContain('not live');
  });

  test('is missed with a sentence', () => {
    vi.spyOn(console, 'error').mockImplementation(() => {});
    expect(() => renderHook(() => useShopwire())).toThrow('there is no <ShopwireProvider>');
  });
});

describe('useWebSocket', () => {
  test('takes handlers while rendering: each event calls the newest one, once', async () => {
    const calls: string[] = [];
    let rerender = () => {};
    const Orders = () => {
      const [count, setCount] = useState(0);
      rerender = () => setCount((before) => before + 1);
      const ws = useWebSocket({ namespaces: ['orders'] });
      ws.on('order:created', (order) => calls.push(`${order.orderId} in rendering ${count}`));
      return <p>{ws.isConnected ? 'live' : ws.status}</p>;
    };
    const tree = render(<Orders />, { wrapper: StrictShop });
    expect(screen.getByText('connecting')).toBeTruthy();
    const socket = await letIn();
    expect(screen.getByText('live')).toBeTruthy();
    send(socket, 'e-1', 'order:created', sale('o-1'));
    for (let i = 0; i < 5; i++) act(rerender);
    send(socket, 'e-2', 'order:created', sale('o-2'));
    expect(calls).toEqual(['o-1 in rendering 0', 'o-2 in rendering 5']);
    tree.unmount();
    socket.event('e-3', 'order:created', sale('o-3'));
    expect(calls).toHaveLength(2);
  });

  test('takes handlers in effects, and gives back how to stop', async () => {
    const handler = vi.fn();
    let stop = () => {};
    const Orders = () => {
      const { on } = useWebSocket({ namespaces: ['orders'] });
      useEffect(() => {
        stop = on('order:created', handler);
        return stop;
        // One that was given once may be used for good.
      }, []);
      return null;
    };
    render(<Orders />, { wrapper: StrictShop });
    const socket = await letIn();
    send(socket, 'e-1', 'order:created', sale('o-1'));
    expect(handler).toHaveBeenCalledOnce();
    stop();
    send(socket, 'e-2', 'order:created', sale('o-2'));
    expect(handler).toHaveBeenCalledOnce();
  });

  test('is good in effects also if it was kept from a rendering that StrictMode threw away', async () => {
    const handler = vi.fn();
    const Orders = () => {
      const ws = useWebSocket({ namespaces: ['orders'] });
      const [kept] = useState(ws);
      useEffect(() => kept.on('order:created', handler), [kept]);
      return null;
    };
    const tree = render(<Orders />, { wrapper: StrictShop });
    const socket = await letIn();
    send(socket, 'e-1', 'order:created', sale('o-1'));
    expect(handler).toHaveBeenCalledOnce();
    tree.unmount();
    socket.event('e-2', 'order:created', sale('o-2'));
    expect(handler).toHaveBeenCalledOnce();
  });

  test('an undo from rendering ends that handler', async () => {
    const handler = vi.fn();
    let undo = () => {};
    const Orders = () => {
      undo = useWebSocket({ namespaces: ['orders'] }).on('order:created', handler);
      return null;
    };
    render(<Orders />, { wrapper: Shop });
    const socket = await letIn();
    undo();
    send(socket, 'e-1', 'order:created', sale('o-1'));
    expect(handler).not.toHaveBeenCalled();
  });

  test('tells a gap, and where the connection stands', async () => {
    const gap = vi.fn();
    const { result } = renderHook(
      () => {
        const ws = useWebSocket({ namespaces: ['orders'] });
        ws.on('gap', gap);
        return ws;
      },
      { wrapper: Shop },
    );
    const socket = await letIn({ recovered: false });
    expect(gap).toHaveBeenCalledOnce();
    act(() => socket.end(4408, 'no sign of life'));
    expect(result.current).toMatchObject({ isConnected: false, status: 'waiting', reason: 'no sign of life' });
  });

  test('unsubscribes with its component', async () => {
    const Part = () => {
      useWebSocket({ namespaces: ['products'] });
      return null;
    };
    const tree = render(
      <Shop>
        <Part />
      </Shop>,
    );
    const socket = await letIn();
    tree.rerender(<Shop />);
    await act(settle);
    expect(socket.said('unsubscribe')).toEqual([{ namespaces: ['products'] }]);
  });
});

describe('other hooks', () => {
  test('useWebSocketEvent with a handler causes no rendering; the newest handler is called', async () => {
    let renderings = 0;
    const calls: string[] = [];
    const hook = renderHook(
      ({ name }) => {
        renderings++;
        useWebSocketEvent('order:created', (order) => calls.push(`${name} ${order.orderId}`));
      },
      { wrapper: Shop, initialProps: { name: 'first' } },
    );
    const socket = await letIn();
    expect(socket.said('subscribe')).toEqual([{ namespaces: ['orders'], events: ['order:created'] }]);
    const before = renderings;
    send(socket, 'e-1', 'order:created', sale('o-1'));
    expect(renderings).toBe(before);
    hook.rerender({ name: 'second' });
    send(socket, 'e-2', 'order:created', sale('o-2'));
    expect(calls).toEqual(['first o-1', 'second o-2']);
  });

  test('useWebSocketEvent without a handler returns the newest event', async () => {
    const { result } = renderHook(() => useWebSocketEvent('order:*'), { wrapper: Shop });
    const socket = await letIn();
    expect(result.current).toBeUndefined();
    send(socket, 'e-1', 'order:deleted', { orderId: 'o-1' });
    expect(result.current).toMatchObject({ id: 'e-1', data: { orderId: 'o-1' } });
  });

  test('useWebSocketNamespace holds the newest, newest first, of its namespace alone', async () => {
    let renderings = 0;
    const { result } = renderHook(
      () => {
        renderings++;
        return useWebSocketNamespace('orders', { max: 2, last: 2 });
      },
      { wrapper: Shop },
    );
    const socket = await letIn();
    expect(socket.said('subscribe')).toEqual([{ namespaces: ['orders'], last: 2 }]);
    for (const id of ['e-1', 'e-2', 'e-3']) send(socket, id);
    expect(result.current.events.map(({ id }) => id)).toEqual(['e-3', 'e-2']);
    expect(result.current.isConnected).toBe(true);
    const before = renderings;
    send(socket, 'e-4', 'product:deleted');
    expect(renderings).toBe(before);
  });

  test('useOrderStatus follows its order, and renders for no other', async () => {
    let renderings = 0;
    const { result } = renderHook(
      () => {
        renderings++;
        return useOrderStatus('o-1', 'pending');
      },
      { wrapper: Shop },
    );
    const socket = await letIn();
    expect(result.current).toEqual({ status: 'pending', isDeleted: false });
    const before = renderings;
    send(socket, 'e-1', 'order:status_changed', { orderId: 'o-2', newStatus: 'shipped' });
    send(socket, 'e-2', 'order:updated', { orderId: 'o-1', changes: { note: 'x' } });
    expect(renderings).toBe(before);
    send(socket, 'e-3', 'order:status_changed', { orderId: 'o-1', newStatus: 'shipped' });
    expect(result.current).toMatchObject({ status: 'shipped', previous: 'pending', changedAt: 1_700_000_000_000 });
    send(socket, 'e-4', 'order:updated', { orderId: 'o-1', changes: { status: 'delivered' } });
    expect(result.current.status).toBe('delivered');
    send(socket, 'e-5', 'order:deleted', { orderId: 'o-1' });
    expect(result.current).toMatchObject({ status: 'delivered', isDeleted: true });
  });

  test('what is mounted late begins with what has come', async () => {
    const Watcher = () => {
      useWebSocket({ namespaces: ['orders'] });
      return null;
    };
    const tree = render(
      <Shop>
        <Watcher />
      </Shop>,
    );
    const socket = await letIn();
    send(socket, 'e-1', 'order:created', sale('o-1', { status: 'processing' }));
    tree.rerender(
      <Shop>
        <Watcher />
        <OrderStatusBadge orderId="o-1" />
      </Shop>,
    );
    expect(screen.getByText('Processing')).toBeTruthy();
  });

  test('what is asked of a hook can change, and no rendering shows less than what is known', async () => {
    const lengths: number[] = [];
    const statuses: unknown[] = [];
    const Part = ({ max, orderId }: { max: number; orderId: string }) => {
      lengths.push(useWebSocketNamespace('orders', { max }).events.length);
      statuses.push(useOrderStatus(orderId).status);
      return <LiveSalesTicker currency="EUR" max={max} />;
    };
    const page = (max: number, orderId: string) => (
      <Shop>
        <Part max={max} orderId={orderId} />
      </Shop>
    );
    const tree = render(page(2, 'o-1'));
    const socket = await letIn();
    for (const [id, status] of [['o-1', 'shipped'], ['o-2', 'pending'], ['o-3', 'pending']]) send(socket, `e-${id}`, 'order:created', sale(id!, { status }));
    const [first] = screen.getAllByRole('listitem');
    lengths.length = statuses.length = 0;
    tree.rerender(page(3, 'o-2'));
    expect(new Set(lengths)).toEqual(new Set([3]));
    expect(new Set(statuses)).toEqual(new Set(['pending']));
    // Still the same element: the list was not emptied between.
    expect(screen.getAllByRole('listitem')).toHaveLength(3);
    expect(screen.getAllByRole('listitem')[0]).toBe(first);
  });

  test('a page from the server comes alive as it was sent, and shows then what has come', async () => {
    const errors = vi.spyOn(console, 'error');
    const { client, socket } = await connected({ namespaces: ['orders'] });
    socket.event('e-1', 'order:created', sale('o-1', { status: 'shipped' }));
    const page = (
      <Shop client={client}>
        <OrderStatusBadge orderId="o-1" />
        <LiveSalesTicker currency="EUR" />
      </Shop>
    );
    const container = document.body.appendChild(document.createElement('div'));
    container.innerHTML = renderToString(page);
    expect(container.textContent).toMatch(/Unknown.*No sales yet/);
    const differences = vi.fn();
    render(page, { container, hydrate: true, onRecoverableError: differences });
    expect(container.textContent).toMatch(/Shipped.*Ada/);
    expect([differences.mock.calls, errors.mock.calls]).toEqual([[], []]);
  });

  test('useOnlineCount counts from what the server told, each customer once, and asks again', async () => {
    const { result } = renderHook(() => useOnlineCount(), { wrapper: Shop });
    expect(result.current).toBeUndefined();
    const socket = await letIn({ online: 7 });
    expect(result.current).toBe(7);
    vi.useFakeTimers();
    send(socket, 'e-1', 'customer:online', { customerId: 'c-1', isOnline: true });
    send(socket, 'e-2', 'customer:online', { customerId: 'c-1', isOnline: true });
    expect(result.current).toBe(8);
    send(socket, 'e-3', 'customer:offline', { customerId: 'c-2', isOnline: false });
    send(socket, 'e-4', 'customer:offline', { customerId: 'c-1', isOnline: false });
    expect(result.current).toBe(6);
    const before = socket.said('subscribe').length;
    await act(() => vi.advanceTimersByTimeAsync(5_000));
    expect(socket.said('subscribe')).toHaveLength(before + 1);
    answer(socket, { online: 5 });
    expect(result.current).toBe(5);
  });

  test.each(['for the first time', 'again'])('useOnlineCount that is mounted %s later asks for the number: nobody counted meanwhile', async (when) => {
    const Count = () => <p>{`${useOnlineCount()} online`}</p>;
    const page = (isShown: boolean) => <Shop namespaces={['customers']}>{isShown && <Count />}</Shop>;
    const tree = render(page(when === 'again'));
    const socket = await letIn({ online: 0 });
    tree.rerender(page(false));
    await act(settle);
    send(socket, 'e-1', 'customer:online', { customerId: 'c-1', isOnline: true });
    const before = socket.said('subscribe').length;
    tree.rerender(page(true));
    await act(settle);
    expect(socket.said('subscribe')).toHaveLength(before + 1);
    answer(socket, { online: 1 });
    expect(document.body.textContent).toBe('1 online');
    // Whom it counted before it was taken away may have gone and come since.
    send(socket, 'e-2', 'customer:online', { customerId: 'c-2', isOnline: true });
    tree.rerender(page(false));
    send(socket, 'e-3', 'customer:offline', { customerId: 'c-2', isOnline: false });
    tree.rerender(page(true));
    send(socket, 'e-4', 'customer:online', { customerId: 'c-2', isOnline: true });
    expect(document.body.textContent).toBe('2 online');
  });
});
