'use client';

import { useCallback, useEffect, useState } from 'react';

import { OrderStatusBadge, useWebSocket } from 'shopwire/react';

import type { Order } from '@/lib/shop';

export function Orders({ initial }: { initial: Order[] }) {
  const [orders, setOrders] = useState(initial);
  const load = useCallback(async () => {
    const answer = await fetch('/api/orders');
    if (answer.ok) setOrders(await answer.json());
  }, []);

  const ws = useWebSocket({ namespaces: ['orders'] });
  ws.on('order:created', (order) => setOrders((before) => [order, ...before.filter(({ orderId }) => orderId !== order.orderId)]));
  ws.on('order:deleted', (gone) => setOrders((before) => before.filter(({ orderId }) => orderId !== gone.orderId)));
  ws.on('gap', load);
  useEffect(() => ws.client.once('subscribed', load), [ws.client, load]);

  return (
    <>
      {!ws.isConnected && <p role="status">{ws.status} {ws.reason}</p>}
      <ul>
        {orders.map(({ orderId, customerName, total, status }) => (
          <li key={orderId}>
            {customerName}: {total} € <OrderStatusBadge orderId={orderId} initialStatus={status} />
          </li>
        ))}
      </ul>
    </>
  );
}
