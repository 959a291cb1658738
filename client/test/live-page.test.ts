// The live page's books: what it makes of events.

import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { ceiling } from '../page/src/chart.js';
import { shortMoney, shortWhole } from '../page/src/format.js';
import { Shop } from '../page/src/shop.js';
import { namespaceOf, type EventData, type EventType, type ShopEvent } from '../src/generated/events.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

let number = 0;
const event = <T extends EventType>(type: T, data: EventData[T]) =>
  ({ id: `e-${++number}`, type, namespace: namespaceOf(type), data, timestamp: number }) as unknown as ShopEvent;

function told(...events: ShopEvent[]) {
  const shop = new Shop();
  for (const each of events) shop.take(each);
  vi.runAllTimers();
  return shop.get();
}

const order = (orderId: string, total = 10) =>
  event('order:created', { orderId, customerId: 'c', customerName: 'Ada', total, status: 'pending', channel: 'web' });
const moved = (orderId: string, newStatus: string) =>
  event('order:status_changed', { orderId, customerId: 'c', customerName: 'Ada', oldStatus: 'pending', newStatus, timestamp: 1 });
const item = { productId: 'p', productName: 'Lamp', sku: 'L' };

test('an order moves on, and one that was not seen at its beginning is there, too', () => {
  const { orders, sales } = told(order('1'), order('2', 5.5), moved('1', 'shipped'), moved('0', 'delivered'));
  expect(orders.map(({ id, status, total }) => [id, status, total])).toEqual([
    ['0', 'delivered', undefined],
    ['1', 'shipped', 10],
    ['2', 'pending', 5.5],
  ]);
  expect(sales).toMatchObject({ count: 2, sum: 15.5 });
  expect(told(order('1'), event('order:deleted', { orderId: '1' })).orders).toEqual([]);
});

test('orders are counted where they are, each once, and those that are too many to count are said to be more', () => {
  const { counts } = told(order('1'), order('2'), order('3'), moved('1', 'shipped'), moved('0', 'shipped'), event('order:deleted', { orderId: '2' }));
  expect(counts).toEqual({ byStatus: { pending: 1, shipped: 2 }, isMore: false });
  const many = told(...Array.from({ length: 20_001 }, (_, index) => order(String(index)))).counts;
  expect(many).toEqual({ byStatus: { pending: 20_000 }, isMore: true });
});

test('huge figures are short, others whole', () => {
  const figures = [9_999_999, 12_345_678].map(shortWhole);
  expect(figures[0]!.replaceAll(/\D/g, '')).toBe('9999999');
  expect(figures[1]!.length).toBeLessThan(9);
  expect(shortMoney(1e15).length).toBeLessThan(14);
});

test('small numbers are written as the others are, by the locale', async () => {
  const { NumberFormat } = Intl;
  vi.spyOn(Intl, 'NumberFormat').mockImplementation(function (_, options) {
    return new NumberFormat('de', options);
  });
  vi.resetModules();
  const { bytes, change, milliseconds, tenths } = await import('../page/src/format.js');
  vi.restoreAllMocks();
  const written = [change(-15), change(11.11), change(0), milliseconds(1.234), milliseconds(12.34), tenths(4), bytes(1.5 * 2 ** 20)];
  expect(written.map((text) => text.replaceAll('\u00a0', ' '))).toEqual(['-15,0 %', '+11,1 %', '0,0 %', '1,23 ms', '12,3 ms', '4,0', '1,5 MiB']);
});

test('stock is alarming from its threshold down, and fine again when it is filled', () => {
  const sold = (newStock: number) => event('inventory:updated', { ...item, oldStock: 9, newStock, difference: newStock - 9 });
  const low = event('inventory:low_stock', { ...item, currentStock: 3, threshold: 4, severity: 'low' });
  const level = (...events: ShopEvent[]) => told(...events).stock.map(({ stock, level }) => `${stock} ${level}`);
  expect(level(sold(5))).toEqual(['5 ok']);
  expect(level(sold(3), low)).toEqual(['3 low']);
  expect(level(low, sold(2))).toEqual(['2 low']);
  expect(level(low, event('inventory:out_of_stock', item))).toEqual(['0 out']);
  expect(level(low, event('inventory:restocked', { ...item, newStock: 20, addedQuantity: 17 }))).toEqual(['20 ok']);
  expect(level(low, sold(8))).toEqual(['8 ok']);
});

test('what is kept is bounded, the newest stay, and parts that did not change stay the same', () => {
  const shop = new Shop();
  for (let at = 0; at < 500; at++) shop.take(order(String(at)));
  vi.runAllTimers();
  const before = shop.get();
  expect(before.orders).toHaveLength(80);
  expect(before.orders[0]!.id).toBe('499');
  expect(before.sales.count).toBe(500);
  // What is not kept is counted all the same.
  expect(before.counts).toEqual({ byStatus: { pending: 500 }, isMore: false });
  shop.take(event('product:price_changed', { ...item, oldPrice: 2, newPrice: 1, changePercentage: -50 }));
  vi.runAllTimers();
  expect(shop.get().orders).toBe(before.orders);
  expect(shop.get().prices).toHaveLength(1);
});

test('a crowd of events is told in few steps', () => {
  const shop = new Shop();
  const tell = vi.fn();
  shop.subscribe(tell);
  for (let at = 0; at < 100; at++) {
    shop.take(order(String(at)));
    vi.advanceTimersByTime(10);
  }
  vi.runAllTimers();
  expect(tell.mock.calls.length).toBeLessThan(12);
});

test('a scale ends at a round number', () => {
  expect([0, 0.03, 1, 1.1, 4, 7, 90, 101, 2000].map(ceiling)).toEqual([1, 0.05, 1, 2, 5, 10, 100, 200, 2000]);
});
