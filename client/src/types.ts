// The words that the client's modules share: what is listened to, what is told, what may be set.

import type { EventData, EventType, Namespace, Role, ShopEvent } from './generated/events.js';

type Word<T> = T extends `${infer First}:${string}` ? First : never;

/** What events are listened to: one type, all of a kind (`order:*`), or all. */
export type Pattern = EventType | `${Word<EventType>}:*` | '*';

/** The event types that a pattern stands for. */
export type Matching<P extends Pattern> = P extends EventType
  ? P
  : P extends `${infer First}:*`
    ? Extract<EventType, `${First}:${string}`>
    : EventType;

/** Called with an event's data, and with the event for whoever needs more of it. */
export type EventHandler<P extends Pattern> = (
  data: EventData[Matching<P>],
  event: ShopEvent<Matching<P>>,
) => void;

/** Where the connection stands. */
export type Status =
  /** Nothing was begun. */
  | 'idle'
  /** A connection is being made. */
  | 'connecting'
  /** Events come. */
  | 'connected'
  /** The connection was lost; the next attempt is due in `retryIn`. */
  | 'waiting'
  /** Like waiting, and the browser says that there is no network. */
  | 'offline'
  /** It was closed, or lost for a reason that another attempt does not mend. `connect()` tries anew. */
  | 'closed';

/** Where the connection stands, and why. A new object for each change. */
export interface ConnectionState {
  status: Status;
  /** A sentence for people; empty while all is well. */
  reason: string;
  /** The WebSocket close code, where there was one; 4401 also where there is no token to show. */
  code?: number;
  /** Milliseconds from this change to the next attempt. */
  retryIn?: number;
}

/** Whom the server takes this connection for. */
export interface Identity {
  userId: string;
  role: Role;
  sessionId: string | null;
  /** When the token ends, in ms since 1970. */
  expiresAt: number;
}

/** What the server said to a subscription. */
export interface Subscribed {
  /** All namespaces subscribed to now. */
  namespaces: Namespace[];
  position: string;
  /** After a reconnect: whether everything missed follows. */
  recovered?: boolean;
  /** Customers online, where `customers` is subscribed to. */
  online?: number;
}

/** Something was refused or cannot be done. The connection stays. */
export interface Problem {
  /** One of the server's codes, or `no_token`, `queue_full`, `not_sent`. */
  code: string;
  /** A sentence for people. */
  message: string;
  /** The type of the message at fault. */
  request?: string;
  /** The field at fault. */
  field?: string;
  /** The namespace that is not to be had. */
  namespace?: Namespace;
  /** Milliseconds until it may be tried again. */
  retryAfter?: number;
}

/** What the client itself tells, beside events. */
export interface Signals {
  /** The connection's state changed. */
  status: ConnectionState;
  /**
   * What the page shows is no longer what it should show: load its state again. Some events are lost for good, or another user or role is here;
   * `namespaces` is empty if that one sees nothing.
   */
  gap: Subscribed;
  /**
   * Another user or role is here, or nobody: undefined. What was shown is to be taken away at once; a `gap` follows when new state can be
   * loaded. Not told for the first one, nor when the public signs in.
   */
  identity: Identity | undefined;
  /** A subscription was answered. Events come from here on. */
  subscribed: Subscribed;
  authenticated: Identity;
  error: Problem;
}

export interface ListenOptions {
  /** Ends the listening when it is aborted. */
  signal?: AbortSignal;
}

/** Namespaces that somebody wants to see. */
export interface Want {
  namespaces: readonly Namespace[];
  /** Narrows those namespaces it names types of to these types. */
  events?: readonly EventType[];
  /**
   * How many of each namespace's newest events that the server still keeps come first, 1 to 1000: what happens in one is not counted in
   * another. Heeded where the namespace is not subscribed to already. With `events`, beside others who want more types of the namespace,
   * these are looked for among ten times as many.
   */
  last?: number;
}

