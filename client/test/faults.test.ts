// What the page does wrong, and what it can still do afterwards.

import { expect, test, vi } from 'vitest';

import { eventsOf } from '../src/reader.js';
import type { Problem } from '../src/types.js';
import { connected, driveClock, newClient, settle } from './fake-socket.js';

driveClock();

test('a token function that throws is like one that rejects, and leaves no clock running', async () => {
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  const token = vi.fn((): string => {
    throw new TypeError('no session');
  });
  const client = newClient({ token });
  const problems: Problem[] = [];
  client.on('error', (problem) => problems.push(problem));
  await settle();
  expect(client.state).toMatchObject({ status: 'waiting', reason: 'there is no token: no session' });
  expect(problems.map(({ code }) => code)).toEqual(['no_token']);
  // The next attempt's, and no other.
  expect(vi.getTimerCount()).toBe(1);
  await vi.advanceTimersByTimeAsync(250);
  expect(token).toHaveBeenCalledTimes(2);
  client.close();
  expect(vi.getTimerCount()).toBe(0);
});

test('a reader of a client that is closed already ends at once', async () => {
  const { client } = await connected();
  client.close();
  const events: unknown[] = [];
  for await (const event of eventsOf(client, '*')) events.push(event);
  expect(events).toEqual([]);
});

test('a namespace that was asked for wrongly is had when it is asked for rightly', async () => {
  const { client, socket } = await connected({ namespaces: ['products'] });
  const problems: Problem[] = [];
  client.on('error', (problem) => problems.push(problem));
  const refuse = (code: string) => socket.say({ type: 'error', data: { code, message: 'no', request: 'subscribe' } });
  const asked = () => socket.said('subscribe').slice(1);
  // Beside the products, which are asked for with it, and then again without.
  const undo = client.subscribe({ namespaces: ['orders'], last: 1500 });
  await settle();
  socket.subscribed(['products'], 'p-1');
  refuse('invalid_message');
  // It is the only one who wants them, so that is asked for sure.
  refuse('invalid_message');
  await settle();
  expect(problems).toMatchObject([{ code: 'invalid_message', namespace: 'orders' }]);
  socket.subscribed(['products'], 'p-1');
  undo();
  await settle();
  const before = asked().length;
  client.subscribe({ namespaces: ['orders'] });
  await settle();
  expect(asked().slice(before)).toEqual([{ namespaces: ['orders', 'products'] }]);
  expect(problems).toHaveLength(1);
});

test('a namespace that is forbidden is not asked for again by another part of the page', async () => {
  const { client, socket } = await connected({ namespaces: ['products'] });
  client.on('error', () => {});
  const undo = client.subscribe({ namespaces: ['orders'], last: 5 });
  await settle();
  socket.subscribed(['products'], 'p-1');
  socket.say({ type: 'error', data: { code: 'forbidden', message: 'no', request: 'subscribe' } });
  await settle();
  socket.subscribed(['products'], 'p-1');
  undo();
  await settle();
  const before = socket.said('subscribe').length;
  client.subscribe({ namespaces: ['orders'] });
  await settle();
  expect(socket.said('subscribe').slice(before)).toEqual([]);
});
