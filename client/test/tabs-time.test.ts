// What has to be driven, and what the leading tab says on the line: a server that falls silent, tabs that go.

import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { ShopwireClient } from '../src/client.js';
import type { Namespace } from '../src/generated/events.js';
import { shareTabs } from '../src/tabs/index.js';
import { Browser, type Tab } from './browser.js';
import { FakeSocket } from './fake-socket.js';

const tokenOf = (number: number) => `x.${btoa(JSON.stringify({ sub: 'u-1', role: 'admin', number })).replaceAll('=', '')}.y`;
const TOKEN = tokenOf(0);
/** Until silence is noticed: at most a ping interval, and an answer to wait for. */
const NOTICED_MS = 30_000 + 5_000 + 500;
let browser: Browser;
let clients: ShopwireClient[];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
  vi.spyOn(Math, 'random').mockReturnValue(0);
  FakeSocket.all = [];
  browser = new Browser();
  clients = [];
});
afterEach(() => {
  for (const client of clients) client.close();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Lets everything arrive that is under way on the channels. */
async function arrive(): Promise<void> {
  for (let i = 0; i < 20; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    await vi.advanceTimersByTimeAsync(0);
  }
}

/** Time passes, and what it brings about arrives. */
async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 500) {
    await vi.advanceTimersByTimeAsync(500);
    await arrive();
  }
}

interface Page {
  tab: Tab;
  client: ShopwireClient;
  seen: string[];
}

function open(namespaces: Namespace[] = ['orders'], token = TOKEN): Page {
  const tab = browser.tab();
  const { locks, BroadcastChannel } = tab;
  const client = new ShopwireClient({
    url: 'ws://shop.test/api/ws',
    token,
    namespaces,
    WebSocket: shareTabs({ locks, BroadcastChannel, WebSocket: tab.socket(FakeSocket) }),
  });
  clients.push(client);
  const seen: string[] = [];
  client.on('*', (_, { id }) => seen.push(id));
  return { tab, client, seen };
}

/** The server lets the newest connection in, and answers what was asked. */
async function letIn(position: string): Promise<FakeSocket> {
  await arrive();
  const socket = FakeSocket.last;
  socket.welcome();
  socket.authenticate();
  await arrive();
  await answer(socket, position);
  return socket;
}

/** Answers all subscriptions that come, until none does. */
async function answer(socket: FakeSocket, position: string): Promise<void> {
  for (;;) {
    const asked = socket.sent.filter(({ type, isAnswered }) => type === 'subscribe' && !isAnswered);
    if (!asked.length) return;
    for (const message of asked) {
      message.isAnswered = true;
      socket.subscribed(['orders'], position, message.data.since === undefined ? {} : { recovered: true });
    }
    await arrive();
  }
}

test('a server that is silent is left by all tabs', async () => {
  const pages = [open()];
  await letIn('p-0');
  pages.push(open());
  await arrive();
  await answer(FakeSocket.last, 'p-0');
  const socket = FakeSocket.last;
  await pass(NOTICED_MS);
  expect(socket.isClosedByPage).toBe(true);
  const next = await letIn('p-1');
  expect(next).not.toBe(socket);
  expect(pages.map(({ client }) => client.isConnected)).toEqual([true, true]);
});

test('a tab whose client is closed, as it is for the back/forward cache, leads no longer', async () => {
  const leader = open();
  const socket = await letIn('p-0');
  const other = open();
  await arrive();
  await answer(socket, 'p-0');
  leader.client.close();
  await arrive();
  await pass(500);
  expect(socket.isClosedByPage).toBe(true);
  await letIn('p-0');
  expect(other.client.isConnected).toBe(true);
  expect(browser.leaders).toEqual([other.tab]);
});

test.each(['is closed', 'crashes'])('what only a tab wanted that %s is no longer asked for', async (how) => {
  open();
  const socket = await letIn('p-0');
  const other = open(['orders', 'products']);
  await arrive();
  await answer(socket, 'p-0');
  expect(socket.said('subscribe').at(-1)).toMatchObject({ namespaces: ['orders', 'products'] });
  if (how === 'crashes') other.tab.crash();
  other.client.close();
  await arrive();
  expect(socket.said('unsubscribe')).toEqual([{ namespaces: ['products'] }]);
});

/** Lets the line in, and answers what it asks as far as a bucket lasts: `burst` at once, and one in `paceMs`. Returns what it refused. */
async function serveRated(burst: number, paceMs: number): Promise<{ refused: string[] }> {
  const socket = FakeSocket.last;
  const refused: string[] = [];
  let left = burst;
  let filledAt = Date.now();
  const names = new Set<string>();
  const answerTo = ({ type, data = {} }: any) => {
    const filled = Math.floor((Date.now() - filledAt) / paceMs);
    left = Math.min(burst, left + filled);
    filledAt += filled * paceMs;
    if (left === 0) {
      refused.push(type);
      const retryAfter = filledAt + paceMs - Date.now();
      return socket.say({ type: 'error', data: { code: 'rate_limited', message: 'too many messages', request: type, retryAfter } });
    }
    left--;
    if (type === 'ping') socket.say({ type: 'pong', timestamp: Date.now() });
    if (type === 'auth') socket.authenticate('u-1');
    for (const name of data.namespaces ?? []) type === 'subscribe' ? names.add(name) : names.delete(name);
    if (type === 'subscribe') socket.subscribed([...names], 'p-0');
    if (type === 'unsubscribe') socket.say({ type: 'unsubscribed', data: { namespaces: [...names] } });
  };
  const send = socket.send.bind(socket);
  socket.send = (text) => {
    send(text);
    setTimeout(() => answerTo(JSON.parse(text)), 5);
  };
  socket.welcome();
  socket.authenticate();
  await arrive();
  return { refused };
}

test('many tabs at once, each with a token of its own, are all let in, as fast as the server takes it', async () => {
  const first = open();
  await arrive();
  const server = await serveRated(20, 600);
  const problems: unknown[] = [];
  const others = Array.from({ length: 20 }, (_, number) => open(['orders', 'products'], tokenOf(number + 1)));
  for (const { client } of [first, ...others]) client.on('error', (problem) => problems.push(problem));
  await pass(2_000);
  expect(others.every(({ client }) => client.isConnected)).toBe(false);
  await pass(35_000);
  expect(others.map(({ client }) => client.status)).toEqual(others.map(() => 'connected'));
  expect(FakeSocket.all).toHaveLength(1);
  expect(problems).toEqual([]);
  // As many as were under way, and hardly one afterwards.
  expect(server.refused.length).toBeLessThan(15);
});

test('a tab whose token comes too fast for the server is let in by and by, and nothing is said of it', async () => {
  open();
  await arrive();
  const server = await serveRated(1, 2_000);
  const other = open(['orders'], tokenOf(1));
  const states: string[] = [];
  other.client.on('status', ({ status }) => states.push(status));
  await pass(10_000);
  expect(states).toEqual(['connected']);
  expect(server.refused.length).toBeGreaterThan(0);
});
