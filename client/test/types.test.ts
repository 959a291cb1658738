// What the compiler must take and refuse. Checked by tsc (`npm run check`); running it shows that the code is there.

import { expect, test } from 'vitest';

import { emitInventoryEvent, emitOrderEvent } from '../src/emit.js';
import { ShopwireClient, namespaceOf, type ShopEvent } from '../src/index.js';

export function compiles(client: ShopwireClient): void {
  client.on('order:created', (data, event) => {
    const total: number = data.total;
    const type: 'order:created' = event.type;
    // @ts-expect-error: no such field
    return [total, type, data.sku];
  });
  client.on('order:*', (data, event) => {
    const id: string = data.orderId;
    if (event.type === 'order:status_changed') event.data.newStatus satisfies string;
    // @ts-expect-error: not all order events have a total
    return [id, data.total];
  });
  client.on('gap', ({ position }) => position satisfies string);
  // @ts-expect-error: no such type
  client.on('order:lost', () => {});
  // @ts-expect-error: no such kind
  client.on('parcel:*', () => {});
  // @ts-expect-error: no such namespace
  client.subscribe({ namespaces: ['parcels'] });
  client.publish('customer:viewing_product', { productId: 'p', productName: 'Lamp' });
  // @ts-expect-error: not for customers to say
  client.publish('order:deleted', { orderId: 'o' });
  // @ts-expect-error: a product has a name
  client.publish('customer:viewing_product', { productId: 'p' });
}

export async function emits(): Promise<void> {
  // @ts-expect-error: a field is missing
  await emitOrderEvent('order:created', { orderId: 'o' });
  // @ts-expect-error: of another kind
  await emitOrderEvent('product:deleted', { productId: 'p' });
  const product = { productId: 'p', productName: 'Lamp', sku: 's' };
  await emitInventoryEvent('inventory:updated', { ...product, oldStock: 2, newStock: 1 }, { threshold: 5 });
}

export function narrows(event: ShopEvent): number | undefined {
  return event.type === 'payment:received' ? event.data.amount : undefined;
}

test('each type has its namespace', () => {
  const types = ['order:created', 'customer:online', 'inventory:updated', 'product:created', 'payment:failed', 'system:alert'] as const;
  expect(types.map(namespaceOf)).toEqual(['orders', 'customers', 'inventory', 'products', 'payments', 'system']);
});
