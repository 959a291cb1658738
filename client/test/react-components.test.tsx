// @vitest-environment happy-dom
// The components in a tree, on a socket that the test holds, and what they show of another user.

import { act, render, screen, waitFor } from '@testing-library/react';
import { describe, expect, test, vi } from 'vitest';

import { LiveCustomerCount, LiveSalesTicker, OrderStatusBadge, useWebSocketEvent, useWebSocketNamespace } from '../src/react/index.js';
import { FakeSocket, settle } from './fake-socket.js';
import { letIn, sale, send, Shop, treePerTest } from './react-shop.js';

treePerTest();

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

  test('the count that is no longer known is not read out any more, at once', async () => {
    const page = (token: string | null) => (
      <Shop token={token}>
        <LiveCustomerCount />
      </Shop>
    );
    const tree = render(page('h.a.s'));
    vi.useFakeTimers();
    await letIn({ online: 7 });
    act(() => vi.advanceTimersByTime(3_000));
    expect(screen.getByRole('status').textContent).toBe('7 customers online');
    tree.rerender(page(null));
    expect(screen.getByRole('status').textContent).toBe('');
    act(() => vi.advanceTimersByTime(3_000));
    expect(screen.getByRole('status').textContent).toBe('');
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
