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
/** How often a line is listened to if the server names no interval. */
const PING_MS = 30_000;
/** A WebSocket's state in which it can send. */
const OPEN = 1;
/** The code for an end without a close frame. */
const CUT = 1006;
/** The code where there is no token to show. */
export const UNAUTHORIZED = 4401;

export interface LinkHost {
  /** The sub-protocols to offer, within a time of the host's own. Thrown errors count as a failed attempt. */
  protocols(): Promise<string[]>;
  /** A message has come. */
  receive(message: any): void;
  /** The connection is gone. Returns a sentence if no other attempt is to be made. */
  lost(code: number, reason: string): string | undefined;
  /** The state of the line changed. */
  changed(state: ConnectionState): void;
}

export class Link {
  /** How long the server asked to wait before the next attempt, in ms. */
  after: number | undefined;
  #host: LinkHost;
  #options: ShopwireOptions;
  #running = false;
  /** Counts what was begun, so that what is late finds that it is. */
  #turn = 0;
  #socket: WebSocketLike | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #alarm: ReturnType<typeof setTimeout> | undefined;
  #messages = 0;
  #pingMs = PING_MS;
  #failures = 0;
  #listeningSince = 0;
  #unwatch = () => {};

  constructor(options: ShopwireOptions, host: LinkHost) {
    this.#options = options;
    this.#host = host;
  }

  /** Connects, and keeps connected until `stop`. */
  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#failures = 0;
    this.#unwatch = watchPage({
      wake: () => this.#wake(),
      offline: () => (this.#retry ? this.#wait('there is no network') : this.#probe()),
      suspend: () => {
        this.#drop();
        this.#host.lost(CUT, '');
        this.#host.changed({ status: 'waiting', reason: 'the page was left' });
      },
      resume: () => this.#soon(),
    });
    this.#soon();
  }

  /** Ends it for good, until the next `start`. */
  stop(reason: string, code?: number): void {
    if (!this.#running) return;
    this.#running = false;
    this.#unwatch();
    this.#drop();
    this.#host.changed({ status: 'closed', reason, code });
  }

  /** Leaves this connection for a new one. */
  restart(wait = 0): void {
    if (this.#running) this.#down(CUT, '', wait);
  }

  /** Whether it could be handed to the network; it may be lost there. */
  send(type: string, data?: unknown): boolean {
    if (this.#socket?.readyState !== OPEN) return false;
    this.#socket.send(JSON.stringify({ type, data }));
    return true;
  }

  /** The server has greeted, and pings every `pingMs`. Browsers answer that unseen, so the line is listened to here. */
  listen(pingMs = this.#pingMs): void {
    this.#pingMs = pingMs || PING_MS;
    this.#listeningSince ||= Date.now();
    const before = this.#messages;
    this.#setAlarm(this.#pingMs / 2, () => (before === this.#messages ? this.#probe() : this.listen()));
  }

  /** Asks for a sign of life, if there is a connection. */
  #probe(): void {
    const before = this.#messages;
    if (!this.send('ping')) return;
    this.#setAlarm(ANSWER_MS, () => (before === this.#messages ? this.#silent() : this.listen()));
  }

  #silent(): void {
    this.#down(CUT, 'the server does not answer');
  }

  /** In a microtask: what is started and stopped at once, as React's StrictMode does, makes no connection. */
  #soon(): void {
    this.#drop();
    this.after = undefined;
    const turn = this.#turn;
    this.#host.changed({ status: 'connecting', reason: '' });
    queueMicrotask(() => turn === this.#turn && this.#open(turn));
  }

  async #open(turn: number): Promise<void> {
    let protocols: string[];
    try {
      protocols = await this.#host.protocols();
    } catch (error) {
      if (turn === this.#turn) this.#down(UNAUTHORIZED, `there is no token: ${sentence(error)}`);
      return;
    }
    if (turn !== this.#turn) return;
    this.#setAlarm(CONNECT_MS, () => this.#silent());
    let socket: WebSocketLike;
    try {
      socket = this.#connect(protocols);
    } catch (error) {
      return this.stop(sentence(error));
    }
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      if (turn !== this.#turn) return;
      this.#messages++;
      this.#host.receive(JSON.parse(data));
    };
    socket.onclose = ({ code, reason }) => {
      if (turn === this.#turn) this.#down(code, reason || 'the connection was lost');
    };
    // A close follows.
    socket.onerror = () => {};
  }

  #connect(protocols: string[]): WebSocketLike {
    const given = this.#options.url ?? '/api/ws';
    const Socket = this.#options.WebSocket ?? globalThis.WebSocket;
    if (!Socket) throw new Error('there is no WebSocket here: give one as an option');
    let url: URL;
    try {
      url = new URL(given, globalThis.location?.href);
      // ws for http, wss for https.
      url.protocol = url.protocol.replace('http', 'ws');
    } catch {
      throw new Error(`${given} is no url like wss://shop.example/api/ws and no path`);
    }
    return new Socket(url.href, protocols);
  }

  /** Forgets the connection, whatever state it is in. */
  #drop(): void {
    this.#turn++;
    clearTimeout(this.#retry);
    clearTimeout(this.#alarm);
    this.#retry = undefined;
    this.#socket?.close(1000);
    this.#socket = undefined;
  }

  #down(code: number, reason: string, wait?: number): void {
    this.#drop();
    if (this.#listeningSince && Date.now() - this.#listeningSince > STEADY_MS) this.#failures = 0;
    this.#listeningSince = 0;
    const end = this.#host.lost(code, reason);
    if (end) this.stop(end, code);
    else this.#wait(reason, code, wait);
  }

  #wait(reason: string, code?: number, wait = this.after): void {
    clearTimeout(this.#retry);
    const offline = isOffline();
    if (wait === undefined) {
      // Where nobody looks, or there seems to be no network, there is no hurry.
      const bound = offline || isHidden() ? BACKOFF_MAX_MS : Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** this.#failures);
      this.#failures++;
      wait = Math.random() * bound;
    }
    this.#retry = setTimeout(() => this.#soon(), wait);
    this.#host.changed({ status: offline ? 'offline' : 'waiting', reason, code, retryIn: wait });
  }

  #wake(): void {
    // What the server asked for is waited for: it spreads its clients.
    if (this.#retry && this.after === undefined) this.#soon();
    else this.#probe();
  }

  #setAlarm(ms: number, ring: () => void): void {
    clearTimeout(this.#alarm);
    this.#alarm = setTimeout(ring, ms);
  }
}

export const sentence = (error: unknown) => (error instanceof Error ? error.message : String(error));
