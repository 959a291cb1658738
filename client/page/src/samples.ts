// A line of each type to begin with in the form.

import type { EventData, EventType } from '../../src/index.js';

const product = { productId: 'p-01', productName: 'Walnut desk lamp' };
const item = { ...product, sku: 'LMP-WAL-01' };
const order = { orderId: 'o-4711', customerId: 'dev-customer' };
const payment = { paymentId: 'pay-1', ...order, amount: 129.9 };

const samples = (now: number): { [T in EventType]: EventData[T] } => ({
  'order:created': { ...order, customerName: 'Dana Whitfield', total: 129.9, status: 'pending', channel: 'web' },
  'order:updated': { ...order, changes: { note: 'gift wrap' } },
  'order:status_changed': {
    ...order,
    customerName: 'Dana Whitfield',
    oldStatus: 'pending',
    newStatus: 'shipped',
    timestamp: now,
  },
  'order:deleted': order,
  'customer:activity': { customerId: 'dev-customer', customerName: 'Dana Whitfield', action: 'viewing', ...product, timestamp: now },
  'customer:viewing_product': { customerId: 'dev-customer', ...product, duration: 12_000 },
  'customer:added_to_cart': { customerId: 'dev-customer', ...product, quantity: 2 },
  'customer:online': { customerId: 'dev-customer', isOnline: true, lastSeen: now },
  'customer:offline': { customerId: 'dev-customer', isOnline: false, lastSeen: now },
  'inventory:updated': { ...item, oldStock: 12, newStock: 10, difference: -2, reason: 'sale' },
  'inventory:low_stock': { ...item, currentStock: 3, threshold: 6, severity: 'low' },
  'inventory:out_of_stock': item,
  'inventory:restocked': { ...item, newStock: 24, addedQuantity: 24 },
  'product:price_changed': { ...item, oldPrice: 89, newPrice: 79, changePercentage: -11.2 },
  'product:created': { ...product, category: 'lighting', price: 89 },
  'product:updated': { productId: 'p-01', changes: { color: 'walnut' } },
  'product:deleted': { productId: 'p-01' },
  'payment:received': { ...payment, method: 'card', status: 'success' },
  'payment:failed': { ...payment, reason: 'Card declined by the bank', retryable: true },
  'payment:refunded': { ...payment, reason: 'Order cancelled' },
  'system:notification': { title: 'Hello', message: 'Sent from the live page.', severity: 'info', actionUrl: '/' },
  'system:alert': { title: 'Payment provider down', message: 'Orders stay pending.', severity: 'error' },
  'system:maintenance': { message: 'Update at six', scheduledAt: now + 3_600_000, duration: 300_000 },
});

export const sampleLine = (type: string): string =>
  JSON.stringify({ type, data: samples(Date.now())[type as EventType] ?? {} }, null, 2);