/** The events that a customer's page may publish about that customer. */
export type Publishable = 'customer:activity' | 'customer:viewing_product' | 'customer:added_to_cart';

type FilledIn = 'customerId' | 'timestamp';

/** An event's data, without what the server knows itself. */
export type PublishData<T extends Publishable> = {
  [K in keyof EventData[T] as K extends FilledIn ? never : K]: EventData[T][K];
} & { customerId?: string; timestamp?: number };

/** A token, or how to get one; `null` connects without. */
export type TokenSource = string | null | undefined | (() => string | null | undefined | Promise<string | null | undefined>);

export interface ShopwireOptions extends Partial<Want> {
  /** The server's address, `wss://shop.example/api/ws`; http(s) and a path on the page's own host are taken too. Default: `/api/ws`. */
  url?: string;
  /**
   * A function is asked again for each connection and before the token ends: it should return a fresh one, within 15 s. What is no JWT
   * counts as a failure.
   */
  token?: TokenSource;
  /** Whether to connect at once. Default: true. */
  autoConnect?: boolean;
  /**
   * Collect events, and call handlers when it says so: `perFrame` for once an animation frame. It is called with the first event and
   * calls back when all that came by then shall be handed on. Default: each event at once.
   */
  batch?: (handOn: () => void) => void;
  /** How many published events may wait for a connection. Default: 50. */
  queueLimit?: number;
  /** For runtimes without one of their own. */
  WebSocket?: new (url: string, protocols: string[]) => WebSocketLike;
}

/** What is needed of a WebSocket. */
export interface WebSocketLike {
  readonly readyState: number;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

/** One connection to a shopwire server. Its functions may be taken from it and handed on. */
export interface Client {
  /** Where the connection stands, and why. The same object until that changes. */
  readonly state: ConnectionState;
  readonly status: Status;
  readonly isConnected: boolean;
  /** Whom the server takes this connection for; undefined for the public. */
  readonly identity: Identity | undefined;
  /** Customers online, as the server told last. Presence events since then are not in it. */
  readonly online: number | undefined;

  /** Connects, unless that was done already. */
  connect(): void;
  /** Ends the connection. `connect` goes on where it stood. */
  close(): void;
  /** Shows another token from now on. `null` leaves the old user behind, and what it saw, at once. */
  setToken(token: TokenSource): void;

  /**
   * Listens to events: `on('order:created', (order, event) => …)`, `on('order:*', …)`, `on('*', …)`; or to what the
   * client itself tells: `on('gap', () => …)`. Returns how to stop. Handlers of one event are called in the order they were added.
   */
  on<P extends Pattern>(pattern: P, handler: EventHandler<P>, options?: ListenOptions): () => void;
  on<S extends keyof Signals>(signal: S, handler: (value: Signals[S]) => void, options?: ListenOptions): () => void;
  /** Like `on`, for one time. */
  once<P extends Pattern>(pattern: P, handler: EventHandler<P>, options?: ListenOptions): () => void;
  once<S extends keyof Signals>(signal: S, handler: (value: Signals[S]) => void, options?: ListenOptions): () => void;
  /**
   * The newest events that came, oldest first: at most a thousand of each namespace, and only of types that were wanted ever since.
   * `isWhole`: only those since which all of their namespace was wanted, so that nothing was said that did not come.
   */
  recent<P extends Pattern>(pattern: P, isWhole?: boolean): ShopEvent<Matching<P>>[];

  /** Wants to see namespaces, beside what others want. Returns how to stop; the last one to stop unsubscribes. */
  subscribe(want: Want): () => void;
  /** Asks for the subscription anew, which brings a new number of customers online. */
  refresh(): void;

  /**
   * Publishes an event of this customer. It is sent at once, or waits for a connection; the server says nothing if all is well.
   * False: the client is closed, or too many wait already, and this one was not taken. What waits is sent as the user it was published
   * by, or told to be `not_sent`. An event that is under way when the line is lost may be lost, too.
   */
  publish<T extends Publishable>(type: T, data: PublishData<T>): boolean;
}
