// What the page does wrong, and what it can still do afterwards.

import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { eventsOf } from '../src/reader.js';
import type { Problem } from '../src/types.js';
import { connected, FakeSocket, newClient, settle } from './fake-socket.js';

beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.all = [];
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

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
