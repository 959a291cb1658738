// Who a client is: tokens that are shown, refused and renewed, and what becomes of what another user saw.

import { describe, expect, test, vi } from 'vitest';

import { perFrame } from '../src/frames.js';
import type { Problem } from '../src/types.js';
import { connected, driveClock, FakeSocket, ids, newClient, nextAttempt, reopened, settle } from './fake-socket.js';

driveClock();

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

  test.each([
    [undefined, 'no reason was given'],
    [null, 'no reason was given'],
    ['signed out', 'signed out'],
    [503, '503'],
    [{ code: 503 }, 'no reason was given'],
    [new Error(), 'no reason was given'],
    [new Error('signed out'), 'signed out'],
  ])('a function that rejects with %o is told as such', async (fault, reason) => {
    const problems: Problem[] = [];
    const { client, socket } = await connected({ token: vi.fn().mockResolvedValueOnce('h.a.s').mockRejectedValue(fault) });
    client.on('error', (problem) => problems.push(problem));
    socket.say({ type: 'token:expiring', data: { expiresAt: 1 } });
    await settle();
    expect(problems).toEqual([{ code: 'no_token', message: `there is no token: ${reason}` }]);
    socket.end();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(client.state.reason).toBe(`there is no token: ${reason}`);
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

  test.each(['at first', 'before the token ends'])('a client that is closed while its function hangs %s keeps no timer', async (when) => {
    let hangs = when === 'at first';
    const token = () => (hangs ? new Promise<string>(() => {}) : 'h.a.s');
    let client = newClient({ token });
    await settle();
    if (!hangs) {
      client.close();
      const { client: other, socket } = await connected({ token });
      client = other;
      hangs = true;
      // It is asked once more while it hangs.
      socket.say({ type: 'token:expiring', data: { expiresAt: 1 } });
      client.setToken(token);
      await settle();
    }
    expect(vi.getTimerCount()).toBeGreaterThan(0);
    client.close();
    expect(vi.getTimerCount()).toBe(0);
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

test('a token that comes when another was asked for since is shown to nobody', async () => {
  const answers: ((token: string) => void)[] = [];
  const client = newClient({ token: () => new Promise((resolve) => answers.push(resolve)) });
  const problems = vi.fn();
  client.on('error', problems);
  await settle();
  answers[0]!('h.1.s');
  await settle();
  const first = FakeSocket.last;
  first.welcome();
  first.authenticate();
  first.say({ type: 'token:expiring', data: { expiresAt: 0 } });
  first.end(4401, 'the token has ended');
  await vi.advanceTimersByTimeAsync(1_000);
  answers[2]!('h.3.s');
  await settle();
  const second = FakeSocket.last;
  expect(second.protocols.at(-1)).toBe('token.h.3.s');
  second.welcome();
  second.authenticate();
  answers[1]!('h.2.s');
  await vi.advanceTimersByTimeAsync(20_000);
  expect(second.said('auth')).toEqual([]);
  expect([client.isConnected, answers.length, problems.mock.calls]).toEqual([false, 3, []]);
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

  test('in a handler: what came with that event is not told any more', async () => {
    const { client, socket } = await connected({ batch: perFrame });
    const seen: string[] = [];
    client.on('*', (_, { id }) => seen.push(id));
    client.once('order:created', () => client.setToken(null));
    for (const id of ['e-1', 'e-2', 'e-3']) socket.event(id);
    await vi.advanceTimersByTimeAsync(200);
    expect(seen).toEqual(['e-1']);
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
