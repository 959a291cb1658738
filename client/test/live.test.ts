// The client against the real server, from outside.

import { afterEach, beforeEach, expect, test } from 'vitest';

import type { ShopwireClient } from '../src/client.js';
import type { EventType, Namespace } from '../src/generated/events.js';
import type { ConnectionState, Problem } from '../src/types.js';
import { typesOf } from '../src/wants.js';
import { order, Server, token, until } from './server.js';

let server: Server;
beforeEach(async () => {
  server = await Server.start();
});
afterEach(() => server.stop());

/** Every state from now on: the next one may follow too fast to be looked at. */
function statesOf(client: ShopwireClient): ConnectionState[] {
  const states: ConnectionState[] = [];
  client.on('status', (state) => states.push(state));
  return states;
}

test('events come typed, in order, to whom they are for', async () => {
  const admin = server.client({ namespaces: ['orders'] });
  const customer = server.client({ token: token('c-2', 'customer'), namespaces: ['orders'] });
  const seen: Record<string, string[]> = { admin: [], customer: [] };
  admin.on('order:created', ({ orderId }) => seen.admin!.push(orderId));
  customer.on('order:*', ({ orderId }) => seen.customer!.push(orderId));
  await until('both are connected', () => admin.isConnected && customer.isConnected);
  expect(admin.identity).toMatchObject({ userId: 'ann', role: 'admin' });
  const emitter = server.emitter();
  for (const id of ['o-1', 'o-2', 'o-3']) await emitter.emit('order:created', order(id, id === 'o-2' ? 'c-2' : 'c-1'));
  await until('all have come', () => seen.admin!.length === 3 && seen.customer!.length === 1);
  expect(seen).toEqual({ admin: ['o-1', 'o-2', 'o-3'], customer: ['o-2'] });
});

test('a line that is cut again and again loses nothing and repeats nothing', async () => {
  const line = await server.line();
  const client = server.client({ url: line.url, namespaces: ['orders', 'products'] });
  const seen: string[] = [];
  const gaps: unknown[] = [];
  client.on('order:created', ({ orderId }) => seen.push(orderId));
  client.on('gap', (gap) => gaps.push(gap));
  await until('it is connected', () => client.isConnected);
  const emitter = server.emitter();
  const sent: string[] = [];
  for (let cut = 0; cut < 4; cut++) {
    for (let i = 0; i < 100; i++) sent.push(`o-${sent.length}`);
    const emitting = emitter.emitMany(sent.slice(-100).map((id) => ({ type: 'order:created', data: order(id) })));
    await until('some have come', () => seen.length > cut * 100);
    line.cut();
    await emitting;
    await until('it is back', () => line.connections === cut + 2 && client.isConnected);
    await until('all have come', () => seen.length >= sent.length);
  }
  expect(seen).toEqual(sent);
  expect(gaps).toEqual([]);
});

test('a line that is silent is left, and nothing is lost by it', async () => {
  await server.kill();
  await server.run({ WS_PING_INTERVAL: '500', WS_PONG_TIMEOUT: '60000' });
  const line = await server.line();
  const client = server.client({ url: line.url, namespaces: ['orders'] });
  const seen: string[] = [];
  client.on('order:created', ({ orderId }) => seen.push(orderId));
  await until('it is connected', () => client.isConnected);
  const states = statesOf(client);
  line.hold(true);
  await server.emitter().emit('order:created', order('o-1'));
  await until('it notices', () => !client.isConnected);
  expect(states[0]!.reason).toBe('the server does not answer');
  line.hold(false);
  await until('the event has come', () => seen.length > 0);
  expect(seen).toEqual(['o-1']);
});

test('a server that was killed and has forgotten is told as a gap', async () => {
  const client = server.client({ namespaces: ['orders'] });
  const gaps: unknown[] = [];
  const seen: string[] = [];
  client.on('gap', (gap) => gaps.push(gap));
  client.on('order:created', ({ orderId }) => seen.push(orderId));
  await until('it is connected', () => client.isConnected);
  await server.kill();
  await until('it notices', () => !client.isConnected);
  await server.run();
  await until('it is back', () => client.isConnected);
  expect(gaps).toMatchObject([{ recovered: false, namespaces: ['orders'] }]);
  await server.emitter().emit('order:created', order('o-1'));
  await until('events come again', () => seen.length === 1);
});

