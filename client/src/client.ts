// The client: what a page wants to see, who it is, and where it goes on after a lost connection.
// The line itself is `link.ts`'s.

import { namespaceOf, type EventType, type Namespace, type ShopEvent } from './generated/events.js';
import { Link, sentence } from './link.js';
import { Listeners } from './listeners.js';
import { Place, type Asked } from './place.js';
import { Recent } from './recent.js';
import type {
  ConnectionState,
  EventHandler,
  Identity,
  ListenOptions,
  Matching,
  Pattern,
  Problem,
  Publishable,
  PublishData,
  ShopwireOptions,
  Signals,
  Status,
  Subscribed,
  TokenSource,
  Want,
} from './types.js';
import { Wants } from './wants.js';

const PROTOCOL = 'shopwire.v1';
/** Close codes after which the same client would only be closed again: it broke the protocol, was disconnected by the operator, or flooded. */
const FOR_GOOD = [1002, 1003, 1007, 1009, 4403, 4429];
/** The token was refused, or has ended. */
const UNAUTHORIZED = 4401;
/** Half of the messages that a connection may send at once: what waited must not be refused for coming together. */
const QUEUE_LIMIT = 50;
/** Events collected for a frame are handed on after so long where no frame is drawn, as in a hidden page. */
const NO_FRAME_MS = 100;

/** Before anything was begun, and on a server that renders pages. */
export const IDLE: ConnectionState = { status: 'idle', reason: '' };

/** One connection to a shopwire server, kept up until `close`. */
export class ShopwireClient {
  #link: Link;
  #options: ShopwireOptions;
  #token: TokenSource;
  #state = IDLE;
  #listeners = new Listeners();
  #recent = new Recent();
  #identity: Identity | undefined;

  // Of this connection.
  #welcomed = false;
  /** The token that was shown last. */
  #shown: string | undefined;
  /** Whether a subscription may be asked for. */
  #ready = false;
  /** Whether what comes counts. Before that it answers probes. */
  #live = false;
  #asked: Asked[] = [];
  /** What has been asked for, to compare with what is wanted. */
  #askedFor = '';
  #probed = false;
  #subscribedTo: Namespace[] = [];

  // Beyond it.
  #wants = new Wants();
  #syncDue = false;
  /** Namespaces that this user was refused. */
  #denied = new Set<Namespace>();
  /** Namespaces that were subscribed to once: their past is no longer asked for. */
  #begun = new Set<Namespace>();
  #place = new Place();
  #online: number | undefined;
  /** A token that is not worth showing again. */
  #refused: string | undefined;
  /** Shows the token in a message: a browser does not tell why a handshake was refused, but a message is answered. */
  #inMessage = false;
  /** The page gave another token; if this connection does not take it, because it is another user's, a new one shall. */
  #isSwapping = false;
  /** Published events that wait for a connection. */
  #queue: [type: Publishable, data: unknown][] = [];
  /** Events that wait for the next frame. */
  #frame: ShopEvent[] = [];

