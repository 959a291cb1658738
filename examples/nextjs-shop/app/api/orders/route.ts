// The orders: listed, taken, moved on. Each change is told to the pages.

import { emitInventoryEvent, emitOrderEvent } from 'shopwire/emit';

import { tell } from '@/lib/events';
import { orders, setStatus, takeOrder, WrongCart } from '@/lib/shop';

export const dynamic = 'force-dynamic';

/** At so many or fewer the pages are told that the stock is low. */
const LOW = 5;

export async function GET(): Promise<Response> {
  return Response.json(orders());
}

export async function POST(request: Request): Promise<Response> {
  try {
    const { order, change } = takeOrder(await request.json());
    const { orderId } = order;
    const untold = await tell([
      emitOrderEvent('order:created', { ...order, channel: 'web' }, { key: `${orderId}:created` }),
      emitInventoryEvent('inventory:updated', change, { threshold: LOW, key: `${orderId}:stock` }),
    ]);
    return Response.json({ ...order, untold }, { status: 201 });
  } catch (error) {
    if (error instanceof WrongCart || error instanceof SyntaxError) return Response.json({ error: error.message }, { status: 400 });
    throw error;
  }
}

export async function PATCH(request: Request): Promise<Response> {
  const { orderId, status } = await request.json();
  const changed = setStatus(orderId, status);
  if (!changed) return Response.json({ error: `there is no order ${orderId}` }, { status: 404 });
  const { order, oldStatus } = changed;
  const { customerId, customerName } = order;
  const untold = await tell([
    emitOrderEvent('order:status_changed', { orderId, customerId, customerName, oldStatus, newStatus: status, timestamp: Date.now() }),
  ]);
  return Response.json({ ...order, untold });
}
