// How the shop stands, as far as this user was told: made from events alone. Bounded, and handed to React in calm steps however many
// events come.

import { createContext, useContext, useSyncExternalStore } from 'react';

import type { Namespace, Role, ShopEvent, ShopwireClient } from '../../src/index.js';

export interface Order {
  id: string;
  customer: string;
  total: number | undefined;
  channel: string | undefined;
  status: string;
  at: number;
}

export interface StockItem {
  id: string;
  name: string;
  sku: string;
  stock: number;
  level: 'ok' | 'low' | 'critical' | 'out';
  threshold?: number;
  at: number;
}

export interface Price {
  id: string;
  name: string;
  from: number | undefined;
  to: number;
  percent: number | undefined;
  at: number;
}

export interface Visitor {
  id: string;
  name: string | undefined;
  doing: string;
  at: number;
}

export interface Payment {
  key: string;
  order: string;
  amount: number;
  outcome: 'received' | 'pending' | 'failed' | 'refunded';
  note: string;
  at: number;
}

export interface Notice {
  key: string;
  title: string;
  message: string;
  severity: 'info' | 'warning' | 'error' | 'success';
  url: string | undefined;
  at: number;
}

export interface Counts {
  byStatus: Readonly<Record<string, number>>;
  /** There are more than were counted. */
  isMore: boolean;
}

/** Everything that the views show. Parts that did not change are the same objects. */
export interface ShopState {
  orders: readonly Order[];
  stock: readonly StockItem[];
  prices: readonly Price[];
  visitors: readonly Visitor[];
  payments: readonly Payment[];
  notices: readonly Notice[];
  /** How many orders there are by status, whether they are kept or not. */
  counts: Counts;
  sales: { count: number; sum: number; since: number | undefined };
  /** Namespaces that the server has agreed to: nothing seen of them means that nothing is there. */
  known: ReadonlySet<Namespace>;
  /** Namespaces that the server refused to this user. */
  denied: ReadonlySet<Namespace>;
  /** More happens than the eye can follow. */
  isBusy: boolean;
}

/** So many orders are counted: each costs an id. */
const COUNTED = 20_000;
const KEPT = { orders: 80, stock: 60, prices: 12, visitors: 24, payments: 12, notices: 6 };
/** React hears of changes so often at most, in ms: what changes faster cannot be read anyway. */
const STEP_MS = 120;
/** From so many events a second on, nothing is moved for the sake of movement: it would take the time that the page needs. */
const BUSY = 30;

const DOING: Record<string, string> = {
  viewing: 'looks at',
  cart_add: 'takes',
  cart_remove: 'puts back',
  checkout_start: 'goes to the checkout',
  checkout_complete: 'has ordered',
};

const EMPTY: ShopState = {
  orders: [],
  stock: [],
  prices: [],
  visitors: [],
  payments: [],
  notices: [],
  counts: { byStatus: {}, isMore: false },
  sales: { count: 0, sum: 0, since: undefined },
  known: new Set(),
  denied: new Set(),
  isBusy: false,
};

export class Shop {
  #state = EMPTY;
  #orders = new Map<string, Order>();
  #stock = new Map<string, StockItem>();
  #prices = new Map<string, Price>();
  #visitors = new Map<string, Visitor>();
  #payments: Payment[] = [];
  #notices: Notice[] = [];
  #statuses = new Map<string, string>();
  #counts = new Map<string, number>();
  #isMore = false;
  #sales = EMPTY.sales;
  #known = new Set<Namespace>();
  #denied = new Set<Namespace>();
  #role: Role | undefined;
  #dirty = new Set<keyof ShopState>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #tells = new Set<() => void>();
  #taken = 0;
  #steppedAt = 0;

