// What a client asks for: the wants of all parts of a page, their past, and what is forbidden.

import { describe, expect, test, vi } from 'vitest';

import type { EventType } from '../src/generated/events.js';
import type { Problem } from '../src/types.js';
import { connected, driveClock, FakeSocket, ids, newClient, nextAttempt, reopened, settle } from './fake-socket.js';

driveClock();

describe('subscriptions', () => {
  test('of several parts of a page are one, and end with the last of them', async () => {
    const { client, socket } = await connected({ namespaces: [] });
    const first = client.subscribe({ namespaces: ['orders'] });
    const second = client.subscribe({ namespaces: ['orders', 'products'] });
    await settle();
    expect(socket.said('subscribe')).toEqual([{ namespaces: ['orders', 'products'] }]);
    socket.subscribed(['orders', 'products'], 'p-1');
    first();
    await settle();
    expect(socket.said('unsubscribe')).toEqual([]);
    second();
    client.subscribe({ namespaces: ['products'] });
    await settle();
    expect(socket.said('unsubscribe')).toEqual([{ namespaces: ['orders'] }]);
  });

  test('that come and go within one task say nothing', async () => {
    const { client, socket } = await connected();
    const before = socket.sent.length;
    client.subscribe({ namespaces: ['products'] })();
    await settle();
    expect(socket.sent).toHaveLength(before);
  });

  test('are narrowed to types only where everybody narrows', async () => {
    const { client, socket } = await connected({ namespaces: ['products'], events: ['product:deleted'] });
    expect(socket.said('subscribe')).toEqual([{ namespaces: ['products'], events: ['product:deleted'] }]);
    const undo = client.subscribe({ namespaces: ['products', 'orders'], events: ['order:created', 'product:created'] });
    await settle();
    expect(socket.said('subscribe')[1]).toEqual({
      namespaces: ['orders', 'products'],
      events: ['order:created', 'product:created', 'product:deleted'],
    });
    socket.subscribed(['orders', 'products'], 'p-1');
    client.subscribe({ namespaces: ['products'] });
    undo();
    await settle();
    expect(socket.said('subscribe')[2]).toEqual({ namespaces: ['products'] });
  });

  test('that join name all, so that the answer says where the client stands', async () => {
    const { client, socket } = await connected();
    client.subscribe({ namespaces: ['products'] });
    await settle();
    expect(socket.said('subscribe')[1]).toEqual({ namespaces: ['orders', 'products'] });
    socket.subscribed(['orders', 'products'], 'p-30');
    socket.end();
    await nextAttempt();
    expect(reopened().said('subscribe')[0]).toEqual({ namespaces: ['orders', 'products'], since: 'p-30' });
  });

  test('begin with their past once, which does not move the place to go on from', async () => {
    const { client, socket } = await connected({ namespaces: ['orders'], last: 3 }, 'p-10');
    expect(socket.said('subscribe')).toEqual([{ namespaces: ['orders'], last: 3 }]);
    const seen: string[] = [];
    client.on('*', (_, event) => seen.push(event.id));
    socket.event('e-8');
    socket.event('e-9');
    socket.end();
    await nextAttempt();
    const next = reopened();
    expect(next.said('subscribe')).toEqual([{ namespaces: ['orders'], since: 'p-10' }]);
    next.subscribed(['orders'], 'p-12', { recovered: true });
    next.event('e-11');
    expect(seen).toEqual(['e-8', 'e-9', 'e-11']);
  });

  test('that begin with their past beside others are asked for behind these', async () => {
    const { client, socket } = await connected();
    client.subscribe({ namespaces: ['payments'], last: 5 });
    await settle();
    expect(socket.said('subscribe').slice(1)).toEqual([{ namespaces: ['orders'] }, { namespaces: ['payments'], last: 5 }]);
    socket.subscribed(['orders'], 'p-20');
    socket.subscribed(['orders', 'payments'], 'p-21');
    socket.event('e-3', 'payment:received');
    socket.end();
    await nextAttempt();
    const second = reopened();
    expect(second.said('subscribe')).toEqual([{ namespaces: ['orders', 'payments'], since: 'p-20' }]);
    second.subscribed(['orders', 'payments'], 'p-22', { recovered: true });
    second.event('e-22', 'payment:received');
    second.end();
    await nextAttempt();
    expect(reopened().said('subscribe')).toEqual([{ namespaces: ['orders', 'payments'], since: 'e-22' }]);
  });

  test('that begin with their past are not led back: not the place to go on from, nor what they show', async () => {
    const { client, socket } = await connected();
    client.subscribe({ namespaces: ['payments'], last: 2 });
    await settle();
    socket.subscribed(['orders'], 'p-20');
    socket.subscribed(['orders', 'payments'], 'p-30');
    socket.event('e-28', 'payment:received');
    socket.end();
    await nextAttempt();
    const next = reopened();
    expect(next.said('subscribe')).toEqual([{ namespaces: ['orders', 'payments'], since: 'e-28' }]);
    next.subscribed(['orders', 'payments'], 'p-31', { recovered: true });
    for (const id of ['e-27', 'e-28', 'e-29']) next.event(id, 'payment:received');
    expect(ids(client.recent('*'))).toEqual(['e-28', 'e-29']);
  });

  test('asked for while the line was lost wait for what was missed', async () => {
    const { client, socket } = await connected();
    socket.end();
    client.subscribe({ namespaces: ['payments'], last: 5 });
    await nextAttempt();
    const next = reopened();
    expect(next.said('subscribe')).toEqual([{ namespaces: ['orders'], since: 'p-0' }]);
    next.subscribed(['orders'], 'p-9', { recovered: true });
    expect(next.said('subscribe').slice(1)).toEqual([{ namespaces: ['orders'] }, { namespaces: ['payments'], last: 5 }]);
  });

  test('one that is forbidden does not take the others with it, nor what they missed', async () => {
    const { client, socket } = await connected({ namespaces: ['orders', 'products'] });
    const problems: Problem[] = [];
    client.on('error', (problem) => problems.push(problem));
    const handler = vi.fn();
    client.on('*', handler);
    socket.end();
    client.subscribe({ namespaces: ['system'] });
    await nextAttempt();
    const next = reopened();
    expect(next.said('subscribe')).toEqual([{ namespaces: ['orders', 'products', 'system'], since: 'p-0' }]);
    const forbidden = { type: 'error', data: { code: 'forbidden', message: 'the role customer may not see system', request: 'subscribe' } };
    next.say(forbidden);
    expect(next.said('subscribe').slice(1)).toEqual([{ namespaces: ['orders'] }, { namespaces: ['products'] }, { namespaces: ['system'] }]);
    next.subscribed(['orders'], 'p-5');
    next.event('e-6');
    next.subscribed(['orders', 'products'], 'p-6');
    next.say(forbidden);
    expect(next.said('subscribe')[4]).toEqual({ namespaces: ['orders', 'products'], since: 'p-0' });
    expect(handler).not.toHaveBeenCalled();
    next.subscribed(['orders', 'products'], 'p-6', { recovered: true });
    next.event('e-4');
    expect(handler).toHaveBeenCalledOnce();
    expect(problems).toEqual([{ ...forbidden.data, namespace: 'system' }]);
    // Known now.
    next.end();
    await nextAttempt();
    expect(reopened().said('subscribe')).toEqual([{ namespaces: ['orders', 'products'], since: 'e-4' }]);
  });

  test('several that are forbidden in several messages are each found', async () => {
    const client = newClient({ namespaces: ['orders', 'products'] });
    const problems: Problem[] = [];
    client.on('error', (problem) => problems.push(problem));
    client.subscribe({ namespaces: ['payments', 'system'], last: 2 });
    await settle();
    const socket = FakeSocket.last;
    socket.welcome();
    socket.authenticate();
    const forbidden = { type: 'error', data: { code: 'forbidden', message: 'no', request: 'subscribe' } };
    const asked = (from: number) => socket.said('subscribe').slice(from).map(({ namespaces, last }) => [`${namespaces}`, last]);
    expect(asked(0)).toEqual([['orders,products', undefined], ['payments', 2], ['system', 2]]);
    socket.say(forbidden);
    expect(asked(3)).toEqual([['orders', undefined], ['products', undefined]]);
    expect(client.isConnected).toBe(false);
    socket.subscribed(['payments'], 'p-1');
    // Which one was meant is known where there was but one.
    socket.say(forbidden);
    socket.say(forbidden);
    socket.subscribed(['payments', 'products'], 'p-1');
    expect(asked(5)).toEqual([['payments,products', undefined]]);
    expect(problems.map(({ namespace }) => namespace)).toEqual(['system', 'orders']);
  });

  test('that were forbidden are asked for again with another role', async () => {
    const { client, socket } = await connected({ namespaces: ['orders'] });
    vi.spyOn(console, 'warn').mockImplementation(() => {});
    client.subscribe({ namespaces: ['system'] });
    await settle();
    const forbidden = { type: 'error', data: { code: 'forbidden', message: 'no', request: 'subscribe' } };
    socket.say(forbidden);
    socket.subscribed(['orders'], 'p-1');
    socket.say(forbidden);
    socket.subscribed(['orders'], 'p-1');
    const before = socket.said('subscribe').length;
    socket.authenticate('u-1', 'manager');
    expect(socket.said('subscribe').slice(before)).toEqual([{ namespaces: ['orders', 'system'] }]);
  });

  test('one that is wrong takes nothing from others who want the same namespace', async () => {
    const { client, socket } = await connected({ namespaces: ['products'] });
    const problems: Problem[] = [];
    client.on('error', (problem) => problems.push(problem));
    const sales = { namespaces: ['orders'], events: ['order:created'] } as const;
    const lost = { namespaces: ['orders'], events: ['order:lost' as EventType] } as const;
    for (const want of [sales, sales, lost, lost]) client.subscribe(want);
    await settle();
    expect(socket.said('subscribe')[1]).toEqual({ namespaces: ['orders', 'products'], events: ['order:created', 'order:lost'] });
    const invalid = { type: 'error', data: { code: 'invalid_message', message: 'no such type', request: 'subscribe' } };
    socket.say(invalid);
    // What several want in the same way is asked for once.
    expect(socket.said('subscribe').slice(2)).toEqual([{ namespaces: ['products'] }, sales, lost]);
    socket.subscribed(['products'], 'p-1');
    socket.subscribed(['orders', 'products'], 'p-1');
    socket.say(invalid);
    expect(socket.said('subscribe').slice(5)).toEqual([{ namespaces: ['orders', 'products'], events: ['order:created'] }]);
    socket.subscribed(['orders', 'products'], 'p-1');
    socket.event('e-2');
    expect(ids(client.recent('*'))).toEqual(['e-2']);
    expect(problems).toEqual([{ ...invalid.data, namespace: 'orders' }]);
    client.subscribe(lost);
    await settle();
    expect(socket.said('subscribe')).toHaveLength(6);
  });

  test('whose `last` is wrong take nothing from others either', async () => {
    const client = newClient({ namespaces: ['orders'] });
    vi.spyOn(console, 'warn').mockImplementation(() => {});
    client.subscribe({ namespaces: ['orders', 'payments'], last: 5000 });
    client.subscribe({ namespaces: ['payments'], last: 5 });
    await settle();
    const socket = FakeSocket.last;
    socket.welcome();
    socket.authenticate();
    const asked = (from: number) => socket.said('subscribe').slice(from).map(({ namespaces, last }) => [`${namespaces}`, last]);
    expect(asked(0)).toEqual([['orders', 5000], ['payments', 5000]]);
    const invalid = { type: 'error', data: { code: 'invalid_message', message: 'no', request: 'subscribe' } };
    socket.say(invalid);
    socket.say(invalid);
    expect(asked(2)).toEqual([['orders', undefined], ['orders', 5000], ['payments', 5000], ['payments', 5]]);
    socket.subscribed(['orders'], 'p-1');
    socket.say(invalid);
    socket.say(invalid);
    socket.subscribed(['orders', 'payments'], 'p-1');
    // Old ones, brought by the question whether they may be had.
    socket.event('e-1', 'payment:received');
    expect(client.recent('*')).toEqual([]);
    expect(asked(6)).toEqual([['orders', undefined], ['payments', 5]]);
  });

  test('that are refused together and allowed alone are given up, not asked for forever', async () => {
    const { client, socket } = await connected({ namespaces: ['orders'] });
    vi.spyOn(console, 'warn').mockImplementation(() => {});
    client.subscribe({ namespaces: ['products'] });
    await settle();
    const refused = { type: 'error', data: { code: 'invalid_message', message: 'no', request: 'subscribe' } };
    socket.say(refused);
    socket.subscribed(['orders'], 'p-1');
    socket.subscribed(['orders', 'products'], 'p-1');
    socket.say(refused);
    expect(socket.said('subscribe')).toHaveLength(5);
  });

  test('that name a type of no namespace of theirs are told', async () => {
    const warned = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const want = { namespaces: ['products'], events: ['product:deleted', 'order:created'] } as const;
    const client = newClient({ namespaces: [...want.namespaces], events: [...want.events] });
    // Nobody can listen yet.
    expect(warned).toHaveBeenCalledWith('shopwire: invalid_message: not all in products: product:deleted,order:created');
    const problems: Problem[] = [];
    client.on('error', (problem) => problems.push(problem));
    client.subscribe(want);
    expect(problems).toEqual([{ code: 'invalid_message', message: 'not all in products: product:deleted,order:created' }]);
  });

  test('over the rate are asked for again when the server says', async () => {
    const { client, socket } = await connected();
    vi.spyOn(console, 'warn').mockImplementation(() => {});
    client.subscribe({ namespaces: ['products'] });
    await settle();
    socket.event('e-1');
    socket.say({ type: 'error', data: { code: 'rate_limited', message: 'slower', request: 'subscribe', retryAfter: 600 } });
    await vi.advanceTimersByTimeAsync(599);
    expect(FakeSocket.all).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(reopened().said('subscribe')).toEqual([{ namespaces: ['orders', 'products'], since: 'e-1' }]);
  });

  test('a problem that nobody listens to is at least on the console', async () => {
    const { socket } = await connected();
    const warned = vi.spyOn(console, 'warn').mockImplementation(() => {});
    socket.say({ type: 'error', data: { code: 'rate_limited', message: 'too many messages' } });
    expect(warned).toHaveBeenCalledWith('shopwire: rate_limited: too many messages');
  });
});
