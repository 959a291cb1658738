// @vitest-environment happy-dom
// Hooks and components in a tree, on a socket that the test holds.

import { act, cleanup, render, renderHook, screen, waitFor } from '@testing-library/react';
import { StrictMode, useEffect, useState } from 'react';
import { renderToString } from 'react-dom/server';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import {
  LiveCustomerCount,
  LiveSalesTicker,
  OrderStatusBadge,
  ShopwireProvider,
  useOnlineCount,
  useOrderStatus,
  useShopwire,
  useWebSocket,
  useWebSocketEvent,
  useWebSocketNamespace,
  type ShopwireProviderProps,
} from '../src/react/index.js';
import { FakeSocket, settle } from './fake-socket.js';

beforeEach(() => {
  FakeSocket.all = [];
});
afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

function Shop({ children, token = 'h.a.s', ...options }: Omit<ShopwireProviderProps, 'token'> & { token?: string | null | (() => string) }) {
  return (
    <ShopwireProvider url="ws://shop.test/api/ws" token={token} WebSocket={FakeSocket} {...options}>
      {children}
    </ShopwireProvider>
  );
}

/** The server lets the tree in. */
async function letIn(more: object = {}): Promise<FakeSocket> {
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
function answer(socket: FakeSocket, more: object = {}): void {
  act(() => {
    for (const { namespaces } of socket.said('subscribe').slice(-1)) socket.subscribed(namespaces, 'p-0', more);
  });
}

const send = (socket: FakeSocket, ...event: Parameters<FakeSocket['event']>) => act(() => socket.event(...event));

const sale = (orderId: string, more: object = {}) => ({
  orderId,
  customerId: 'c-1',
  customerName: 'Ada',
  total: 12.5,
  status: 'pending',
  channel: 'web',
  ...more,
});

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
    const tree = render(
      <StrictMode>
        <Shop>
          <Orders />
        </Shop>
      </StrictMode>,
    );
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
    render(
      <StrictMode>
        <Shop>
          <Orders />
        </Shop>
      </StrictMode>,
    );
    const socket = await letIn();
    send(socket, 'e-1', 'order:created', sale('o-1'));
    expect(handler).toHaveBeenCalledOnce();
    stop();
    send(socket, 'e-2', 'order:created', sale('o-2'));
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

describe('another user or role', () => {
  function Everything() {
    const { events } = useWebSocketNamespace('orders');
    const newest = useWebSocketEvent('order:created');
    return (
      <>
        <p>{`${events.length} events, the newest ${newest?.id}`}</p>
        <OrderStatusBadge orderId="o-1" initialStatus="pending" />
        <LiveCustomerCount />
        <LiveSalesTicker currency="EUR" />
      </>
    );
  }

  async function seen(token: string) {
    const tree = render(
      <Shop token={token}>
        <Everything />
      </Shop>,
    );
    const socket = await letIn({ online: 7 });
    send(socket, 'e-1', 'order:created', sale('o-1', { status: 'shipped' }));
    act(() => screen.getByText('Pause').click());
    expect(document.body.textContent).toMatch(/1 events, the newest e-1.*Shipped.*7 customers.*Ada/);
    return { tree, socket };
  }

  const expectNothing = () => {
    expect(document.body.textContent).toMatch(/0 events, the newest undefined.*Pending.*– customers.*No sales yet/);
    expect(document.body.textContent).not.toContain('Ada');
  };

  test('by another token: what the first one saw is gone from hooks and components', async () => {
    const { tree, socket } = await seen('h.a.s');
    tree.rerender(
      <Shop token="h.b.s">
        <Everything />
      </Shop>,
    );
    await act(settle);
    socket.say({ type: 'error', data: { code: 'unauthorized', message: 'another user', request: 'auth' } });
    await waitFor(() => expect(FakeSocket.all).toHaveLength(2));
    await act(async () => {
      FakeSocket.last.welcome();
      FakeSocket.last.authenticate('u-2');
    });
    expectNothing();
  });

  test('by no token, at once', async () => {
    const { tree } = await seen('h.a.s');
    tree.rerender(
      <Shop token={null}>
        <Everything />
      </Shop>,
    );
    expectNothing();
  });

  test('by a refresh that changes the role', async () => {
    const { socket } = await seen('h.a.s');
    act(() => socket.authenticate('u-1', 'guest'));
    expectNothing();
  });
});

describe('components', () => {
  test('the badge says the status, and that it is not live', async () => {
    render(<OrderStatusBadge orderId="o-1" initialStatus="pending" announce locale="en" labels={{ shipped: 'On its way' }} />, { wrapper: Shop });
    expect(screen.getByText('connecting')).toBeTruthy();
    const socket = await letIn();
    expect(screen.queryByText('connecting')).toBeNull();
    send(socket, 'e-1', 'order:status_changed', { orderId: 'o-1', newStatus: 'shipped' });
    const status = screen.getByRole('status');
    expect(status.textContent).toBe('On its way');
    expect(status.title).toContain('2023');
    const { dataset } = status.parentElement!;
    expect([dataset.status, dataset.connection]).toEqual(['shipped', 'connected']);
    act(() => socket.end(4408, 'no sign of life'));
    expect(screen.getByText('not live').title).toBe('no sign of life');
  });

  test('the badge is silent unless it was asked to announce', async () => {
    render(<OrderStatusBadge orderId="o-1" initialStatus="pending" />, { wrapper: Shop });
    await letIn();
    expect(screen.getByText('Pending')).toBeTruthy();
    expect(screen.queryByRole('status')).toBeNull();
  });

  test('a locale or a currency that is none takes nothing down, and is told once', async () => {
    const warned = vi.spyOn(console, 'warn').mockImplementation(() => {});
    render(
      <>
        <OrderStatusBadge orderId="o-1" locale="de_CH" />
        <LiveCustomerCount locale="de_CH" />
        <LiveSalesTicker currency="EURO" locale="de_CH" />
      </>,
      { wrapper: Shop },
    );
    const socket = await letIn({ online: 3 });
    send(socket, 'e-1', 'order:created', sale('o-1', { total: 7.5 }));
    send(socket, 'e-2', 'order:status_changed', { orderId: 'o-1', newStatus: 'shipped' });
    expect(screen.getByText('7.5')).toBeTruthy();
    expect(screen.getByText('Shipped').title).toContain('2023');
    expect(screen.getByText('3')).toBeTruthy();
    expect(warned.mock.calls.map(([text]) => text).sort()).toEqual([
      'shopwire: EURO is no currency like EUR; amounts are shown without',
      "shopwire: de_CH is no locale like de-CH; the browser's own is taken",
    ]);
  });

  test('the count is read out when it is calm, and unknown before it is told', async () => {
    render(<LiveCustomerCount locale="de" labels={{ online: () => 'online' }} />, { wrapper: Shop });
    expect(screen.getByRole('status').textContent).toBe('');
    vi.useFakeTimers();
    await letIn({ online: 1234 });
    expect(screen.getByText('1.234')).toBeTruthy();
    expect(screen.getByRole('status').textContent).toBe('');
    act(() => vi.advanceTimersByTime(3_000));
    expect(screen.getByRole('status').textContent).toBe('1.234 online');
  });

  test('the ticker begins with what the server kept, and can be held', async () => {
    render(<LiveSalesTicker currency="EUR" locale="de" max={2} />, { wrapper: Shop });
    expect(screen.getByText('No sales yet')).toBeTruthy();
    const socket = await letIn();
    expect(socket.said('subscribe')).toEqual([{ namespaces: ['orders'], events: ['order:created'], last: 2 }]);
    for (const id of ['o-1', 'o-2', 'o-3']) send(socket, `e-${id}`, 'order:created', sale(id, { customerName: `Ada ${id}`, total: 1234.5 }));
    const names = () => screen.getAllByRole('listitem').map(({ firstElementChild }) => firstElementChild!.textContent);
    expect(names()).toEqual(['Ada o-3', 'Ada o-2']);
    expect(screen.getAllByRole('listitem')[0]!.textContent).toContain('1.234,50\u00a0€');
    act(() => screen.getByText('Pause').click());
    send(socket, 'e-4', 'order:created', sale('o-4', { customerName: 'Ada o-4' }));
    expect(names()).toEqual(['Ada o-3', 'Ada o-2']);
    act(() => screen.getByText('Resume').click());
    expect(names()).toEqual(['Ada o-4', 'Ada o-3']);
  });

  test('text is text, whatever it says, and no time is too late', async () => {
    const evil = '<img src=x onerror="globalThis.hit = 1"><script>globalThis.hit = 1</script>';
    render(
      <>
        <LiveSalesTicker currency="EUR" />
        <OrderStatusBadge orderId="o-1" />
      </>,
      { wrapper: Shop },
    );
    const socket = await letIn();
    act(() => {
      const data = sale('o-1', { customerName: evil, status: evil });
      socket.say({ id: 'e-1', type: 'order:created', namespace: 'orders', data, timestamp: Number.MAX_SAFE_INTEGER });
    });
    expect(screen.getAllByText(evil)).toHaveLength(2);
    expect(document.querySelectorAll('img, script')).toHaveLength(0);
    expect((globalThis as { hit?: number }).hit).toBeUndefined();
  });
});