test('a server that goes away says when to come back, and is believed', async () => {
  const client = server.client({ namespaces: ['orders'] });
  await until('it is connected', () => client.isConnected);
  const states = statesOf(client);
  await server.kill('SIGTERM');
  await until('it notices', () => states.length > 0);
  expect(states[0]).toMatchObject({ status: 'waiting', code: 1001 });
  // The server asks for whole milliseconds, chance for a fraction.
  expect(Number.isInteger(states[0]!.retryIn)).toBe(true);
  await server.run();
  await until('it is back', () => client.isConnected);
});

test('an operator who disconnects a user is not fought', async () => {
  const client = server.client({ namespaces: ['orders'] });
  await until('it is connected', () => client.isConnected);
  await server.command('ctl', 'disconnect', '--user', 'ann');
  await until('it is closed', () => client.status === 'closed');
  expect(client.state.code).toBe(4403);
});

test('a token is refreshed before it ends, and the connection stays', async () => {
  const line = await server.line();
  let asked = 0;
  const source = () => {
    asked++;
    return token('ann', 'admin', asked === 1 ? 3 : 3600);
  };
  const client = server.client({ url: line.url, token: source, namespaces: ['orders'] });
  await until('it is connected', () => client.isConnected);
  const end = client.identity!.expiresAt;
  await until('the new one holds', () => (client.identity?.expiresAt ?? 0) > end);
  await until('the first one has ended', () => Date.now() > end + 200);
  expect(client.isConnected).toBe(true);
  expect([asked, line.connections]).toEqual([2, 1]);
});

test('a fixed token that ends ends the connection, with a reason', async () => {
  const client = server.client({ token: token('ann', 'admin', 2), namespaces: ['orders'] });
  await until('it is closed', () => client.status === 'closed');
  expect(client.state).toMatchObject({ code: 4401, reason: 'the token has ended, come back with a new one' });
});

test('a token that is refused in the handshake is told, although browsers do not say why', async () => {
  const client = server.client({ token: 'no.such.token', namespaces: ['orders'] });
  const problems: Problem[] = [];
  client.on('error', (problem) => problems.push(problem));
  await until('it is closed', () => client.status === 'closed');
  expect(client.state.code).toBe(4401);
  expect(problems).toMatchObject([{ code: 'unauthorized', request: 'auth' }]);
});

test('a namespace that is forbidden does not take the others with it', async () => {
  const client = server.client({ token: token('c-1', 'customer'), namespaces: ['orders', 'inventory', 'products'] });
  const problems: Problem[] = [];
  const seen: string[] = [];
  client.on('error', (problem) => problems.push(problem));
  client.on('product:deleted', ({ productId }) => seen.push(productId));
  await until('it is connected', () => client.isConnected);
  await server.emitter().emit('product:deleted', { productId: 'p-1' });
  await until('the event has come', () => seen.length === 1);
  expect(problems).toMatchObject([{ code: 'forbidden', namespace: 'inventory' }]);
});

test('a want that is wrong takes nothing from others who want the same namespace', async () => {
  const client = server.client({ namespaces: ['orders'], events: ['order:created'] });
  const problems: Problem[] = [];
  const seen: string[] = [];
  client.on('error', (problem) => problems.push(problem));
  client.on('order:created', ({ orderId }) => seen.push(orderId));
  client.subscribe({ namespaces: ['orders'], events: ['order:lost' as EventType] });
  client.subscribe({ namespaces: ['orders'], events: ['order:created'], last: 1001 });
  await until('it is connected', () => client.isConnected);
  await server.emitter().emit('order:created', order('o-1'));
  await until('the event has come', () => seen.length === 1);
  expect(problems).toMatchObject([
    { code: 'invalid_message', namespace: 'orders' },
    { code: 'invalid_message', namespace: 'orders' },
  ]);
});

test('a page can begin with the newest events', async () => {
  const emitter = server.emitter();
  for (const id of ['o-1', 'o-2', 'o-3']) await emitter.emit('order:created', order(id));
  const client = server.client({ namespaces: ['orders'], last: 2 });
  const seen: string[] = [];
  client.on('order:created', ({ orderId }) => seen.push(orderId));
  await until('the old ones have come', () => seen.length === 2);
  await emitter.emit('order:created', order('o-4'));
  await until('the new one has come', () => seen.length === 3);
  expect(seen).toEqual(['o-2', 'o-3', 'o-4']);
});

