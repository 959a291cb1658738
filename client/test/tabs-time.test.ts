// What has to be driven, and what the leading tab says on the line: a server that falls silent, tabs that go.

import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { ShopwireClient } from '../src/client.js';
import type { Namespace } from '../src/generated/events.js';
import { shareTabs } from '../src/tabs/index.js';
import { Browser, type Tab } from './browser.js';
import { FakeSocket } from './fake-socket.js';

const TOKEN = `x.${btoa(JSON.stringify({ sub: 'u-1', role: 'admin' })).replaceAll('=', '')}.y`;
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

function open(namespaces: Namespace[] = ['orders']): { tab: Tab; client: ShopwireClient; seen: string[] } {
  const tab = browser.tab();
  const { locks, BroadcastChannel } = tab;
  const client = new ShopwireClient({
    url: 'ws://shop.test/api/ws',
    token: TOKEN,
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