  /** Follows what a client hears; returns how to stop. */
  follow(client: ShopwireClient): () => void {
    const undo = [
      client.on('*', (_, event) => this.take(event)),
      client.on('error', ({ namespace }) => {
        if (!namespace) return;
        this.#denied.add(namespace);
        this.#changed('denied');
      }),
      client.on('subscribed', ({ namespaces }) => {
        for (const name of namespaces) this.#known.add(name);
        this.#changed('known');
      }),
      // Another role may see other things.
      client.on('authenticated', ({ role }) => {
        if (role === this.#role) return;
        this.#role = role;
        this.#denied.clear();
        this.#changed('denied');
      }),
    ];
    return () => {
      for (const each of undo) each();
      clearTimeout(this.#timer);
      this.#timer = undefined;
    };
  }

  take(event: ShopEvent): void {
    const at = event.timestamp;
    this.#taken++;
    switch (event.type) {
      case 'order:created': {
        const { orderId, customerName, total, channel, status } = event.data;
        put(this.#orders, orderId, { id: orderId, customer: customerName, total, channel, status, at }, KEPT.orders);
        const { count, sum, since } = this.#sales;
        this.#sales = { count: count + 1, sum: sum + total, since: since ?? at };
        this.#count(orderId, status);
        this.#changed('orders', 'sales');
        return;
      }
      case 'order:status_changed': {
        const { orderId, customerName, newStatus } = event.data;
        const known = this.#orders.get(orderId);
        const order = known ?? { id: orderId, customer: customerName, total: undefined, channel: undefined };
        put(this.#orders, orderId, { ...order, status: newStatus, at }, KEPT.orders);
        this.#count(orderId, newStatus);
        this.#changed('orders');
        return;
      }
      case 'order:updated': {
        const known = this.#orders.get(event.data.orderId);
        const { status } = event.data.changes as { status?: unknown };
        if (typeof status !== 'string') return;
        if (this.#statuses.has(event.data.orderId)) this.#count(event.data.orderId, status);
        if (!known) return;
        put(this.#orders, known.id, { ...known, status, at }, KEPT.orders);
        this.#changed('orders');
        return;
      }
      case 'order:deleted':
        if (this.#statuses.has(event.data.orderId)) this.#count(event.data.orderId, undefined);
        if (this.#orders.delete(event.data.orderId)) this.#changed('orders');
        return;
      case 'inventory:updated': {
        const { productId, productName, sku, newStock } = event.data;
        const known = this.#stock.get(productId);
        const threshold = known?.threshold;
        const isLow = threshold !== undefined && newStock <= threshold;
        const level = newStock <= 0 ? 'out' : !isLow ? 'ok' : known?.level === 'critical' ? 'critical' : 'low';
        put(this.#stock, productId, { id: productId, name: productName, sku, stock: newStock, level, threshold, at }, KEPT.stock);
        this.#changed('stock');
        return;
      }
      case 'inventory:low_stock': {
        const { productId, productName, sku, currentStock, threshold, severity } = event.data;
        const item = { id: productId, name: productName, sku, stock: currentStock, level: severity, threshold, at };
        put(this.#stock, productId, item, KEPT.stock);
        this.#changed('stock');
        return;
      }
      case 'inventory:out_of_stock': {
        const { productId, productName, sku } = event.data;
        const threshold = this.#stock.get(productId)?.threshold;
        put(this.#stock, productId, { id: productId, name: productName, sku, stock: 0, level: 'out', threshold, at }, KEPT.stock);
        this.#changed('stock');
        return;
      }
      case 'inventory:restocked': {
        const { productId, productName, sku, newStock } = event.data;
        const threshold = this.#stock.get(productId)?.threshold;
        const item: StockItem = { id: productId, name: productName, sku, stock: newStock, level: 'ok', threshold, at };
        put(this.#stock, productId, item, KEPT.stock);
        this.#changed('stock');
        return;
      }
      case 'product:price_changed': {
        const { productId, productName, oldPrice, newPrice, changePercentage } = event.data;
        const price = { id: productId, name: productName, from: oldPrice, to: newPrice, percent: changePercentage, at };
        put(this.#prices, productId, price, KEPT.prices);
        this.#changed('prices');
        return;
      }
      case 'product:created': {
        const { productId, productName, price } = event.data;
        put(this.#prices, productId, { id: productId, name: productName, from: undefined, to: price, percent: undefined, at }, KEPT.prices);
        this.#changed('prices');
        return;
      }
      case 'product:deleted':
        if (this.#prices.delete(event.data.productId)) this.#changed('prices');
        if (this.#stock.delete(event.data.productId)) this.#changed('stock');
        return;
      case 'customer:online':
        this.#visit(event.data.customerId, undefined, 'has come', at);
        return;
      case 'customer:offline':
        if (this.#visitors.delete(event.data.customerId)) this.#changed('visitors');
        return;
      case 'customer:activity': {
        const { customerId, customerName, action, productName } = event.data;
        const doing = DOING[action] ?? action;
        this.#visit(customerId, customerName, productName ? `${doing} ${productName}` : doing, at);
        return;
      }
      case 'customer:viewing_product':
        this.#visit(event.data.customerId, undefined, `looks at ${event.data.productName}`, at);
        return;
      case 'customer:added_to_cart': {
        const { customerId, quantity, productName } = event.data;
        this.#visit(customerId, undefined, `takes ${quantity} × ${productName}`, at);
        return;
      }
      case 'payment:received': {
        const { paymentId, orderId, amount, method, status } = event.data;
        const outcome = status === 'success' ? 'received' : status;
        this.#pay({ key: `${paymentId} ${event.id}`, order: orderId, amount, outcome, note: method, at });
        return;
      }
      case 'payment:failed': {
        const { paymentId, orderId, amount, reason } = event.data;
        this.#pay({ key: `${paymentId} ${event.id}`, order: orderId, amount, outcome: 'failed', note: reason, at });
        return;
      }
      case 'payment:refunded': {
        const { paymentId, orderId, amount, reason = '' } = event.data;
        this.#pay({ key: `${paymentId} ${event.id}`, order: orderId, amount, outcome: 'refunded', note: reason, at });
        return;
      }
      case 'system:notification':
      case 'system:alert': {
        const { title, message, severity } = event.data;
        const url = event.type === 'system:notification' ? event.data.actionUrl : undefined;
        this.#notify({ key: event.id, title, message, severity, url: safeUrl(url), at });
        return;
      }
      case 'system:maintenance':
        this.#notify({ key: event.id, title: 'Maintenance', message: event.data.message, severity: 'warning', url: undefined, at });
    }
  }

  /** An order has come to another status, or is gone. */
  #count(id: string, status: string | undefined): void {
    const add = (status: string | undefined, one: number) => status !== undefined && this.#counts.set(status, (this.#counts.get(status) ?? 0) + one);
    add(this.#statuses.get(id), -1);
    this.#statuses.delete(id);
    add(status, 1);
    if (status !== undefined) this.#statuses.set(id, status);
    if (this.#statuses.size > COUNTED) {
      const [oldest, its] = this.#statuses.entries().next().value!;
      this.#statuses.delete(oldest);
      add(its, -1);
      this.#isMore = true;
    }
    this.#changed('counts');
  }

  #visit(id: string, name: string | undefined, doing: string, at: number): void {
    put(this.#visitors, id, { id, name: name ?? this.#visitors.get(id)?.name, doing, at }, KEPT.visitors);
    this.#changed('visitors');
  }

  #pay(payment: Payment): void {
    this.#payments = [payment, ...this.#payments].slice(0, KEPT.payments);
    this.#changed('payments');
  }

  #notify(notice: Notice): void {
    this.#notices = [notice, ...this.#notices].slice(0, KEPT.notices);
    this.#changed('notices');
  }

  #changed(...parts: (keyof ShopState)[]): void {
    for (const part of parts) this.#dirty.add(part);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#step();
    }, STEP_MS);
  }

  #step(): void {
    const newest = <T>(map: Map<string, T>) => [...map.values()].reverse();
    const make: { [Part in keyof ShopState]: () => ShopState[Part] } = {
      orders: () => newest(this.#orders),
      stock: () => [...this.#stock.values()].sort((one, other) => one.name.localeCompare(other.name)),
      prices: () => newest(this.#prices),
      visitors: () => newest(this.#visitors),
      payments: () => this.#payments,
      notices: () => this.#notices,
      counts: () => ({ byStatus: Object.fromEntries([...this.#counts].filter(([, count]) => count > 0)), isMore: this.#isMore }),
      sales: () => this.#sales,
      known: () => new Set(this.#known),
      denied: () => new Set(this.#denied),
      isBusy: () => this.#isBusy(),
    };
    this.#dirty.add('isBusy');
    const next: ShopState = { ...this.#state };
    for (const part of this.#dirty) Object.assign(next, { [part]: make[part]() });
    this.#dirty.clear();
    this.#state = next;
    for (const tell of [...this.#tells]) tell();
  }

  /** Judges by what came since the last step. */
  #isBusy(): boolean {
    const now = performance.now();
    const perSecond = (this.#taken / Math.max(STEP_MS, now - this.#steppedAt)) * 1000;
    this.#taken = 0;
    this.#steppedAt = now;
    return perSecond > BUSY;
  }

  subscribe = (tell: () => void): (() => void) => {
    this.#tells.add(tell);
    return () => this.#tells.delete(tell);
  };

  get = (): ShopState => this.#state;
}

/** Puts it last; the one that changed longest ago gives way. */
function put<T>(map: Map<string, T>, id: string, item: T, most: number): void {
  map.delete(id);
  map.set(id, item);
  if (map.size > most) map.delete(map.keys().next().value!);
}

/** The server takes no other addresses; a page that puts one into a link looks for itself. */
function safeUrl(url: string | undefined): string | undefined {
  if (!url) return undefined;
  try {
    const { protocol } = new URL(url, location.href);
    return protocol === 'http:' || protocol === 'https:' ? url : undefined;
  } catch {
    return undefined;
  }
}

export const ShopContext = createContext<Shop>(new Shop());

/** A part of the shop's state. Renders when that part changed. */
export function useShop<Part extends keyof ShopState>(part: Part): ShopState[Part] {
  const shop = useContext(ShopContext);
  const get = () => shop.get()[part];
  return useSyncExternalStore(shop.subscribe, get, get);
}
