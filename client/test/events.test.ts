// How events reach who listens, and which ones are kept.

import { describe, expect, test, vi } from 'vitest';

import { perFrame } from '../src/frames.js';
import { eventsOf } from '../src/reader.js';
import { connected, driveClock, FakeSocket, ids, reopened, settle } from './fake-socket.js';

driveClock();

describe('events', () => {
  test('reach the listeners of their type, of their kind and of everything, each once', async () => {
    const { client, socket } = await connected();
    const calls: string[] = [];
    client.on('order:created', (data, event) => calls.push(`type ${data.orderId} ${event.id}`));
    client.on('order:*', (data) => calls.push(`kind ${data.orderId}`));
    client.on('*', (_, event) => calls.push(`all ${event.type}`));
    client.on('order:deleted', () => calls.push('another type'));
    socket.event('e-1', 'order:created', { orderId: 'o-1' });
    expect(calls).toEqual(['type o-1 e-1', 'kind o-1', 'all order:created']);
  });

  test('no longer come after undo, after one for once, after an abort', async () => {
    const { client, socket } = await connected();
    const handler = vi.fn();
    const undo = client.on('order:created', handler);
    client.once('order:created', handler);
    const ends = new AbortController();
    client.on('order:created', handler, { signal: ends.signal });
    socket.event('e-1');
    expect(handler).toHaveBeenCalledTimes(3);
    undo();
    ends.abort();
    client.on('order:created', handler, { signal: ends.signal });
    socket.event('e-2');
    expect(handler).toHaveBeenCalledTimes(3);
  });

  test('one handler that throws harms no other', async () => {
    const { client, socket } = await connected();
    const reported = vi.spyOn(console, 'error').mockImplementation(() => {});
    const handler = vi.fn();
    client.on('order:created', () => {
      throw new Error('a mistake');
    });
    client.on('order:created', handler);
    socket.event('e-1');
    expect(handler).toHaveBeenCalledOnce();
    expect(reported).toHaveBeenCalledWith(new Error('a mistake'));
  });

  test('can be read one after the other, until an abort', async () => {
    const { client, socket } = await connected();
    const ends = new AbortController();
    const events = eventsOf(client, 'order:*', { signal: ends.signal });
    socket.event('e-1');
    socket.event('e-2', 'product:deleted');
    socket.event('e-3', 'order:deleted');
    expect((await events.next()).value?.id).toBe('e-1');
    expect((await events.next()).value?.id).toBe('e-3');
    const rest = events.next();
    ends.abort();
    expect((await rest).done).toBe(true);
  });

  test('end with the client that is closed, after what has come', async () => {
    const { client, socket } = await connected();
    const seen: string[] = [];
    const reading = (async () => {
      for await (const { id } of eventsOf(client, '*')) seen.push(id);
    })();
    await settle();
    socket.event('e-1');
    client.close();
    await reading;
    expect(seen).toEqual(['e-1']);
  });

  test('a reader that is too slow is told', async () => {
    const { client, socket } = await connected();
    const events = eventsOf(client, '*');
    for (let i = 0; i <= 1000; i++) socket.event(`e-${i}`);
    await expect(events.next()).rejects.toThrow('too slow');
  });

  test('wait for the frame in a batch, and for no frame in a hidden page', async () => {
    const { client, socket } = await connected({ batch: perFrame });
    const handler = vi.fn();
    client.on('order:created', handler);
    socket.event('e-1');
    socket.event('e-2');
    expect(handler).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(100);
    expect(handler).toHaveBeenCalledTimes(2);
    socket.event('e-3');
    await vi.advanceTimersByTimeAsync(100);
    expect(handler).toHaveBeenCalledTimes(3);
  });

  test('that wait for the frame are told before an answer that came behind them', async () => {
    const { client, socket } = await connected({ batch: perFrame });
    const told: string[] = [];
    client.on('*', (_, { id }) => told.push(id));
    client.on('subscribed', () => told.push('subscribed'));
    client.refresh();
    await settle();
    socket.event('e-1');
    socket.subscribed(['orders'], 'p-1');
    socket.event('e-2');
    await vi.advanceTimersByTimeAsync(100);
    expect(told).toEqual(['e-1', 'subscribed', 'e-2']);
  });

  test('that wait for the frame are told before the loss of the line', async () => {
    const { client, socket } = await connected({ batch: perFrame });
    const told: string[] = [];
    client.on('*', (_, { id }) => told.push(id));
    client.on('status', ({ status }) => told.push(status));
    socket.event('e-1');
    socket.end();
    expect(told).toEqual(['e-1', 'waiting']);
  });

  test('that came with one whose handler closes the client are told when it goes on', async () => {
    const { client, socket } = await connected({ batch: perFrame });
    const told: string[] = [];
    client.on('*', (_, { id }) => told.push(id));
    client.once('order:created', () => client.close());
    for (const id of ['e-1', 'e-2', 'e-3']) socket.event(id);
    await vi.advanceTimersByTimeAsync(100);
    expect([client.status, told]).toEqual(['closed', ['e-1']]);
    client.connect();
    await settle();
    reopened().subscribed(['orders'], 'p-3', { recovered: true });
    FakeSocket.last.event('e-4');
    await vi.advanceTimersByTimeAsync(100);
    expect(told).toEqual(['e-1', 'e-2', 'e-3', 'e-4']);
  });
});

test('keeps the newest thousand events for those who come late', async () => {
  const { client, socket } = await connected();
  for (let i = 0; i < 1_100; i++) socket.event(`e-${i}`, i % 2 ? 'order:created' : 'order:deleted');
  const kept = client.recent('*');
  expect([kept.length, kept[0]!.id]).toEqual([1_000, 'e-100']);
  expect(ids(client.recent('order:created')).slice(0, 2)).toEqual(['e-101', 'e-103']);
});
