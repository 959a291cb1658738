// How a client comes to a connection, comes back after a lost one, and finds that one is dead.

import { describe, expect, test, vi } from 'vitest';

import { connected, driveClock, FakeSocket, newClient, nextAttempt, reopened, settle } from './fake-socket.js';

driveClock();

describe('connecting', () => {
  test('shows the token by sub-protocol and asks for its namespaces when let in', async () => {
    newClient({ token: async () => 'h.jwt.s', namespaces: ['orders', 'products'] });
    await settle();
    const socket = FakeSocket.last;
    expect(socket.protocols).toEqual(['shopwire.v1', 'token.h.jwt.s']);
    socket.welcome();
    expect(socket.sent).toEqual([]);
    socket.authenticate();
    expect(socket.sent).toEqual([{ type: 'subscribe', data: { namespaces: ['orders', 'products'] } }]);
  });

  test('asks at once without a token', async () => {
    newClient({ token: null, namespaces: ['products'] });
    await settle();
    expect(FakeSocket.last.protocols).toEqual(['shopwire.v1']);
    FakeSocket.last.welcome();
    expect(FakeSocket.last.said('subscribe')).toHaveLength(1);
  });

  test('tells its states with reasons', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
    const client = newClient({ autoConnect: false });
    const states: unknown[] = [client.state];
    client.on('status', (state) => states.push(state));
    client.connect();
    await settle();
    FakeSocket.last.welcome();
    FakeSocket.last.authenticate();
    expect(client.isConnected).toBe(false);
    FakeSocket.last.subscribed(['orders'], 'p-0');
    expect(client.isConnected).toBe(true);
    FakeSocket.last.end(4408, 'no sign of life');
    client.close();
    expect(states).toEqual([
      { status: 'idle', reason: '' },
      { status: 'connecting', reason: '' },
      { status: 'connected', reason: '' },
      { status: 'waiting', reason: 'no sign of life', code: 4408, retryIn: 250 },
      { status: 'closed', reason: 'closed by the page', code: undefined },
    ]);
  });

  test('close and connect within one task make one connection', async () => {
    const client = newClient();
    client.close();
    client.connect();
    await settle();
    expect(FakeSocket.all).toHaveLength(1);
  });

  test('says what is wrong with a url, and that there is no WebSocket', async () => {
    const wrong = newClient({ url: 'http://' });
    const none = newClient({ WebSocket: undefined, url: 'ws://shop.test' });
    vi.stubGlobal('WebSocket', undefined);
    Reflect.deleteProperty(globalThis, 'WebSocket');
    await settle();
    vi.unstubAllGlobals();
    expect(wrong.state).toMatchObject({ status: 'closed', reason: 'there is no way to http://: Invalid URL' });
    expect(none.state).toMatchObject({ status: 'closed', reason: 'there is no way to ws://shop.test: WebSocket is not defined' });
  });

  test('takes http and https for ws and wss', async () => {
    newClient({ url: 'https://shop.test/api/ws' });
    await settle();
    expect(FakeSocket.last.url).toBe('wss://shop.test/api/ws');
  });
});