test('each namespace begins with its own newest events, whatever happened in others since', async () => {
  const emitter = server.emitter();
  for (const id of ['o-1', 'o-2', 'o-3']) await emitter.emit('order:created', order(id));
  await emitter.emitMany(Array.from({ length: 1_500 }, (_, number) => ({ type: 'product:deleted' as const, data: { productId: `p-${number}` } })));
  const client = server.client({ namespaces: ['orders', 'products', 'payments'], last: 3 });
  const seen: string[] = [];
  client.on('*', (_, { data }) => seen.push('orderId' in data ? data.orderId : (data as { productId: string }).productId));
  await until('the old ones have come', () => seen.length === 6);
  await emitter.emit('order:created', order('o-4'));
  await until('the new one has come', () => seen.length === 7);
  expect(seen).toEqual(['o-1', 'o-2', 'o-3', 'p-1497', 'p-1498', 'p-1499', 'o-4']);
});

test('what a customer publishes reaches the staff, and what waited is sent', async () => {
  const staff = server.client({ token: token('s-1', 'staff'), namespaces: ['customers'] });
  const seen: object[] = [];
  staff.on('customer:added_to_cart', (data) => seen.push(data));
  await until('staff is connected', () => staff.isConnected);
  const customer = server.client({ token: token('c-1', 'customer') });
  customer.publish('customer:added_to_cart', { productId: 'p-1', productName: 'Lamp', quantity: 2 });
  await until('it has come', () => seen.length === 1);
  expect(seen).toMatchObject([{ customerId: 'c-1', productId: 'p-1', productName: 'Lamp', quantity: 2 }]);
});

test('every type is of the namespace that is called as it begins: the client tells them apart by that', async () => {
  const answer = await fetch(`${server.url.replace('ws:', 'http:').replace('/api/ws', '')}/api/ws/info`);
  const { features } = (await answer.json()) as { features: { eventTypes: Record<Namespace, EventType[]> } };
  const all = Object.values(features.eventTypes).flat();
  expect(all).toHaveLength(23);
  for (const [name, types] of Object.entries(features.eventTypes)) expect(typesOf(name as Namespace, all)).toEqual(types);
});

test('a public page needs no token', async () => {
  const client = server.client({ token: null, namespaces: ['products'] });
  await until('it is connected', () => client.isConnected);
  expect(client.identity).toBeUndefined();
});

test('another user: what waited is not sent as that one, what was seen is forgotten, and new state is loaded', async () => {
  const emitter = server.emitter();
  const staff = server.client({ token: token('s-1', 'staff'), namespaces: ['customers'] });
  const published: string[] = [];
  staff.on('customer:viewing_product', ({ customerId, productId }) => published.push(`${customerId} ${productId}`));
  await until('staff is connected', () => staff.isConnected);
  const client = server.client({ token: token('c-1', 'customer'), namespaces: ['orders'] });
  const problems: Problem[] = [];
  const gaps: string[] = [];
  client.on('error', (problem) => problems.push(problem));
  client.on('gap', () => gaps.push(client.identity!.userId));
  await until('it is connected', () => client.isConnected);
  await emitter.emit('order:created', { ...order('o-1'), customerId: 'c-1' });
  await until('the order has come', () => client.recent('*').length === 1);
  client.setToken(token('c-2', 'customer'));
  client.publish('customer:viewing_product', { productId: 'by-2', productName: 'Lamp' });
  await until('the other one is there', () => gaps.length === 1);
  expect([gaps, client.recent('*')]).toEqual([['c-2'], []]);
  client.publish('customer:viewing_product', { productId: 'last', productName: 'Lamp' });
  await until('both have come', () => published.length === 2);
  expect(published).toEqual(['c-2 by-2', 'c-2 last']);
  expect(problems).toEqual([]);
});

test('a role that is taken away and given back by refresh: the page is told to load what it missed', async () => {
  const emitter = server.emitter();
  const client = server.client({ token: token('ann', 'admin'), namespaces: ['orders', 'products'], last: 10 });
  client.on('error', () => {});
  const gaps: string[] = [];
  const kept = () => client.recent('order:created').map(({ data }) => data.orderId);
  client.on('gap', () => gaps.push(client.identity!.role));
  await until('it is connected', () => client.isConnected);
  await emitter.emit('order:created', order('before'));
  await until('it has come', () => kept().length === 1);
  client.setToken(token('ann', 'guest'));
  await until('the guest was told', () => gaps.length === 1);
  expect(kept()).toEqual([]);
  await emitter.emit('order:created', order('meanwhile'));
  client.setToken(token('ann', 'admin'));
  await until('the admin was told', () => gaps.length === 2);
  await emitter.emit('order:created', order('after'));
  await until('it goes on', () => kept().includes('after'));
  expect([gaps, kept()]).toEqual([['guest', 'admin'], ['before', 'meanwhile', 'after']]);
});
