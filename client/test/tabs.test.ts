// Tabs that share a connection to the real server, over Node's own channels. The locks are a browser's on paper.

import { afterEach, beforeEach, expect, test } from 'vitest';
import WebSocket from 'ws';

import type { ShopwireClient } from '../src/client.js';
import type { EventType, Role } from '../src/generated/events.js';
import { shareTabs } from '../src/tabs/index.js';
import type { Problem, ShopwireOptions } from '../src/types.js';
import { Browser, type Tab } from './browser.js';
import { order, Server, token, until, type Line } from './server.js';

let server: Server;
let line: Line;
let browser: Browser;
beforeEach(async () => {
  server = await Server.start();
  line = await server.line();
  browser = new Browser();
});
afterEach(() => server.stop());

interface Page {
  tab: Tab;
  client: ShopwireClient;
  /** The orders and products that it has seen. */
  seen: string[];
  problems: Problem[];
}

/** A tab with the same user in it, unless the options say otherwise. */
function open(options: ShopwireOptions = {}): Page {
  const tab = browser.tab();
  const { locks, BroadcastChannel } = tab;
  const shared = shareTabs({ locks, BroadcastChannel, WebSocket: tab.socket(WebSocket) });
  const client = server.client({ url: line.url, namespaces: ['orders'], WebSocket: shared, ...options });
  const page: Page = { tab, client, seen: [], problems: [] };
  client.on('order:created', ({ orderId }) => page.seen.push(orderId));
  client.on('product:deleted', ({ productId }) => page.seen.push(productId));
  client.on('error', (problem) => page.problems.push(problem));
  return page;
}

async function opened(options: ShopwireOptions = {}): Promise<Page> {
  const page = open(options);
  await until('the tab is connected', () => page.client.isConnected);
  return page;
}

const user = (name: string, role: Role, seconds?: number) => ({ token: token(name, role, seconds) });

/** Emits orders one after the other until it is stopped; returns all that were acknowledged. */
function stream() {
  const emitter = server.emitter();
  const sent: string[] = [];
  let goesOn = true;
  const end = (async () => {
    while (goesOn) {
      await emitter.emit('order:created', order(`o-${sent.length}`));
      sent.push(`o-${sent.length}`);
    }
  })();
  const stop = async () => {
    goesOn = false;
    await end;
    return sent;
  };
  return { sent, stop };
}

test('tabs of one user have one connection, and each gets what it asked for, in order, once', async () => {
  const orders = await opened();
  const both = await opened({ namespaces: ['products', 'orders'] });
  const products = await opened({ namespaces: ['products'] });
  const emitter = server.emitter();
  for (const id of ['1', '2', '3']) {
    await emitter.emit('order:created', order(`o-${id}`));
    await emitter.emit('product:deleted', { productId: `p-${id}` });
  }
  await until('all have come', () => both.seen.length === 6 && products.seen.length === 3 && orders.seen.length === 3);
  expect(orders.seen).toEqual(['o-1', 'o-2', 'o-3']);
  expect(both.seen).toEqual(['o-1', 'p-1', 'o-2', 'p-2', 'o-3', 'p-3']);
  expect(products.seen).toEqual(['p-1', 'p-2', 'p-3']);
  expect(line.connections).toBe(1);
});

test('tabs that start together, one of them with a wrong want: the others get what they asked for', async () => {
  const created = { events: ['order:created' as const] };
  for (let round = 0; round < 5; round++) {
    const good = [open(created), open({ ...created, last: 1 })];
    const wrong = [open({ events: ['order:lost' as EventType] }), open({ events: ['order:lost' as EventType], last: 1 })];
    const other = open({ events: ['order:deleted'] });
    await until('all are connected', () => [...good, other, ...wrong].every(({ client }) => client.isConnected));
    await until('the wrong ones are told', () => wrong.every(({ problems }) => problems.length > 0));
    const id = `o-${round}`;
    await server.emitter().emit('order:created', order(id));
    await until('it has come', () => good.every(({ seen }) => seen.at(-1) === id));
    expect([...good, other].flatMap(({ problems }) => problems)).toEqual([]);
    expect([...wrong, other].flatMap(({ seen }) => seen)).toEqual([]);
    for (const { client } of [...good, ...wrong, other]) client.close();
  }
});

