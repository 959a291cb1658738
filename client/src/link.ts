// One line to the server: made, watched, and made again when it is lost. Owns the socket and all timers of that;
// what is said on the line is the client's.

import { isHidden, isOffline, watchPage } from './page.js';
import type { ConnectionState, ShopwireOptions, WebSocketLike } from './types.js';

/** From the beginning of an attempt, when there is a token, to the server's first word. */
const CONNECT_MS = 15_000;
/** How long an answer to a ping may take. */
const ANSWER_MS = 5_000;
/** The wait before another attempt is random, below a bound that doubles from here with each failure. */
const BACKOFF_MS = 500;
const BACKOFF_MAX_MS = 30_000;
/** A connection that lasted so long was a success. */
const STEADY_MS = 10_000;
/** A WebSocket's state in which it can send. */
const OPEN = 1;
/** The code for an end without a close frame. */
const CUT = 1006;
/** The code where there is no token to show. */
export const UNAUTHORIZED = 4401;

export function newLink(
  options: ShopwireOptions,
  /** The sub-protocols to offer, within a time of the caller's own. Thrown errors count as a failed attempt. */
  offer: () => Promise<string[]>,
  /** A message has come. */
  receive: (message: any) => void,
  /** The connection is gone. True if no other attempt is to be made. */
  lost: (code: number, reason: string) => boolean,
  /** The state of the line changed. */
  changed: (state: ConnectionState) => void,
) {
  let isRunning = false;
  /** Counts what was begun, so that what is late finds that it is. */
  let turn = 0;
  let socket: WebSocketLike | undefined;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let alarm: ReturnType<typeof setTimeout> | undefined;
  /** After so long a silence the server is asked for a sign of life: as often as it pings by itself. */
  let pingMs: number;
  let failures = 0;
  /** Since when the server speaks, in ms since 1970. */
  let greetedAt = Infinity;
  /** Aborted when the page need no longer be watched. */
  let ends: AbortController;

  /** How long the server asked to wait before the next attempt, in ms. */
  let after: number | undefined;

  return [start, stop, restart, send] as const;

  /** Connects, and keeps connected until `stop`. */
  function start(): void {
    if (isRunning) return;
    isRunning = true;
    failures = 0;
    ends = new AbortController();
    const handlers = {
      online: wake,
      visibilitychange: () => isHidden() || wake(),
      // The browser may be wrong, as on the machine that the server is on. An attempt that fails says that it is not.
      offline: wake,
      // Maybe for the browser's back/forward cache, which takes no page with an open connection.
      pagehide() {
        down(CUT, '');
        clearTimeout(retry);
      },
      pageshow: ({ persisted }: PageTransitionEvent) => persisted && open(),
    };
    watchPage(handlers, ends.signal);
    open();
  }

  /** Ends it for good, until the next `start`. */
  function stop(reason: string, code?: number): void {
    if (!isRunning) return;
    isRunning = false;
    ends.abort();
    drop();
    changed({ status: 'closed', reason, code });
  }

  /** Leaves this connection for a new one. */
  function restart(wait = 0): void {
    if (isRunning) down(CUT, '', wait);
  }

  /** Whether it could be handed to the network; it may be lost there. */
  function send(type: string, data?: unknown): boolean {
    if (socket?.readyState !== OPEN) return false;
    socket.send(JSON.stringify({ type, data }));
    return true;
  }

  async function open(): Promise<void> {
    const mine = drop();
    after = undefined;
    changed({ status: 'connecting', reason: '' });
    // What is started and stopped at once, as React's StrictMode does, makes no connection.
    await undefined;
    if (mine !== turn) return;
    const protocols = await offer().catch((error) => {
      if (mine === turn) down(UNAUTHORIZED, noToken(error));
    });
    // Another one also after a fault.
    if (mine !== turn) return;
    ring(CONNECT_MS, leave);
    const { url = '/api/ws' } = options;
    try {
      const address = new URL(url, globalThis.location?.href);
      // ws for http, wss for https.
      address.protocol = address.protocol.replace('http', 'ws');
      socket = new (options.WebSocket ?? WebSocket)(address.href, protocols as string[]);
    } catch (error) {
      return stop(`there is no way to ${url}: ${sentence(error)}`);
    }
    socket.onmessage = ({ data }) => {
      if (mine !== turn) return;
      const message = JSON.parse(data);
      // Browsers answer the server's pings unseen, so the line is listened to here.
      if (message.type === 'welcome') {
        greetedAt = Date.now();
        pingMs = message.data.pingInterval;
      }
      if (message.type === 'reconnect') after = message.data.after;
      ring(pingMs, probe);
      receive(message);
    };
    socket.onclose = ({ code, reason }) => {
      if (mine === turn) down(code, reason || 'the connection was lost');
    };
    // A close follows.
    socket.onerror = () => {};
  }

  /** The page is looked at again, or the network is another one: now is a good moment to try. */
  function wake(): void {
    // What the server asked for is waited for: it spreads its clients.
    if (retry && after === undefined) open();
    else probe();
  }

  /** Asks for a sign of life, if there is a connection. Whatever comes is one. */
  function probe(): void {
    if (send('ping')) ring(ANSWER_MS, leave);
  }

  function leave(): void {
    down(CUT, 'the server does not answer');
  }

  /** Forgets the connection, whatever state it is in. Returns the turn that begins. */
  function drop(): number {
    turn++;
    clearTimeout(retry);
    clearTimeout(alarm);
    socket?.close(1000);
    retry = socket = undefined;
    return turn;
  }

  function down(code: number, reason: string, ms = after): void {
    const mine = drop();
    if (Date.now() - greetedAt > STEADY_MS) failures = 0;
    greetedAt = Infinity;
    const isOver = lost(code, reason);
    // Who is told of it may have ended it, or begun anew.
    if (mine !== turn) return;
    if (isOver) return stop(reason, code);
    const offline = isOffline();
    // Where nobody looks, or there seems to be no network, there is no hurry.
    ms ??= Math.random() * (offline || isHidden() ? BACKOFF_MAX_MS : Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** failures++));
    retry = setTimeout(open, ms);
    changed({ status: offline ? 'offline' : 'waiting', reason, code, retryIn: ms });
  }

  /** One alarm at a time. */
  function ring(ms: number, then: () => void): void {
    clearTimeout(alarm);
    alarm = setTimeout(then, ms);
  }
}

/** What went wrong, in words: anything can be thrown, and an object may have none. */
export const sentence = (error: any): string => error?.message || (Object(error) !== error && error) || 'no reason was given';

export const noToken = (error: unknown) => `there is no token: ${sentence(error)}`;