describe('coming back', () => {
  test('goes on from the last event, and drops what it has seen', async () => {
    const { client, socket } = await connected();
    const seen: string[] = [];
    client.on('*', (_, event) => seen.push(event.id));
    socket.event('e-1');
    socket.event('e-2');
    socket.end();
    await nextAttempt();
    const next = reopened();
    expect(next.said('subscribe')).toEqual([{ namespaces: ['orders'], since: 'e-2' }]);
    next.subscribed(['orders'], 'p-9', { recovered: true });
    for (const id of ['e-2', 'e-3', 'e-3']) next.event(id);
    expect(seen).toEqual(['e-1', 'e-2', 'e-3']);
  });

  test('goes on from the position where no event came', async () => {
    const { socket } = await connected({}, 'p-7');
    socket.end();
    await nextAttempt();
    expect(reopened().said('subscribe')[0].since).toBe('p-7');
  });

  test('keeps its old place while what was missed is still to come', async () => {
    const { socket } = await connected({}, 'p-7');
    socket.end();
    await nextAttempt();
    const second = reopened();
    second.subscribed(['orders'], 'p-9', { recovered: true });
    second.end();
    await nextAttempt();
    const third = reopened();
    expect(third.said('subscribe')[0].since).toBe('p-7');
    third.subscribed(['orders'], 'p-9', { recovered: true });
    third.event('e-8');
    third.end();
    await nextAttempt();
    expect(reopened().said('subscribe')[0].since).toBe('e-8');
  });

  test('tells a gap, and goes on from the new position', async () => {
    const { client, socket } = await connected();
    const gap = vi.fn();
    client.on('gap', gap);
    socket.event('e-1');
    socket.end();
    await nextAttempt();
    const second = reopened();
    expect(gap).not.toHaveBeenCalled();
    second.subscribed(['orders'], 'p-20', { recovered: false });
    expect(gap).toHaveBeenCalledOnce();
    expect(client.recent('*')).toEqual([]);
    second.end();
    await nextAttempt();
    expect(reopened().said('subscribe')[0].since).toBe('p-20');
  });

  test('takes no event before the answer to its subscription', async () => {
    const { client, socket } = await connected();
    const handler = vi.fn();
    client.on('*', handler);
    socket.end();
    await nextAttempt();
    const next = reopened();
    next.event('e-5');
    next.end();
    await nextAttempt();
    expect(reopened().said('subscribe')[0].since).toBe('p-0');
    expect(handler).not.toHaveBeenCalled();
  });

  test('waits at random below a bound that doubles to 30 s, and forgets after a steady connection', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.999);
    const { client, socket } = await connected();
    const waits: number[] = [];
    client.on('status', ({ retryIn }) => retryIn !== undefined && waits.push(Math.round(retryIn / 0.999)));
    socket.end();
    for (let i = 0; i < 7; i++) {
      const failed = await nextAttempt(31_000);
      failed.end();
    }
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
    await nextAttempt(31_000);
    const steady = FakeSocket.last;
    steady.welcome();
    for (let i = 0; i < 11; i++) {
      await vi.advanceTimersByTimeAsync(1000);
      steady.say({ type: 'pong', timestamp: 0 });
    }
    steady.end();
    expect(waits.at(-1)).toBe(500);
  });

  test('waits as long as the server asks, whoever looks', async () => {
    const { client, socket } = await connected();
    socket.say({ type: 'reconnect', data: { after: 7_000 } });
    socket.end(1001, 'the server is going away, come back');
    expect(client.state).toMatchObject({ status: 'waiting', code: 1001, retryIn: 7_000 });
    await vi.advanceTimersByTimeAsync(6_999);
    expect(FakeSocket.all).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(FakeSocket.all).toHaveLength(2);
    // The next failure is not the server's wish.
    FakeSocket.last.end();
    expect(client.state.retryIn).toBeLessThan(7_000);
  });

  test.each([1002, 1003, 1007, 1009, 4403, 4429])('does not come back after %i', async (code) => {
    const { client, socket } = await connected();
    socket.end(code, 'why');
    expect(client.state).toEqual({ status: 'closed', reason: 'why', code });
    await vi.advanceTimersByTimeAsync(120_000);
    expect(FakeSocket.all).toHaveLength(1);
  });

  test.each([1000, 1001, 1006, 1011, 4408, 4413])('comes back after %i', async (code) => {
    const { socket } = await connected();
    socket.end(code, 'why');
    await nextAttempt();
  });

  test.each(['close', 'begin anew'])('%s in a handler that is told of a loss holds', async (way) => {
    const token = vi.fn(() => Promise.reject(new Error('signed out')));
    const client = newClient({ token });
    client.on('error', () => {
      client.close();
      if (way === 'begin anew') client.setToken('h.b.s'), client.connect();
    });
    await settle();
    if (way === 'close') {
      expect(client.status).toBe('closed');
      await vi.advanceTimersByTimeAsync(120_000);
      expect([client.status, token.mock.calls.length]).toEqual(['closed', 1]);
    } else {
      await vi.advanceTimersByTimeAsync(10_000);
      expect([client.status, FakeSocket.all.length]).toEqual(['connecting', 1]);
      client.close();
      expect(client.status).toBe('closed');
    }
  });

  test('what is late of an old connection is not heard', async () => {
    const { client, socket } = await connected();
    const handler = vi.fn();
    client.on('*', handler);
    socket.end();
    await nextAttempt();
    socket.event('e-1');
    socket.end();
    expect(handler).not.toHaveBeenCalled();
    expect(client.status).toBe('connecting');
  });
});

describe('a line that is silent', () => {
  test('is asked for a sign of life, and left when there is none', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0);
    const { client, socket } = await connected();
    await vi.advanceTimersByTimeAsync(30_000);
    expect(socket.said('ping')).toHaveLength(1);
    socket.say({ type: 'pong', timestamp: 1 });
    await vi.advanceTimersByTimeAsync(30_000);
    expect(socket.said('ping')).toHaveLength(2);
    expect(client.isConnected).toBe(true);
    await vi.advanceTimersByTimeAsync(5_001);
    expect(socket.isClosedByPage).toBe(true);
    expect(FakeSocket.all).toHaveLength(2);
    expect(reopened().said('subscribe')[0].since).toBe('p-0');
  });

  test('is not asked while events come', async () => {
    const { socket } = await connected();
    for (let i = 0; i < 30; i++) {
      await vi.advanceTimersByTimeAsync(2_000);
      socket.event(`e-${i}`);
    }
    expect(socket.said('ping')).toEqual([]);
  });

  test('that never greets is left after 15 s', async () => {
    const client = newClient();
    await vi.advanceTimersByTimeAsync(14_999);
    expect(client.status).toBe('connecting');
    await vi.advanceTimersByTimeAsync(1);
    expect(client.state).toMatchObject({ status: 'waiting', reason: 'the server does not answer' });
  });
});