  constructor(options: ShopwireOptions = {}) {
    this.#options = options;
    this.#token = options.token;
    this.#link = new Link(options, {
      protocols: () => this.#protocols(),
      receive: (message) => this.#receive(message),
      lost: (code, reason) => this.#lost(code, reason),
      changed: (state) => this.#changed(state),
    });
    const { namespaces, events, last } = options;
    if (namespaces) this.#wants.add({ namespaces, events, last });
    if (options.autoConnect !== false) this.connect();
  }

  /** Where the connection stands, and why. The same object until that changes. */
  get state(): ConnectionState {
    return this.#state;
  }

  get status(): Status {
    return this.#state.status;
  }

  get isConnected(): boolean {
    return this.#live;
  }

  /** Whom the server takes this connection for; undefined for the public. */
  get identity(): Identity | undefined {
    return this.#identity;
  }

  /** Customers online, as the server told last. Presence events since then are not in it. */
  get online(): number | undefined {
    return this.#online;
  }

  /** Connects, unless that was done already. */
  connect(): void {
    this.#link.start();
  }

  /** Ends the connection. `connect` goes on where it stood. */
  close(): void {
    this.#reset();
    this.#link.stop('closed by the page');
  }

  /** Shows another token from now on. `null` leaves the old user behind. */
  setToken(token: TokenSource): void {
    this.#token = token;
    if (this.#state.code === UNAUTHORIZED) this.connect();
    else if (this.#welcomed) {
      this.#isSwapping = true;
      this.#refresh();
    }
  }

  /**
   * Listens to events: `on('order:created', (order, event) => …)`, `on('order:*', …)`, `on('*', …)`; or to what the
   * client itself tells: `on('gap', () => …)`. Returns how to stop. Handlers of one event are called in the order they were added.
   */
  on<P extends Pattern>(pattern: P, handler: EventHandler<P>, options?: ListenOptions): () => void;
  on<S extends keyof Signals>(signal: S, handler: (value: Signals[S]) => void, options?: ListenOptions): () => void;
  on(name: string, handler: (...values: any[]) => void, options?: ListenOptions): () => void {
    return this.#listeners.add(name, handler, options);
  }

  /** Like `on`, for one time. */
  once<P extends Pattern>(pattern: P, handler: EventHandler<P>, options?: ListenOptions): () => void;
  once<S extends keyof Signals>(signal: S, handler: (value: Signals[S]) => void, options?: ListenOptions): () => void;
  once(name: string, handler: (...values: any[]) => void, options?: ListenOptions): () => void {
    const undo = this.#listeners.add(
      name,
      (...values) => {
        undo();
        handler(...values);
      },
      options,
    );
    return undo;
  }

  /** The newest events that came, oldest first: at most a thousand of all types together. */
  recent<P extends Pattern>(pattern: P): ShopEvent<Matching<P>>[] {
    return this.#recent.list(pattern) as ShopEvent<Matching<P>>[];
  }

  /** Wants to see namespaces, beside what others want. Returns how to stop; the last one to stop unsubscribes. */
  subscribe(want: Want): () => void {
    const undo = this.#wants.add(want);
    this.#syncSoon();
    return () => {
      undo();
      this.#syncSoon();
    };
  }

  /** Asks for the subscription anew, which brings a new number of customers online. */
  refresh(): void {
    this.#askedFor = '';
    this.#syncSoon();
  }

  /**
   * Publishes an event of this customer. It is sent at once, or waits for a connection; the server says nothing if all is well.
   * False: too many wait already, and this one was not taken. An event that is under way when the line is lost may be lost, too.
   */
  publish<T extends Publishable>(type: T, data: PublishData<T>): boolean {
    // The time it happened, not the time it could be sent.
    const dated = type === 'customer:activity' ? { timestamp: Date.now(), ...data } : data;
    if (this.#live && this.#link.send(type, dated)) return true;
    const limit = this.#options.queueLimit ?? QUEUE_LIMIT;
    if (this.#queue.length >= limit) {
      this.#problem({ code: 'queue_full', message: `${limit} events wait already; this one is not taken`, request: type });
      return false;
    }
    this.#queue.push([type, dated]);
    return true;
  }

  // The line's questions.

  async #protocols(): Promise<string[]> {
    this.#shown = undefined;
    const token = await this.#getToken();
    if (token && token === this.#refused) throw new Error('the server refused the one there is');
    this.#shown = token;
    return token && !this.#inMessage ? [PROTOCOL, `token.${token}`] : [PROTOCOL];
  }

  async #getToken(): Promise<string | undefined> {
    const source = this.#token;
    return (await (typeof source === 'function' ? source() : source)) || undefined;
  }

  #lost(code: number, reason: string): string | undefined {
    // A handshake that was refused does not say why: the next attempt finds out.
    if (!this.#welcomed) this.#inMessage = !this.#inMessage && this.#shown !== undefined;
    this.#reset();
    if (code === UNAUTHORIZED) {
      this.#refused = this.#shown;
      if (typeof this.#token !== 'function') return reason;
    }
    return FOR_GOOD.includes(code) ? reason : undefined;
  }

  /** Forgets what belongs to one connection. */
  #reset(): void {
    this.#welcomed = this.#ready = this.#live = this.#probed = this.#isSwapping = false;
    this.#asked = [];
    this.#askedFor = '';
    this.#subscribedTo = [];
    this.#place.lose();
  }

  #changed(state: ConnectionState): void {
    this.#state = state;
    this.#listeners.call('status', state);
  }

  #problem(problem: Problem): void {
    // Whoever listens to no errors shall at least find them.
    if (!this.#listeners.call('error', problem)) console.warn(`shopwire: ${problem.code}: ${problem.message}`);
  }

  // What the server says.

  #receive(message: any): void {
    const { type, data } = message;
    if (message.id) this.#event(message);
    else if (type === 'welcome') this.#welcome(data);
    else if (type === 'authenticated') this.#authenticated(data);
    else if (type === 'subscribed') this.#subscribed(data);
    else if (type === 'unsubscribed') this.#subscribedTo = data.namespaces;
    else if (type === 'error') this.#error(data);
    else if (type === 'reconnect') this.#link.after = data.after;
    else if (type === 'token:expiring' && typeof this.#token === 'function') this.#refresh();
  }

  #welcome(data: { pingInterval: number }): void {
    this.#welcomed = true;
    this.#link.listen(data.pingInterval);
    if (!this.#shown) this.#begin(undefined);
    else if (this.#inMessage) this.#link.send('auth', { token: this.#shown });
  }

  #authenticated(identity: Identity): void {
    this.#inMessage = this.#isSwapping = false;
    this.#refused = undefined;
    this.#begin(identity);
    this.#listeners.call('authenticated', identity);
  }

  #begin(identity: Identity | undefined): void {
    const before = this.#identity;
    this.#identity = identity;
    if (before?.role !== identity?.role) {
      this.#denied.clear();
      this.#probed = false;
      this.#askedFor = '';
    }
    // One user's events are not another's, nor is what it had to say.
    if (before && before.userId !== identity?.userId) {
      this.#queue = [];
      this.#recent = new Recent();
      this.#begun.clear();
      this.#place = new Place();
    }
    this.#ready = true;
    this.#sync();
  }

  #subscribed(data: Subscribed): void {
    this.#subscribedTo = data.namespaces;
    const asked = this.#asked.shift();
    // One that was to follow another counts only if that one was not refused.
    if (asked && !asked.isProbe && (asked.isFirst || this.#live)) this.#settle(asked, data);
    this.#sync();
  }

  #settle(asked: Asked, data: Subscribed): void {
    this.#probed = false;
    for (const name of asked.names) this.#begun.add(name);
    this.#place.settle(asked, data);
    this.#online = data.online ?? this.#online;
    // What came before a gap says nothing about how things stand.
    if (data.recovered === false) this.#recent.forget();
    this.#goLive();
    this.#listeners.call('subscribed', data);
    if (data.recovered === false) this.#listeners.call('gap', data);
  }

  #goLive(): void {
    if (this.#live) return;
    this.#live = true;
    this.#changed({ status: 'connected', reason: '' });
    while (this.#queue.length && this.#link.send(...this.#queue[0]!)) this.#queue.shift();
  }

  #event(event: ShopEvent): void {
    if (!this.#live) return;
    this.#place.moveTo(event);
    if (!this.#recent.add(event)) return;
    if (this.#options.batch) this.#collect(event);
    else this.#listeners.dispatch(event);
  }

  #collect(event: ShopEvent): void {
    if (this.#frame.push(event) > 1) return;
    const flush = () => {
      clearTimeout(timer);
      for (const each of this.#frame.splice(0)) this.#listeners.dispatch(each);
    };
    const timer = setTimeout(flush, NO_FRAME_MS);
    if (typeof requestAnimationFrame === 'function') requestAnimationFrame(flush);
  }

  #error(problem: Problem): void {
    if (problem.request === 'auth' && this.#isSwapping) return this.#link.restart();
    const asked = problem.request === 'subscribe' && this.#asked.shift();
    if (!asked) return this.#problem(problem);
    this.#askedFor = '';
    if (problem.retryAfter) {
      // Answers no longer tell what is subscribed to. A new connection does, when the server can bear it.
      this.#problem(problem);
      this.#link.restart(problem.retryAfter);
    } else if (asked.names.length > 1 && !asked.isProbed) {
      // One name that is not allowed refuses the whole message: which one?
      this.#probed = true;
      for (const name of asked.names) this.#ask({ names: [name], isProbe: true });
    } else {
      for (const name of asked.names) {
        this.#denied.add(name);
        this.#problem({ ...problem, namespace: name });
      }
    }
    this.#sync();
  }

  /** Shows a new token on the connection there is. */
  async #refresh(): Promise<void> {
    try {
      const token = await this.#getToken();
      if (!this.#welcomed) return;
      if (token) {
        this.#shown = token;
        this.#link.send('auth', { token });
      } else if (this.#isSwapping) this.#link.restart();
    } catch (error) {
      this.#problem({ code: 'no_token', message: `there is no token: ${sentence(error)}` });
    }
  }

  // What is asked of the server.

  #syncSoon(): void {
    if (this.#syncDue) return;
    this.#syncDue = true;
    // Parts of a page come and go together: one message for all of them.
    queueMicrotask(() => {
      this.#syncDue = false;
      this.#sync();
    });
  }

  /** Asks for what is wanted and not subscribed to, and no longer for what is not wanted. */
  #sync(): void {
    if (!this.#ready || this.#asked.length) return;
    const { names, events, last } = this.#wants.sum(this.#denied);
    const wanted = `${names} ${events}`;
    if (wanted === this.#askedFor) return;
    this.#askedFor = wanted;
    const gone = this.#subscribedTo.filter((name) => !names.includes(name));
    if (gone.length) this.#link.send('unsubscribe', { namespaces: gone });
    if (!names.length) return this.#goLive();

    // Those that begin with their past, once; those that go on from a place of their own; and all others. The others come first, and
    // also on a connection that has them already: then the `position` of the answer is where this client stands, whatever is being replayed.
    const place = this.#place;
    const since = this.#live ? undefined : place.since;
    const isFresh = (name: Namespace) => last.has(name) && !this.#begun.has(name);
    const isApart = (name: Namespace) => since !== undefined && place.apart?.names.includes(name) === true;
    const fresh = names.filter(isFresh);
    const apart = names.filter(isApart);
    const rest = names.filter((name) => !isFresh(name) && !isApart(name));
    if (rest.length) this.#ask({ names: rest, since, isFirst: true }, events);
    if (apart.length) this.#ask({ names: apart, since: place.apart!.since, isApart: true, isFirst: !rest.length }, events);
    if (!fresh.length) return;
    if (since !== undefined && fresh.length < names.length) {
      // Nothing may come before what was missed: they are asked for when that is settled.
      this.#askedFor = '';
      return;
    }
    const count = Math.max(...fresh.map((name) => last.get(name)!));
    this.#ask({ names: fresh, last: count, isFirst: !rest.length }, events);
  }

  #ask(asked: Asked, events: EventType[] = []): void {
    const { names, since, last } = asked;
    const some = events.filter((type) => names.includes(namespaceOf(type)));
    this.#asked.push({ ...asked, isProbed: this.#probed });
    this.#link.send('subscribe', { namespaces: names, events: some.length ? some : undefined, since, last });
  }
}
