// The client against a driven clock and a socket that the test holds.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { perFrame } from '../src/frames.js';
import type { ShopEvent } from '../src/generated/events.js';
import { eventsOf } from '../src/reader.js';
import type { Problem } from '../src/types.js';
import { connected, FakeSocket, newClient, reopened, settle } from './fake-socket.js';

beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.all = [];
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** The clock goes on until the next attempt has begun. */
async function nextAttempt(within = 30_000): Promise<FakeSocket> {
  const before = FakeSocket.all.length;
  for (let passed = 0; FakeSocket.all.length === before; passed += 50) {
    if (passed > within) throw new Error(`no attempt within ${within} ms`);
    await vi.advanceTimersByTimeAsync(50);
  }
  return FakeSocket.last;
}

const ids = (events: ShopEvent[]) => events.map(({ id }) => id);

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

describe('tokens', () => {
  test('a fixed one that is refused ends it, until another is set', async () => {
    const { client, socket } = await connected();
    socket.end(4401, 'the token has ended, come back with a new one');
    expect(client.state).toMatchObject({ status: 'closed', code: 4401 });
    client.setToken('h.b.s');
    await settle();
    expect(FakeSocket.last.protocols).toEqual(['shopwire.v1', 'token.h.b.s']);
    expect(reopened().said('subscribe')[0].since).toBe('p-0');
  });

  test('a function is asked again, and one that was refused is not shown again', async () => {
    vi.spyOn(console, 'warn').mockImplementation(() => {});
    let token = 'h.a.s';
    const { client, socket } = await connected({ token: () => token });
    socket.end(4401, 'the token was refused');
    await vi.advanceTimersByTimeAsync(60_000);
    expect(FakeSocket.all).toHaveLength(1);
    expect(client.state).toMatchObject({ status: 'waiting', reason: 'there is no token: it was refused' });
    token = 'h.b.s';
    expect((await nextAttempt()).protocols[1]).toBe('token.h.b.s');
  });

  test('a function that fails is asked again', async () => {
    vi.spyOn(console, 'warn').mockImplementation(() => {});
    let fails = true;
    newClient({ token: async () => (fails ? Promise.reject(new Error('503')) : 'h.a.s') });
    await settle();
    expect(FakeSocket.all).toHaveLength(0);
    fails = false;
    await nextAttempt();
  });

  test('are refreshed on the connection before they end', async () => {
    let token = 'h.a.s';
    const { socket } = await connected({ token: () => token });
    token = 'h.b.s';
    socket.say({ type: 'token:expiring', data: { expiresAt: 1 } });
    await settle();
    expect(socket.said('auth')).toEqual([{ token: 'h.b.s' }]);
    socket.authenticate();
    expect(FakeSocket.all).toHaveLength(1);
    expect(socket.said('subscribe')).toHaveLength(1);
  });

  test.each([
    ['a page', '<html><body>502 Bad Gateway secret</body></html>'],
    ['an object', { token: 'h.secret.s' }],
    ['a number', 42],
    ['an empty text', ''],
    ['two parts', 'h.secret'],
  ])('%s from a function is told without its text, and asked for again', async (_, wrong) => {
    let given: unknown = wrong;
    const client = newClient({ token: async () => given as string });
    const problems: Problem[] = [];
    client.on('error', (problem) => problems.push(problem));
    await settle();
    expect(FakeSocket.all).toHaveLength(0);
    expect(client.state).toMatchObject({ status: 'waiting', retryIn: expect.any(Number) });
    expect(problems).toEqual([{ code: 'no_token', message: 'there is no token: it is no JWT' }]);
    given = ' h.b.s\n';
    expect((await nextAttempt()).protocols).toEqual(['shopwire.v1', 'token.h.b.s']);
  });

  test('a fixed one that is none ends it with a sentence, until another is set', async () => {
    const client = newClient({ token: 'PASTE THE TOKEN HERE' });
    vi.spyOn(console, 'warn').mockImplementation(() => {});
    await settle();
    expect(client.state).toEqual({ status: 'closed', reason: 'there is no token: it is no JWT', code: 4401 });
    client.setToken('h.b.s');
    await settle();
    expect(FakeSocket.last.protocols[1]).toBe('token.h.b.s');
  });

  test('a function that never settles is given up after 15 s and asked again', async () => {
    let hangs = true;
    const client = newClient({ token: () => (hangs ? new Promise<string>(() => {}) : 'h.a.s') });
    const problems: Problem[] = [];
    client.on('error', (problem) => problems.push(problem));
    await vi.advanceTimersByTimeAsync(14_999);
    expect(client.status).toBe('connecting');
    await vi.advanceTimersByTimeAsync(1);
    expect(client.state).toMatchObject({ status: 'waiting', reason: 'there is no token: none came in time' });
    expect(problems).toMatchObject([{ code: 'no_token' }]);
    hangs = false;
    await nextAttempt();
  });

  test.each(['fails', 'hangs'])('a function that %s before the token ends is asked again on the same connection', async (how) => {
    let asked = 0;
    const bad = () => (how === 'fails' ? Promise.reject(new Error('503')) : new Promise<string>(() => {}));
    const { client, socket } = await connected({ token: () => (++asked === 1 || asked > 3 ? `h.${asked}.s` : bad()) });
    const problems: Problem[] = [];
    client.on('error', (problem) => problems.push(problem));
    socket.say({ type: 'token:expiring', data: { expiresAt: 1 } });
    for (let i = 0; i < 50; i++) {
      await vi.advanceTimersByTimeAsync(1_000);
      socket.say({ type: 'pong', timestamp: 0 });
    }
    expect(socket.said('auth')).toEqual([{ token: 'h.4.s' }]);
    expect(problems.map(({ code }) => code)).toEqual(['no_token', 'no_token']);
    expect(client.isConnected).toBe(true);
  });

  test('one that is set while another one is being fetched or shown is the one that counts', async () => {
    let give = (_: string) => {};
    const client = newClient({ token: () => new Promise<string>((resolve) => (give = resolve)) });
    await settle();
    client.setToken('h.b.s');
    give('h.a.s');
    await vi.advanceTimersByTimeAsync(1);
    expect(FakeSocket.all.map(({ protocols }) => protocols[1])).toEqual(['token.h.b.s']);
    client.setToken('h.c.s');
    await vi.advanceTimersByTimeAsync(1);
    const next = FakeSocket.last;
    next.welcome();
    expect([next.protocols[1], ...next.said('auth').map(({ token }) => `token.${token}`)]).toContain('token.h.c.s');
  });

  test('a refresh that fails is told, and the connection stays', async () => {
    let fails = false;
    const { client, socket } = await connected({ token: () => (fails ? Promise.reject(new Error('503')) : Promise.resolve('h.a.s')) });
    const problems: Problem[] = [];
    client.on('error', (problem) => problems.push(problem));
    fails = true;
    socket.say({ type: 'token:expiring', data: { expiresAt: 1 } });
    await settle();
    socket.say({ type: 'error', data: { code: 'unauthorized', message: 'no', request: 'auth' } });
    expect(problems.map(({ code }) => code)).toEqual(['no_token', 'unauthorized']);
    expect(client.isConnected).toBe(true);
  });

  test('a handshake that fails is followed by one that shows the token in a message, whose refusal is told', async () => {
    const client = newClient();
    await settle();
    FakeSocket.last.end();
    const second = await nextAttempt();
    expect(second.protocols).toEqual(['shopwire.v1']);
    second.welcome();
    expect(second.sent).toEqual([{ type: 'auth', data: { token: 'h.a.s' } }]);
    vi.spyOn(console, 'warn').mockImplementation(() => {});
    second.say({ type: 'error', data: { code: 'unauthorized', message: 'no such user', request: 'auth' } });
    second.end(4401, 'the token was refused');
    expect(client.state).toMatchObject({ status: 'closed', reason: 'the token was refused' });
  });

  test('handshakes that go on failing show it in turns', async () => {
    newClient();
    await settle();
    const shown: boolean[] = [];
    for (let i = 0; i < 4; i++) {
      shown.push(FakeSocket.last.protocols.length === 2);
      FakeSocket.last.end();
      await nextAttempt();
    }
    expect(shown).toEqual([true, false, true, false]);
  });

  test("another user's is taken to a new connection, where the first one's events are forgotten", async () => {
    const { client, socket } = await connected();
    socket.event('e-1');
    client.setToken('h.b.s');
    await settle();
    expect(socket.said('auth')).toEqual([{ token: 'h.b.s' }]);
    socket.say({ type: 'error', data: { code: 'unauthorized', message: 'another user', request: 'auth' } });
    await vi.advanceTimersByTimeAsync(1);
    expect(FakeSocket.last.protocols).toEqual(['shopwire.v1', 'token.h.b.s']);
    FakeSocket.last.welcome();
    FakeSocket.last.authenticate('u-2');
    expect(client.recent('*')).toEqual([]);
    expect(FakeSocket.last.said('subscribe')).toEqual([{ namespaces: ['orders'] }]);
  });

  test('none leaves the user behind', async () => {
    const { client, socket } = await connected();
    client.setToken(null);
    await vi.advanceTimersByTimeAsync(1);
    expect(socket.isClosedByPage).toBe(true);
    expect(FakeSocket.last.protocols).toEqual(['shopwire.v1']);
  });
});

