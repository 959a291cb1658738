// The client: what a page wants to see, who it is, and where it goes on after a lost connection.
// The line itself is `link.ts`'s.

import { namespaceOf, type EventType, type Namespace, type ShopEvent } from './generated/events.js';
import { Link, sentence, UNAUTHORIZED } from './link.js';
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
/** How many events may wait, and how many of them go out at once: half of what a connection may send then. */
const QUEUE_LIMIT = 50;
/** Events collected for a frame are handed on after so long where no frame is drawn, as in a hidden page. */
const NO_FRAME_MS = 100;
/** How long a token function may take. */
const TOKEN_MS = 15_000;
/** The wait before a token function that failed is asked again on the same connection; doubles each time. */
const ASK_AGAIN_MS = 2_000;
/** Beyond what a connection may send at once, one queued event goes out in this time: below the server's rate. */
const PACE_MS = 1_000;
/** Header, payload and signature in base64url. Anything else would never reach the server's judgement. */
const JWT = /^[\w-]+(\.[\w-]+){2}$/;

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
  /** Whose what is published now is: known when the server has said who this is. A token that is set may be another's. */
  #owner: { user?: string } = {};
  /** Published events that wait for a connection of their owner's. */
  #queue: [type: Publishable, data: unknown, owner: { user?: string }][] = [];
  /** Another user or role is here, and nobody was told yet to load anew. */
  #isAnother = false;
  #pace: ReturnType<typeof setTimeout> | undefined;
  #again: ReturnType<typeof setTimeout> | undefined;
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
    if (namespaces) this.subscribe({ namespaces, events, last });
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

  /** Shows another token from now on. `null` leaves the old user behind, and what it saw, at once. */
  setToken(token: TokenSource): void {
    const isNew = token !== this.#token;
    this.#token = token;
    if (isNew) this.#owner = {};
    if (token == null) this.#become(undefined);
    const { status, code } = this.#state;
    if (status === 'closed' && code === UNAUTHORIZED) this.connect();
    else if (this.#ready) {
      this.#isSwapping = true;
      this.#refresh();
    } else if (isNew) this.#link.restart();
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
    const stray = want.events?.find((type) => !want.namespaces.includes(namespaceOf(type)));
    // Later, so that also who has just made the client can listen.
    if (stray) queueMicrotask(() => this.#problem({ code: 'invalid_message', message: `${stray} is in none of the namespaces ${want.namespaces}`, request: 'subscribe' }));
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
   * False: the client is closed, or too many wait already, and this one was not taken. What waits is sent as the user it was published
   * by, or told to be `not_sent`. An event that is under way when the line is lost may be lost, too.
   */
  publish<T extends Publishable>(type: T, data: PublishData<T>): boolean {
    if (this.#state.status === 'closed') return false;
    // The time it happened, not the time it could be sent.
    const dated = type === 'customer:activity' ? { timestamp: Date.now(), ...data } : data;
    if (this.#mayPublish && !this.#queue.length && this.#link.send(type, dated)) return true;
    const limit = this.#options.queueLimit ?? QUEUE_LIMIT;
    if (this.#queue.length >= limit) {
      this.#problem({ code: 'queue_full', message: `${limit} events wait already; this one is not taken`, request: type });
      return false;
    }
    this.#queue.push([type, dated, this.#owner]);
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
    const given = typeof source === 'function' ? source() : source;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, fail) => {
      timer = setTimeout(() => fail(new Error(`none came within ${TOKEN_MS} ms`)), TOKEN_MS);
    });
    const token = await Promise.race([given, late]).finally(() => clearTimeout(timer));
    // Another one was set meanwhile.
    if (source !== this.#token) return this.#getToken();
    if (token == null) return undefined;
    const text = String(token).trim();
    // It is not repeated: it may be half a secret.
    if (!JWT.test(text)) throw new Error('what was given is no JWT');
    return text;
  }

  #lost(code: number, reason: string): string | undefined {
    // A handshake that was refused does not say why: the next attempt finds out.
    if (!this.#welcomed) this.#inMessage = !this.#inMessage && this.#shown !== undefined;
    this.#reset();
    if (code === UNAUTHORIZED) {
      if (this.#shown) this.#refused = this.#shown;
      else this.#problem({ code: 'no_token', message: reason });
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
    clearTimeout(this.#pace);
    clearTimeout(this.#again);
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
    this.#become(identity);
    const user = identity?.userId ?? '';
    this.#owner.user ??= user;
    if (this.#owner.user !== user) this.#owner = { user };
    this.#queue = this.#queue.filter(([request, , owner]) => {
      if (owner.user === user) return true;
      this.#problem({ code: 'not_sent', message: 'the user has changed before it could be sent', request });
      return false;
    });
    this.#ready = true;
    this.#flush(1);
    this.#sync();
  }

  /** Another user, or another role of the same one: what was seen may be what this one may not see. */
  #become(identity: Identity | undefined): void {
    const before = this.#identity;
    this.#identity = identity;
    if (before?.userId === identity?.userId && before?.role === identity?.role) return;
    this.#denied.clear();
    this.#probed = false;
    this.#askedFor = '';
    // What the public saw everybody may see.
    if (!before) return;
    this.#recent = new Recent();
    this.#frame = [];
    this.#begun.clear();
    this.#place = new Place();
    this.#online = undefined;
    this.#isAnother = true;
    this.#listeners.call('identity', identity);
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
    this.#goLive(data);
  }

  #goLive(data?: Subscribed): void {
    if (!this.#live) {
      this.#live = true;
      this.#changed({ status: 'connected', reason: '' });
      this.#flush(QUEUE_LIMIT);
    }
    // What came before the answer is told before it: that may be in what the answer says.
    this.#flushFrame();
    if (data) this.#listeners.call('subscribed', data);
    if (data?.recovered !== false && !this.#isAnother) return;
    this.#isAnother = false;
    this.#listeners.call('gap', data ?? { namespaces: [], position: '' });
  }

  /** Not while a new token is being judged: it may be another user's. */
  get #mayPublish(): boolean {
    return this.#live && !this.#isSwapping;
  }

  /** Sends so many of those that wait, and the others one by one. */
  #flush(count: number): void {
    clearTimeout(this.#pace);
    if (!this.#mayPublish) return;
    while (count-- > 0 && this.#queue.length && this.#link.send(this.#queue[0]![0], this.#queue[0]![1])) this.#queue.shift();
    if (this.#queue.length) this.#pace = setTimeout(() => this.#flush(1), PACE_MS);
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
      this.#flushFrame();
    };
    const timer = setTimeout(flush, NO_FRAME_MS);
    if (typeof requestAnimationFrame === 'function') requestAnimationFrame(flush);
  }

  #flushFrame(): void {
    for (const each of this.#frame.splice(0)) this.#listeners.dispatch(each);
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
  async #refresh(wait = ASK_AGAIN_MS): Promise<void> {
    try {
      const token = await this.#getToken();
      if (!this.#welcomed) return;
      if (token) {
        this.#shown = token;
        this.#link.send('auth', { token });
      } else if (this.#isSwapping) this.#link.restart();
    } catch (error) {
      this.#problem({ code: 'no_token', message: `there is no token: ${sentence(error)}` });
      // The page said that the old one shall no longer be shown.
      if (this.#isSwapping) this.#link.restart();
      else if (this.#ready) this.#again = setTimeout(() => this.#refresh(2 * wait), wait * (0.5 + Math.random()));
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
