// The shop's orders and stock, in the memory of this process. A shop of yours has a database here.

import { randomUUID } from 'node:crypto';

export interface Order {
  orderId: string;
  customerId: string;
  customerName: string;
  total: number;
  status: string;
}

interface Product {
  productName: string;
  sku: string;
  price: number;
  stock: number;
}

interface Shop {
  /** Newest first. */
  orders: Order[];
  products: Map<string, Product>;
}

// Next.js loads this module once for each route: the data is the process's.
const shared = globalThis as typeof globalThis & { shop?: Shop };

const shop = (shared.shop ??= {
  orders: [],
  products: new Map([
    ['p-1', { productName: 'Lamp', sku: 'L-1', price: 12.5, stock: 11 }],
    ['p-2', { productName: 'Chair', sku: 'C-2', price: 49, stock: 4 }],
  ]),
});

export const orders = (): readonly Order[] => shop.orders;

/** What an order is made of. */
export interface Cart {
  customerId: string;
  customerName: string;
  productId: string;
  quantity: number;
}

/** What is wrong with a cart, in a sentence. */
export class WrongCart extends Error {}

/** Takes an order and its product from the stock. */
export function takeOrder({ customerId, customerName, productId, quantity }: Cart) {
  const product = shop.products.get(productId);
  if (!product) throw new WrongCart(`there is no product ${productId}; there are ${[...shop.products.keys()].join(', ')}`);
  if (!Number.isInteger(quantity) || quantity < 1 || quantity > product.stock) {
    throw new WrongCart(`quantity is ${quantity}; it must be a whole number from 1 to ${product.stock}`);
  }
  const { productName, sku, price, stock: oldStock } = product;
  product.stock -= quantity;
  const order: Order = { orderId: randomUUID(), customerId, customerName, total: price * quantity, status: 'pending' };
  shop.orders.unshift(order);
  return { order, change: { productId, productName, sku, oldStock, newStock: product.stock, reason: 'sale' as const } };
}

/** Gives an order another status; undefined if there is none. */
export function setStatus(orderId: string, status: string) {
  const order = shop.orders.find((each) => each.orderId === orderId);
  if (!order) return undefined;
  const oldStatus = order.status;
  order.status = status;
  return { order, oldStatus };
}