test('a tab that begins with the past gets it, and the others nothing twice', async () => {
  const first = await opened();
  const emitter = server.emitter();
  for (const id of ['o-1', 'o-2', 'o-3']) await emitter.emit('order:created', order(id));
  await until('they have come', () => first.seen.length === 3);
  const second = await opened({ last: 2 });
  const third = await opened({ last: 1 });
  await emitter.emit('order:created', order('o-4'));
  await until('all have come', () => [first, second, third].every(({ seen }) => seen.at(-1) === 'o-4'));
  expect(first.seen).toEqual(['o-1', 'o-2', 'o-3', 'o-4']);
  expect(second.seen).toEqual(['o-2', 'o-3', 'o-4']);
  expect(third.seen).toEqual(['o-3', 'o-4']);
  expect(line.connections).toBe(1);
});

test.each(['closes', 'crashes'])('when the leading tab %s another takes over, and nothing is missed or repeated', async (how) => {
  let pages = [await opened(), await opened(), await opened()];
  const events = stream();
  for (let turn = 0; turn < 2; turn++) {
    const { length } = events.sent;
    await until('events come', () => events.sent.length > length + 20);
    const leading = pages.find(({ tab }) => browser.leaders.includes(tab))!;
    if (how === 'crashes') leading.tab.crash();
    leading.client.close();
    pages = pages.filter((page) => page !== leading);
    await until('the others are back', () => line.connections === turn + 2 && pages.every(({ client }) => client.isConnected));
    pages.push(await opened());
  }
  const sent = await events.stop();
  for (const { seen } of pages) {
    await until('all have come', () => seen.at(-1) === sent.at(-1));
    expect(seen).toEqual(sent.slice(sent.indexOf(seen[0]!)));
  }
  expect(pages[0]!.seen.length).toBeGreaterThan(20);
});

test('a line that is cut loses no tab anything', async () => {
  const pages = [await opened(), await opened(), await opened()];
  const events = stream();
  for (let cut = 0; cut < 3; cut++) {
    const { length } = events.sent;
    await until('events come', () => events.sent.length > length + 20);
    line.cut();
    await until('they are back', () => line.connections === cut + 2 && pages.every(({ client }) => client.isConnected));
  }
  const sent = await events.stop();
  for (const { seen } of pages) {
    await until('all have come', () => seen.length >= sent.length);
    expect(seen).toEqual(sent);
  }
});

test('a tab of another user, or of the same user in another role, sees nothing of it', async () => {
  const staff = await opened(user('ann', 'staff'));
  const customer = await opened(user('c-2', 'customer'));
  const sameName = await opened({ ...user('ann', 'customer') });
  const nobody = await opened({ token: null, namespaces: ['products'] });
  const emitter = server.emitter();
  for (const owner of ['c-1', 'c-2', 'ann']) await emitter.emit('order:created', order(`of-${owner}`, owner));
  await emitter.emit('product:deleted', { productId: 'p-1' });
  const counts = () => [staff, customer, sameName, nobody].map(({ seen }) => seen.length);
  await until('all have come', () => counts().join() === '3,1,1,1');
  expect(customer.seen).toEqual(['of-c-2']);
  expect(sameName.seen).toEqual(['of-ann']);
  expect(line.connections).toBe(4);
});

test('a tab whose token the server refuses is not let in on that of another', async () => {
  const good = await opened();
  const [head, claims] = token('ann', 'admin').split('.');
  const forged = open({ token: `${head}.${claims}.${'A'.repeat(43)}` });
  const ended = open(user('ann', 'admin', -10));
  await until('both are turned away', () => forged.client.status === 'closed' && ended.client.status === 'closed');
  expect(forged.client.state.code).toBe(4401);
  expect(forged.problems).toMatchObject([{ code: 'unauthorized', request: 'auth' }]);
  expect(ended.problems).toMatchObject([{ code: 'token_expired', request: 'auth' }]);
  await server.emitter().emit('order:created', order('o-1'));
  await until('it has come', () => good.seen.length === 1);
  expect([forged.seen, ended.seen, line.connections]).toEqual([[], [], 1]);
});

test('the first tab of all with a token that is refused does not keep the others out', async () => {
  const [head, claims] = token('ann', 'admin').split('.');
  const forged = open({ token: `${head}.${claims}.${'A'.repeat(43)}` });
  const good = await opened();
  await until('it is turned away', () => forged.client.status === 'closed');
  await server.emitter().emit('order:created', order('o-1'));
  await until('it has come', () => good.seen.length === 1);
  expect(forged.seen).toEqual([]);
});

test('a token that is refreshed by one tab holds for all', async () => {
  const end = Date.now() + 3_000;
  const fixed = await opened(user('ann', 'admin', 3));
  const refreshing = await opened({ token: () => token('ann', 'admin', 60) });
  await until('the first token has ended', () => Date.now() > end + 500);
  expect([fixed.client.isConnected, refreshing.client.isConnected, line.connections]).toEqual([true, true, 1]);
});

