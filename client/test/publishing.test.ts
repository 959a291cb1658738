// What a page publishes: when it is sent, as whom, and how fast.

import { describe, expect, test, vi } from 'vitest';

import type { ShopwireClient } from '../src/client.js';
import type { Problem } from '../src/types.js';
import { connected, driveClock, FakeSocket, newClient, nextAttempt, reopened, settle } from './fake-socket.js';

driveClock();

describe('publishing', () => {
  const product = { productId: 'p', productName: 'Lamp' };

  test('goes out at once, or when there is a connection, dated when it happened', async () => {
    const client = newClient({ token: 'h.c.s' });
    vi.setSystemTime(5_000);
    expect(client.publish('customer:activity', { action: 'viewing' })).toBe(true);
    vi.setSystemTime(9_000);
    await settle();
    const socket = FakeSocket.last;
    socket.welcome();
    socket.authenticate('c-1', 'customer');
    expect(socket.said('customer:activity')).toEqual([]);
    socket.subscribed(['orders'], 'p-0');
    expect(socket.said('customer:activity')).toEqual([{ timestamp: 5_000, action: 'viewing' }]);
    client.publish('customer:viewing_product', product);
    expect(socket.said('customer:viewing_product')).toEqual([product]);
  });

  test.each([
    ['before a connection', async () => newClient({ namespaces: ['products'], autoConnect: false })],
    [
      'while the line is lost',
      async () => {
        const { client, socket } = await connected();
        socket.end();
        return client;
      },
    ],
  ])('%s is not sent as another user, and that is told', async (_, begin) => {
    const client = await begin();
    const problems: Problem[] = [];
    client.on('error', (problem) => problems.push(problem));
    client.publish('customer:viewing_product', product);
    client.setToken('h.b.s');
    const own = { productId: 'own', productName: 'Chair' };
    client.publish('customer:viewing_product', own);
    client.connect();
    await vi.advanceTimersByTimeAsync(1);
    FakeSocket.last.welcome();
    FakeSocket.last.authenticate('u-2', 'customer');
    FakeSocket.last.subscribed(['products'], 'p-0');
    expect(FakeSocket.last.said('customer:viewing_product')).toEqual([own]);
    expect(problems).toMatchObject([{ code: 'not_sent', request: 'customer:viewing_product' }]);
  });

  test('waits while a new token is being judged, and goes out with it', async () => {
    const { client, socket } = await connected();
    client.publish('customer:viewing_product', product);
    client.setToken('h.b.s');
    const own = { productId: 'own', productName: 'Chair' };
    expect(client.publish('customer:viewing_product', own)).toBe(true);
    await settle();
    expect(socket.said('customer:viewing_product')).toEqual([product]);
    socket.authenticate();
    expect(socket.said('customer:viewing_product')).toEqual([product, own]);
  });

  test('a function that returns another user: what the first one left behind is dropped', async () => {
    let user = 'a';
    const { client, socket } = await connected({ token: () => `h.${user}.s` });
    vi.spyOn(console, 'warn').mockImplementation(() => {});
    socket.end();
    client.publish('customer:viewing_product', product);
    user = 'b';
    const next = await nextAttempt();
    next.welcome();
    next.authenticate('u-2', 'customer');
    next.subscribed(['orders'], 'p-0');
    expect(next.said('customer:viewing_product')).toEqual([]);
    client.publish('customer:viewing_product', product);
    expect(next.said('customer:viewing_product')).toEqual([product]);
  });

  test('is false when the client is closed', async () => {
    const { client } = await connected();
    client.close();
    expect(client.publish('customer:viewing_product', product)).toBe(false);
  });

  test('a long queue goes out below the rate: 50 at once, then one a second, in order', async () => {
    const client = newClient({ queueLimit: 1_000, autoConnect: false });
    const name = (index: number) => ({ productId: `p-${index}`, productName: 'Lamp' });
    for (let i = 0; i < 60; i++) client.publish('customer:viewing_product', name(i));
    client.connect();
    await settle();
    const socket = reopened();
    socket.subscribed(['orders'], 'p-0');
    const sent = () => socket.said('customer:viewing_product').map(({ productId }) => productId);
    expect(sent()).toHaveLength(50);
    client.publish('customer:viewing_product', name(60));
    await vi.advanceTimersByTimeAsync(5_000);
    expect(sent()).toHaveLength(55);
    await vi.advanceTimersByTimeAsync(6_000);
    expect(sent()).toEqual(Array.from({ length: 61 }, (_, index) => `p-${index}`));
  });

  test('a burst on a connection is paced like a queue, and nothing of it is refused', async () => {
    const { client, socket } = await connected();
    const problems: Problem[] = [];
    client.on('error', (problem) => problems.push(problem));
    const sent = () => socket.said('customer:viewing_product').length;
    for (let i = 0; i < 60; i++) expect(client.publish('customer:viewing_product', product)).toBe(true);
    expect(sent()).toBe(50);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(sent()).toBe(60);
    // A minute later there may be a burst again.
    for (let i = 0; i < 60; i++) {
      await vi.advanceTimersByTimeAsync(1_000);
      socket.say({ type: 'pong', timestamp: 0 });
    }
    for (let i = 0; i < 50; i++) client.publish('customer:viewing_product', product);
    expect(sent()).toBe(110);
    expect(problems).toEqual([]);
  });

  test.each([
    ['by the page', (client: ShopwireClient) => client.close()],
    [
      'by the page while the line is lost',
      (client: ShopwireClient, socket: FakeSocket) => {
        socket.end();
        client.publish('customer:viewing_product', product);
        client.close();
      },
    ],
    ['by the server', (_: ShopwireClient, socket: FakeSocket) => socket.end(4403, 'disconnected by the operator')],
  ])('a client that is closed %s leaves no timer behind; what waits goes out when it is back', async (_, close) => {
    const { client, socket } = await connected();
    for (let i = 0; i < 52; i++) client.publish('customer:viewing_product', product);
    close(client, socket);
    expect(client.status).toBe('closed');
    expect(vi.getTimerCount()).toBe(0);
    client.connect();
    await settle();
    const next = reopened();
    next.subscribed(['orders'], 'p-1', { recovered: true });
    expect(next.said('customer:viewing_product')).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(next.said('customer:viewing_product')).toHaveLength(2);
  });

  test('a client that is closed while a handler publishes leaves none either', async () => {
    const { client, socket } = await connected({ token: null });
    for (let i = 0; i < 52; i++) client.publish('customer:viewing_product', product);
    const handler = vi.fn(() => client.publish('customer:viewing_product', product));
    client.on('error', handler);
    socket.end(4401, 'a token is needed');
    expect(handler).toHaveReturnedWith(true);
    expect(client.status).toBe('closed');
    expect(vi.getTimerCount()).toBe(0);
  });

  test('is told when too many wait', async () => {
    const client = newClient({ queueLimit: 2 });
    const problems: Problem[] = [];
    client.on('error', (problem) => problems.push(problem));
    const taken = [1, 2, 3].map(() => client.publish('customer:viewing_product', product));
    expect(taken).toEqual([true, true, false]);
    expect(problems).toMatchObject([{ code: 'queue_full', request: 'customer:viewing_product' }]);
  });
});
