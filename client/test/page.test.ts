// @vitest-environment happy-dom
// The client in a page: network, visibility, the back/forward cache.

import { afterEach, expect, test, vi } from 'vitest';

import { perFrame } from '../src/frames.js';
import { connected, driveClock, FakeSocket, newClient, reopened, settle } from './fake-socket.js';

let clients: { close(): void }[] = [];

driveClock();

afterEach(() => {
  for (const client of clients) client.close();
  clients = [];
});

async function inPage() {
  const made = await connected();
  clients.push(made.client);
  return made;
}

function become(hidden: boolean): void {
  vi.spyOn(document, 'hidden', 'get').mockReturnValue(hidden);
  document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
}

function pageEvent(name: string, persisted: boolean): void {
  window.dispatchEvent(Object.assign(new Event(name), { persisted }));
}

test('a path is on the host of the page', async () => {
  vi.stubGlobal('location', new URL('https://shop.test/orders?x=1'));
  const client = newClient({ url: '/api/ws' });
  await settle();
  vi.unstubAllGlobals();
  clients.push(client);
  expect(FakeSocket.last.url).toBe('wss://shop.test/api/ws');
});

test('a page that is looked at again does not wait for the next attempt', async () => {
  vi.spyOn(Math, 'random').mockReturnValue(0.9);
  const { client, socket } = await inPage();
  become(true);
  socket.end();
  expect(client.state.retryIn).toBe(27_000);
  become(false);
  await settle();
  expect(FakeSocket.all).toHaveLength(2);
});

test('a page that is looked at again asks whether its connection still stands', async () => {
  const { socket } = await inPage();
  become(true);
  expect(socket.said('ping')).toEqual([]);
  become(false);
  expect(socket.said('ping')).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(socket.isClosedByPage).toBe(true);
});

test('without a network it says so and hurries only when that is back', async () => {
  vi.spyOn(Math, 'random').mockReturnValue(0.9);
  const { client, socket } = await inPage();
  const onLine = vi.spyOn(navigator, 'onLine', 'get').mockReturnValue(false);
  window.dispatchEvent(new Event('offline'));
  // The browser may be wrong, as on the machine that the server is on: the line is asked.
  expect(socket.said('ping')).toHaveLength(1);
  socket.end();
  expect(client.state).toMatchObject({ status: 'offline', retryIn: 27_000 });
  onLine.mockReturnValue(true);
  window.dispatchEvent(new Event('online'));
  await settle();
  expect(FakeSocket.all).toHaveLength(2);
});

test('the browser looks neither hurry on what the server asked for', async () => {
  const { socket } = await inPage();
  socket.say({ type: 'reconnect', data: { after: 9_000 } });
  socket.end(1001);
  window.dispatchEvent(new Event('online'));
  become(false);
  await vi.advanceTimersByTimeAsync(8_999);
  expect(FakeSocket.all).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(FakeSocket.all).toHaveLength(2);
});

test('a client that waits finds out by itself that the browser has no network any more', async () => {
  const { client, socket } = await inPage();
  vi.spyOn(Math, 'random').mockReturnValue(0.9);
  socket.end();
  expect(client.status).toBe('waiting');
  vi.spyOn(navigator, 'onLine', 'get').mockReturnValue(false);
  window.dispatchEvent(new Event('offline'));
  await settle();
  expect(FakeSocket.all).toHaveLength(2);
  FakeSocket.last.end();
  expect(client.state).toMatchObject({ status: 'offline', retryIn: 27_000 });
});

test('a page that is left gives up its connection, and goes on when it is back', async () => {
  const { client, socket } = await inPage();
  socket.event('e-1');
  pageEvent('pagehide', true);
  expect(socket.isClosedByPage).toBe(true);
  expect(client.isConnected).toBe(false);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(FakeSocket.all).toHaveLength(1);
  pageEvent('pageshow', true);
  await settle();
  expect(FakeSocket.all).toHaveLength(2);
  expect(reopened().said('subscribe')).toEqual([{ namespaces: ['orders'], since: 'e-1' }]);
});

test('a page that is shown for the first time is not a return', async () => {
  await inPage();
  pageEvent('pageshow', false);
  await settle();
  expect(FakeSocket.all).toHaveLength(1);
});

test('a closed client no longer listens to the page', async () => {
  const { client } = await inPage();
  client.close();
  window.dispatchEvent(new Event('online'));
  pageEvent('pageshow', true);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(FakeSocket.all).toHaveLength(1);
});

test('events of a batch are handed on with the next frame, all in one', async () => {
  const { client, socket } = await connected({ batch: perFrame });
  clients.push(client);
  let frame = () => {};
  vi.stubGlobal('requestAnimationFrame', (call: () => void) => (frame = call));
  const handler = vi.fn();
  client.on('*', handler);
  socket.event('e-1');
  socket.event('e-2');
  frame();
  vi.unstubAllGlobals();
  expect(handler).toHaveBeenCalledTimes(2);
});