test('a tab that changes its user leaves the others', async () => {
  const first = await opened(user('c-1', 'customer'));
  const second = await opened(user('c-1', 'customer'));
  second.client.setToken(token('c-2', 'customer'));
  await until('it is another user', () => second.client.identity?.userId === 'c-2' && second.client.isConnected);
  const emitter = server.emitter();
  for (const owner of ['c-1', 'c-2']) await emitter.emit('order:created', order(`of-${owner}`, owner));
  await until('both have come', () => first.seen.length === 1 && second.seen.length === 1);
  expect([first.seen, second.seen, line.connections]).toEqual([['of-c-1'], ['of-c-2'], 2]);
});

test('what any tab of a customer publishes reaches the staff, also what waited', async () => {
  const staff = server.client({ token: token('s-1', 'staff'), namespaces: ['customers'] });
  const seen: string[] = [];
  staff.on('customer:added_to_cart', ({ productId }) => seen.push(productId));
  await until('staff is connected', () => staff.isConnected);
  await opened(user('c-1', 'customer'));
  const second = open(user('c-1', 'customer'));
  second.client.publish('customer:added_to_cart', { productId: 'p-1', productName: 'Lamp', quantity: 2 });
  await until('it is connected', () => second.client.isConnected);
  second.client.publish('customer:added_to_cart', { productId: 'p-2', productName: 'Lamp', quantity: 2 });
  await until('both have come', () => seen.length === 2);
  expect(seen).toEqual(['p-1', 'p-2']);
  // @ts-expect-error: the server says what is wrong with it, to the tab that said it.
  second.client.publish('customer:added_to_cart', { productId: 'p-3', productName: 'Lamp', quantity: 'two' });
  await until('it is told', () => second.problems.length > 0);
  expect(second.problems).toMatchObject([{ code: 'invalid_message', field: 'data.quantity' }]);
});

test('every tab is told of a gap, of the number online, and of what is forbidden', async () => {
  const customer = await opened({ ...user('c-9', 'customer') });
  const pages = [await opened({ ...user('s-1', 'staff'), namespaces: ['orders', 'customers'] }), await opened({ ...user('s-1', 'staff'), namespaces: ['customers', 'payments'] })];
  const gaps: number[] = [];
  pages.forEach(({ client }, index) => client.on('gap', () => gaps.push(index)));
  await until('they know who is online', () => pages.every(({ client }) => client.online === 1));
  expect(pages[1]!.problems).toMatchObject([{ code: 'forbidden', namespace: 'payments' }]);
  await server.kill();
  await server.run();
  await until('both are told', () => gaps.length === 2);
  expect(gaps.sort()).toEqual([0, 1]);
  await until('all are back', () => [customer, ...pages].every(({ client }) => client.isConnected));
});

test('without locks, or with a token that does not say whose it is, a tab has a connection of its own', async () => {
  const own = shareTabs({ WebSocket, BroadcastChannel: browser.Channel });
  const pages = [await opened({ WebSocket: own }), await opened({ WebSocket: own })];
  expect(line.connections).toBe(2);
  const opaque = open({ token: 'o.paq.ue' });
  await until('it is turned away', () => opaque.client.status === 'closed');
  expect(opaque.problems).toMatchObject([{ code: 'unauthorized', request: 'auth' }]);
  await server.emitter().emit('order:created', order('o-1'));
  await until('it has come', () => pages.every(({ seen }) => seen.length === 1));
});

test('a leading tab that is frozen is replaced, and when it thaws it is one among the others', async () => {
  await server.kill();
  await server.run({ WS_PING_INTERVAL: '500', WS_PONG_TIMEOUT: '60000' });
  const leader = await opened();
  const other = await opened();
  leader.tab.freeze(true);
  const emitter = server.emitter();
  await emitter.emit('order:created', order('o-1'));
  await until('the other one has got it', () => other.seen.length === 1);
  expect(leader.seen).toEqual([]);
  leader.tab.freeze(false);
  await until('it has come, late', () => leader.seen.length === 1);
  await until('both are connected, by one line', () => line.open === 1 && leader.client.isConnected && other.client.isConnected);
  await emitter.emit('order:created', order('o-2'));
  await until('both have got the next one', () => leader.seen.length + other.seen.length === 4);
  expect([leader.seen, other.seen]).toEqual([['o-1', 'o-2'], ['o-1', 'o-2']]);
  expect(browser.leaders).toHaveLength(1);
});
