// A checkout over plain HTTP: takes orders, keeps the stock, and tells the shop's pages of both.

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

import { EmitError, emitInventoryEvent, emitOrderEvent } from 'shopwire/emit';

const stock = new Map([['p-1', { productName: 'Lamp', sku: 'L-1', price: 12.5, count: 11 }]]);
const LOW = 10;

class Wrong extends Error {}

async function order({ customerId, customerName, productId, quantity }) {
  const product = stock.get(productId);
  if (!product) throw new Wrong(`there is no product ${productId}; there are ${[...stock.keys()]}`);
  if (!Number.isInteger(quantity) || quantity < 1 || quantity > product.count) {
    throw new Wrong(`quantity is ${quantity}; it must be a whole number from 1 to ${product.count}`);
  }
  const orderId = randomUUID();
  const total = product.price * quantity;
  const oldStock = product.count;
  product.count -= quantity;
  const { productName, sku } = product;
  // The key: this change, however often it is told.
  await emitOrderEvent(
    'order:created',
    { orderId, customerId, customerName, total, status: 'pending', channel: 'web' },
    { key: `${orderId}:created` },
  );
  await emitInventoryEvent(
    'inventory:updated',
    { productId, productName, sku, oldStock, newStock: product.count, reason: 'sale' },
    { threshold: LOW, key: `${orderId}:stock` },
  );
  return { orderId, total };
}

const server = createServer(async (request, response) => {
  const answer = (status, body) => response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
  if (request.method !== 'POST' || request.url !== '/orders') return answer(404, { error: 'there is only POST /orders' });
  try {
    let text = '';
    for await (const part of request.setEncoding('utf8')) text += part;
    answer(201, await order(JSON.parse(text)));
  } catch (error) {
    if (error instanceof Wrong || error instanceof SyntaxError) return answer(400, { error: error.message });
    // The server's own sentence, with the field at fault; or that it could not be reached. A shop would keep the order and tell it later.
    if (error instanceof EmitError) return answer(error.code === 'timeout' ? 503 : 400, { error: error.message, field: error.field });
    console.error(error);
    answer(500, { error: 'the order could not be taken' });
  }
});

server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1');
await once(server, 'listening');
console.log(`orders are taken at http://127.0.0.1:${server.address().port}/orders`);