describe('another user or role', () => {
  /** What the client told of it, in order. */
  function told(client: ReturnType<typeof newClient>): unknown[] {
    const told: unknown[] = [];
    client.on('identity', (identity) => told.push(identity && `${identity.userId} ${identity.role}`));
    client.on('gap', ({ namespaces }) => told.push(`gap ${namespaces}`));
    return told;
  }

  test('after setToken: what was seen is forgotten, and new state can be loaded once the subscription stands', async () => {
    const { client, socket } = await connected({ batch: perFrame });
    const seen = vi.fn();
    client.on('*', seen);
    const changes = told(client);
    client.setToken('h.b.s');
    await settle();
    socket.event('e-1');
    socket.say({ type: 'error', data: { code: 'unauthorized', message: 'another user', request: 'auth' } });
    await vi.advanceTimersByTimeAsync(1);
    FakeSocket.last.welcome();
    FakeSocket.last.authenticate('u-2');
    expect(changes).toEqual(['u-2 admin']);
    FakeSocket.last.subscribed(['orders'], 'p-5');
    expect(changes).toEqual(['u-2 admin', 'gap orders']);
    // One that waited for its frame was for the eyes of the first one.
    await vi.advanceTimersByTimeAsync(200);
    expect(seen).not.toHaveBeenCalled();
    FakeSocket.last.end();
    const next = await nextAttempt();
    next.welcome();
    next.authenticate('u-2');
    next.subscribed(['orders'], 'p-6', { recovered: true });
    expect(changes).toHaveLength(2);
  });

  test('nobody: at once, and a gap also where the public sees nothing', async () => {
    const { client, socket } = await connected();
    vi.spyOn(console, 'warn').mockImplementation(() => {});
    socket.event('e-1');
    const changes = told(client);
    client.setToken(null);
    expect(changes).toEqual([undefined]);
    expect([client.identity, client.online, client.recent('*')]).toEqual([undefined, undefined, []]);
    await vi.advanceTimersByTimeAsync(1);
    FakeSocket.last.welcome();
    FakeSocket.last.say({ type: 'error', data: { code: 'unauthorized', message: 'no', request: 'subscribe' } });
    expect(changes).toEqual([undefined, 'gap ']);
  });

  test('of the same user, by refresh: the past is asked for anew, as this role may see it', async () => {
    const { client, socket } = await connected({ last: 5 });
    socket.event('e-1');
    const changes = told(client);
    socket.authenticate('u-1', 'customer');
    expect(changes).toEqual(['u-1 customer']);
    expect(client.recent('*')).toEqual([]);
    expect(socket.said('subscribe').slice(1)).toEqual([{ namespaces: ['orders'], last: 5 }]);
    socket.subscribed(['orders'], 'p-4');
    socket.event('e-1');
    expect(ids(client.recent('*'))).toEqual(['e-1']);
    expect(changes).toEqual(['u-1 customer', 'gap orders']);
  });

  test('that takes a namespace away and gives it back tells a gap, for what was missed meanwhile', async () => {
    const { client, socket } = await connected({ namespaces: ['orders'] });
    vi.spyOn(console, 'warn').mockImplementation(() => {});
    const changes = told(client);
    socket.authenticate('u-1', 'guest');
    socket.say({ type: 'unsubscribed', data: { namespaces: [] } });
    socket.say({ type: 'error', data: { code: 'forbidden', message: 'no', request: 'subscribe' } });
    expect(changes).toEqual(['u-1 guest', 'gap ']);
    socket.authenticate('u-1', 'admin');
    socket.subscribed(['orders'], 'p-9');
    expect(changes.slice(2)).toEqual(['u-1 admin', 'gap orders']);
  });

  test('is not the same one again, nor the first one', async () => {
    const client = newClient();
    const changes = told(client);
    await settle();
    FakeSocket.last.welcome();
    FakeSocket.last.authenticate();
    FakeSocket.last.subscribed(['orders'], 'p-0');
    FakeSocket.last.authenticate();
    FakeSocket.last.end();
    await nextAttempt();
    reopened();
    expect(changes).toEqual([]);
  });
});

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
    // Each from its own place, until an event has come: going on from p-20, older payments would come behind this one.
    const second = reopened();
    expect(second.said('subscribe')).toEqual([
      { namespaces: ['orders'], since: 'p-20' },
      { namespaces: ['payments'], since: 'p-21' },
    ]);
    second.subscribed(['orders'], 'p-22', { recovered: true });
    second.subscribed(['orders', 'payments'], 'p-22', { recovered: true });
    second.event('e-22', 'payment:received');
    second.end();
    await nextAttempt();
    expect(reopened().said('subscribe')).toEqual([{ namespaces: ['orders', 'payments'], since: 'e-22' }]);
  });

  test('that go on from a place of their own keep it until the new connection has them', async () => {
    const { client, socket } = await connected();
    client.subscribe({ namespaces: ['payments'], last: 5 });
    await settle();
    socket.subscribed(['orders'], 'p-20');
    socket.subscribed(['orders', 'payments'], 'p-21');
    socket.end();
    await nextAttempt();
    const second = reopened();
    second.subscribed(['orders'], 'p-30', { recovered: true });
    second.event('e-25');
    second.end();
    await nextAttempt();
    const third = reopened();
    expect(third.said('subscribe')).toEqual([
      { namespaces: ['orders'], since: 'e-25' },
      { namespaces: ['payments'], since: 'p-21' },
    ]);
    // Refused now: what comes counts only when the orders are settled, else they would lose their place.
    vi.spyOn(console, 'warn').mockImplementation(() => {});
    third.say({ type: 'error', data: { code: 'forbidden', message: 'no', request: 'subscribe' } });
    third.subscribed(['payments'], 'p-31', { recovered: true });
    third.event('e-22', 'payment:received');
    expect(client.recent('payment:*')).toHaveLength(0);
    expect(third.said('subscribe').slice(2)).toEqual([{ namespaces: ['payments'], since: 'p-21' }]);
    third.subscribed(['payments'], 'p-31', { recovered: true });
    third.event('e-22', 'payment:received');
    expect(client.recent('payment:*')).toHaveLength(1);
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
    socket.say(forbidden);
    socket.say(forbidden);
    const probes = socket.said('subscribe').slice(2);
    expect(probes.map(({ namespaces }) => namespaces)).toEqual([['orders'], ['products'], ['payments'], ['system']]);
    socket.say(forbidden);
    socket.subscribed(['products'], 'p-1');
    socket.subscribed(['payments', 'products'], 'p-1');
    expect(client.isConnected).toBe(false);
    socket.say(forbidden);
    expect(socket.said('subscribe').slice(6)).toEqual([{ namespaces: ['products'] }, { namespaces: ['payments'], last: 2 }]);
    expect(problems.map(({ namespace }) => namespace)).toEqual(['orders', 'system']);
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

  test('is told when too many wait', async () => {
    const client = newClient({ queueLimit: 2 });
    const problems: Problem[] = [];
    client.on('error', (problem) => problems.push(problem));
    const taken = [1, 2, 3].map(() => client.publish('customer:viewing_product', product));
    expect(taken).toEqual([true, true, false]);
    expect(problems).toMatchObject([{ code: 'queue_full', request: 'customer:viewing_product' }]);
  });
});

test('keeps the newest thousand events for those who come late', async () => {
  const { client, socket } = await connected();
  for (let i = 0; i < 1_100; i++) socket.event(`e-${i}`, i % 2 ? 'order:created' : 'order:deleted');
  const kept = client.recent('*');
  expect([kept.length, kept[0]!.id]).toEqual([1_000, 'e-100']);
  expect(ids(client.recent('order:created')).slice(0, 2)).toEqual(['e-101', 'e-103']);
});
