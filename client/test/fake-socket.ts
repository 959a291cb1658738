// A WebSocket whose server is the test: for what only a driven clock or a broken line can show.

import { afterEach, beforeEach, vi } from 'vitest';

import { ShopwireClient } from '../src/client.js';
import type { ShopEvent } from '../src/generated/events.js';
import type { ShopwireOptions, WebSocketLike } from '../src/types.js';

export class FakeSocket implements WebSocketLike {
  static all: FakeSocket[] = [];
  readyState = 0;
  sent: any[] = [];
  isClosedByPage = false;
  onmessage: ((event: any) => void) | null = null;
  onclose: ((event: any) => void) | null = null;
  onerror: ((event: any) => void) | null = null;

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    FakeSocket.all.push(this);
  }

  static get last(): FakeSocket {
    const last = FakeSocket.all.at(-1);
    if (!last) throw new Error('no connection was made');
    return last;
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  close(): void {
    this.isClosedByPage = true;
    this.readyState = 3;
  }

  /** The server says something. */
  say(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  /** The server greets. */
  welcome(pingInterval = 30_000): void {
    this.readyState = 1;
    this.say({ type: 'welcome', data: { connectionId: 'c', server: 'shopwire/0', pingInterval } });
  }

  authenticate(userId = 'u-1', role = 'admin'): void {
    this.say({ type: 'authenticated', data: { userId, role, sessionId: null, expiresAt: 0 } });
  }

  subscribed(namespaces: string[], position: string, more: object = {}): void {
    this.say({ type: 'subscribed', data: { namespaces, position, ...more } });
  }

  event(id: string, type = 'order:created', data: object = {}): void {
    const word = type.split(':')[0]!;
    const namespace = word === 'inventory' || word === 'system' ? word : `${word}s`;
    this.say({ id, type, namespace, data, timestamp: 1_700_000_000_000 });
  }

  /** The connection ends. */
  end(code = 1006, reason = ''): void {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  /** The data of the messages of a type that came from the page. */
  said(type: string): any[] {
    return this.sent.filter((message) => message.type === type).map(({ data }) => data);
  }
}

/** Each test of the file drives the clock, and begins without sockets. */
export function driveClock(): void {
  beforeEach(() => {
    vi.useFakeTimers();
    FakeSocket.all = [];
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });
}

/** Lets promises settle that need no clock. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

export function newClient(options: ShopwireOptions = {}): ShopwireClient {
  return new ShopwireClient({ url: 'ws://shop.test/api/ws', token: 'h.a.s', namespaces: ['orders'], WebSocket: FakeSocket, ...options });
}

/** A client whose server has let it in and answered its subscription. */
export async function connected(options: ShopwireOptions = {}, position = 'p-0') {
  const client = newClient(options);
  await settle();
  const socket = FakeSocket.last;
  socket.welcome();
  socket.authenticate();
  await settle();
  const names = socket.said('subscribe').flatMap(({ namespaces }) => namespaces);
  for (const _ of socket.said('subscribe')) socket.subscribed(names, position);
  return { client, socket };
}

/** The clock goes on until the next attempt has begun. */
export async function nextAttempt(within = 30_000): Promise<FakeSocket> {
  const before = FakeSocket.all.length;
  for (let passed = 0; FakeSocket.all.length === before; passed += 50) {
    if (passed > within) throw new Error(`no attempt within ${within} ms`);
    await vi.advanceTimersByTimeAsync(50);
  }
  return FakeSocket.last;
}

/** Lets the client in on its newest connection. */
export function reopened(): FakeSocket {
  const socket = FakeSocket.last;
  socket.welcome();
  socket.authenticate();
  return socket;
}

export const ids = (events: ShopEvent[]) => events.map(({ id }) => id);
