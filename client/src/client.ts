// The client: what a page wants to see, who it is, and where it goes on after a lost connection.
// The line itself is `link.ts`'s.

import type { EventType, Namespace, ShopEvent } from './generated/events.js';
import { newLink, noToken, UNAUTHORIZED } from './link.js';
import { newListeners, patternsOf } from './listeners.js';
import { newOutbox } from './outbox.js';
import { numberOf } from './numbers.js';
import type { Client, ConnectionState, Identity, ListenOptions, Problem, Publishable, ShopwireOptions, Subscribed, TokenSource, Want } from './types.js';
import { keyOf, lastsOf, sumOf, typesIn, typesOf } from './wants.js';

const PROTOCOL = 'shopwire.v1';
/** Close codes after which the same client would only be closed again: it broke the protocol, was disconnected by the operator, or flooded. */
const FOR_GOOD = [1002, 1003, 1007, 1009, 4403, 4429];
/** How many published events may wait. */
const QUEUE_LIMIT = 50;
/** How long a token function may take. */
const TOKEN_MS = 15_000;
/** The wait before a token function that failed is asked again on the same connection; doubles each time. */
const ASK_AGAIN_MS = 2_000;
/** Header, payload and signature in base64url. Anything else would never reach the server's judgement. */
const JWT = /^[\w-]+(\.[\w-]+){2}$/;

/** The server's code for a message at fault, and not its sender. */
const INVALID = 'invalid_message';
/** How many of a namespace's newest events are kept: as many as one `last` can bring. */
const KEPT = 1000;

/** Before anything was begun, and on a server that renders pages. */
export const IDLE: ConnectionState = { status: 'idle', reason: '' };

/** One connection to a shopwire server, kept up until `close`. */
export interface ShopwireClient extends Client {}
export class ShopwireClient {
  constructor(options: ShopwireOptions = {}) {
    connectClient(this, options);
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** A `subscribe` that was sent. */
interface Asked {
  namespaces: Namespace[];
  /** All types that anybody narrows to; of those, the message names the ones of its namespaces. */
  events: readonly EventType[] | undefined;
  since?: string;
  /** How many old events were asked for. */
  last?: number;
  /** Only asks whether a want, this one, is allowed. */
  probe?: string;
  /** Each want in it was found to be allowed. */
  isProbed?: boolean;
}

/** Makes `client` one. All that it knows is in here, out of the page's reach. */
function connectClient(client: Mutable<Client>, options: ShopwireOptions): void {
  let { token } = options;
  const [listen, call, dispatch] = newListeners();
  const wants = new Set<Want>();

  // Of this connection.
  let isWelcomed = false;
  /** Whether a subscription may be asked for. */
  let isReady = false;
  /** Whether what comes counts. Before that it answers probes. */
  let isLive = false;
  /** The token that was shown last. */
  let shown: string | undefined;
  /** What was sent and is not answered. Answers keep the order of the questions. */
  let asked: Asked[] = [];
  /** What has been asked for, to compare with what is wanted. */
  let askedFor = '';
  let isProbed = false;
  /** The page gave another token; if this connection does not take it, because it is another user's, a new one shall. */
  let isSwapping = false;
  /** Gives a token function up, or asks it again. */
  let again: ReturnType<typeof setTimeout> | undefined;

  // Of this user.
  /** Namespaces that were refused, and by their keys the parts of wants that were. */
  let denied = new Set<string>();
  /**
   * Namespaces that are wanted and were subscribed to ever since, and the number of the newest event that came of each: their past is no
   * longer asked for, and what has no higher number came before.
   */
  let begun: { [name: string]: number } = {};
  /** Behind which event a new connection goes on. */
  let place: string | undefined;
  /** The newest events that came of each namespace, oldest first: what a part of a page that is mounted later begins with. */
  let recent: { [name: string]: ShopEvent[] } = {};
  /** What the server narrows to. */
  let narrowed: Want['events'];
  /** Those that came while only some types of their namespace did: another one may have said something newer. */
  let partial = new Set<ShopEvent>();
  /** Events that wait for the next frame. */
  let frame: ShopEvent[] = [];

  // Beyond these.
  /** A token that is not worth showing again. */
  let refused: string | undefined;
  /** Shows the token in a message: a browser does not tell why a handshake was refused, but a message is answered. */
  let inMessage: unknown;
  /** Another user or role is here, and nobody was told yet to load anew. */
  let isAnother = false;
  let isSyncDue = false;

  const [start, stop, restart, send] = newLink(options, protocols, receive, lost, changed);
  const [publish, flush, pause, disown, belongTo] = newOutbox(
    // Not while a new token is being judged: it may be another user's.
    (type, data) => isLive && !isSwapping && send(type, data),
    (type) => tell({ code: 'not_sent', message: 'another user is here', request: type }),
  );

  changed(IDLE);
  Object.assign(client, {
    connect: start,

    close() {
      reset();
      stop('closed by the page');
    },

    setToken(next: TokenSource) {
      const isNew = next !== token;
      token = next;
      if (isNew) disown();
      if (next == null) become();
      if (client.status === 'closed' && client.state.code === UNAUTHORIZED) start();
      else if (isReady) {
        isSwapping = true;
        renew();
      } else if (isNew) restart();
    },

    on: listen,

    once: (name: string, handler: (...values: any[]) => void, options?: ListenOptions) => listen(name, handler, options, true),

    recent: (pattern: string, isWhole?: boolean) => seen().filter((event) => patternsOf(event).includes(pattern) && !(isWhole && isPartial(event))),

    subscribe(want: Want) {
      const { namespaces, events = [] } = want;
      const own = { ...want };
      wants.add(own);
      isProbed = false;
      syncSoon();
      if (typesIn(namespaces, events).length < events.length) tell({ code: INVALID, message: `not all in ${namespaces}: ${events}` });
      return () => {
        wants.delete(own);
        syncSoon();
      };
    },

    refresh() {
      askedFor = '';
      syncSoon();
    },

    publish(type: Publishable, data: object) {
      if (client.status === 'closed') return false;
      // The time it happened, not the time it could be sent.
      const dated = type === 'customer:activity' ? { timestamp: Date.now(), ...data } : data;
      const limit = options.queueLimit ?? QUEUE_LIMIT;
      const isTaken = publish(type, dated, limit);
      if (!isTaken) tell({ code: 'queue_full', message: `${limit} wait already`, request: type });
      return isTaken;
    },
  });
  if (options.namespaces) client.subscribe(options as Want);
  if (options.autoConnect !== false) start();

  function changed(state: ConnectionState): void {
    client.state = state;
    client.status = state.status;
    client.isConnected = isLive;
    // It goes on with the next connection that stands. A closed client leaves no timer behind.
    pause();
    call('status', state);
  }

  function tell(problem: Problem): void {
    // Whoever listens to no errors shall at least find them.
    if (!call('error', problem)) console.warn(`shopwire: ${problem.code}: ${problem.message}`);
  }

  // Who this is.

  async function protocols(): Promise<string[]> {
    shown = undefined;
    const given = await getToken();
    if (given && given === refused) throw new Error('it was refused');
    shown = given;
    return given && !inMessage ? [PROTOCOL, `token.${given}`] : [PROTOCOL];
  }

  async function getToken(): Promise<string | undefined> {
    // Called before there is a timer: it may throw.
    const answer = typeof token === 'function' ? token() : token;
    // Whoever asks now asks for all who asked before, on this connection or on one that is gone.
    clearTimeout(again);
    let timer: typeof again;
    const late = new Promise<never>((_, fail) => {
      again = timer = setTimeout(fail, TOKEN_MS, new Error('none came in time'));
    });
    const given = await Promise.race([answer, late]).finally(() => {
      clearTimeout(timer);
      // Was somebody else asked since, for this one too? Then what comes of this is of no use, and goes nowhere.
      return timer === again || new Promise(() => {});
    });
    if (given == null) return undefined;
    const text = String(given).trim();
    // It is not repeated: it may be half a secret.
    if (!JWT.test(text)) throw new Error('it is no JWT');
    return text;
  }

  /** Shows a new token on the connection there is. */
  async function renew(wait = ASK_AGAIN_MS): Promise<void> {
    try {
      const given = await getToken();
      if (!isWelcomed) return;
      if (given) {
        shown = given;
        send('auth', { token: given });
      } else if (isSwapping) restart();
    } catch (error) {
      tell({ code: 'no_token', message: noToken(error) });
      // The page said that the old one shall no longer be shown.
      if (isSwapping) restart();
      else if (isReady) again = setTimeout(renew, wait * (0.5 + Math.random()), 2 * wait);
    }
  }

  function begin(identity?: Identity): void {
    become(identity);
    belongTo(identity?.userId ?? '');
    isReady = true;
    sync();
  }

  /** Another user, or another role of the same one: what was seen may be what this one may not see. */
  function become(identity?: Identity): void {
    const before = client.identity;
    client.identity = identity;
    if (before?.userId === identity?.userId && before?.role === identity?.role) return;
    denied = new Set();
    isProbed = false;
    askedFor = '';
    // What the public saw everybody may see.
    if (!before) return;
    forget();
    frame = [];
    client.online = undefined;
    isAnother = true;
    call('identity', identity);
  }

  /** What was seen is no longer what there is. */
  function forget(): void {
    begun = {};
    place = undefined;
    recent = {};
  }

  // What the line says.

  function lost(code: number, reason: string): boolean {
    // What came is told before the loss, unless it may be another user who hears it.
    if (!isSwapping) flushFrame();
    // A handshake that was refused does not say why: the next attempt finds out.
    if (!isWelcomed) inMessage = !inMessage && shown;
    reset();
    if (code !== UNAUTHORIZED) return FOR_GOOD.includes(code);
    if (shown) refused = shown;
    else tell({ code: 'no_token', message: reason });
    return typeof token !== 'function';
  }

  /** Forgets what belongs to one connection. */
  function reset(): void {
    isWelcomed = isReady = isLive = isProbed = isSwapping = false;
    asked = [];
    askedFor = '';
    clearTimeout(again);
  }

  function receive(message: any): void {
    if (message.id) arrived(message);
    else said[message.type]?.(message.data);
  }

  function arrived(event: ShopEvent): void {
    const number = numberOf(event.id);
    // Not of a namespace that has begun, or a repeat.
    if (!isLive || !(number > begun[event.namespace]!)) return;
    begun[event.namespace] = number;
    moveTo(event.id);
    const its = (recent[event.namespace] ??= []);
    if (its.push(event) > KEPT) its.shift();
    if (frame.push(event) === 1) (options.batch ?? flushFrame)(flushFrame);
  }

  /** All up to here has come. What is older, such as the past of a namespace, does not lead back. */
  function moveTo(id: string): void {
    if (numberOf(place) <= numberOf(id)) place = id;
  }

  /** Tells them until a handler closes the client, which tells the rest when it goes on, or brings another user. */
  function flushFrame(): void {
    while (isLive && frame[0]) dispatch(frame.shift()!);
  }

  const said: Record<string, (data: any) => void> = {
    welcome() {
      isWelcomed = true;
      if (!shown) begin();
      else if (inMessage) send('auth', { token: shown });
    },

    authenticated(identity: Identity) {
      inMessage = isSwapping = false;
      refused = undefined;
      begin(identity);
      call('authenticated', identity);
    },

    'token:expiring'() {
      if (typeof token === 'function') renew();
    },

    subscribed(data: Subscribed) {
      const answered = asked.shift();
      if (answered && !answered.probe) {
        isProbed = false;
        // What came before a gap says nothing about how things stand.
        if (data.recovered === false) forget();
        for (const name of answered.namespaces) begun[name] ??= -1;
        // What was missed and what others miss is still to come: the place to go on from is the last one seen.
        if (answered.last ? !place : !data.recovered) moveTo(data.position);
        partial = new Set(seen().filter(isPartial));
        narrowed = answered.events;
        client.online = data.online ?? client.online;
        goLive(data);
      }
      sync();
    },

    error(problem: Problem) {
      if (problem.request === 'auth' && isSwapping) return restart();
      const failed = problem.request === 'subscribe' && asked.shift();
      if (!failed) return tell(problem);
      const { namespaces, probe } = failed;
      const isInvalid = problem.code === INVALID;
      askedFor = '';
      if (problem.retryAfter) {
        // Answers no longer tell what is subscribed to. A new connection does, when the server can bear it.
        tell(problem);
        restart(problem.retryAfter);
      } else if (!probe && !failed.isProbed && (namespaces[1] || isInvalid)) {
        // One want that is not allowed refuses the whole message: which one? Each is asked for once. Its past need not come for that.
        isProbed = true;
        for (const want of allowed()) {
          for (const name of want.namespaces) {
            const probe = keyOf(want, name);
            const isNew = namespaces.includes(name) && !asked.some((each) => each.probe === probe);
            if (isNew) ask({ namespaces: [name], events: want.events, last: isInvalid ? want.last : undefined, probe });
          }
        }
      } else {
        for (const name of namespaces) {
          if (!denied.has(name)) tell({ ...problem, namespace: name });
          // Who asks for what there is not takes nothing from others.
          denied.add((isInvalid && probe) || name);
        }
      }
      sync();
    },
  };

  // What is asked of the server.

  /** Without an answer: nothing is wanted. */
  function goLive(answer?: Subscribed): void {
    if (!isLive) {
      isLive = true;
      changed({ status: 'connected', reason: '' });
      flush();
    }
    // What came before the answer is told before it: that may be in what the answer says.
    flushFrame();
    if (answer) call('subscribed', answer);
    if (answer?.recovered === false || isAnother) {
      isAnother = false;
      call('gap', answer ?? { namespaces: [], position: '' });
    }
  }

  /** What is wanted, without what was refused. */
  function allowed(): Want[] {
    return [...wants].map((want) => ({
      ...want,
      namespaces: want.namespaces.filter((name) => !denied.has(name) && !denied.has(keyOf(want, name))),
    }));
  }

  function syncSoon(): void {
    // Parts of a page come and go together: one message for all of them.
    if (!isSyncDue) queueMicrotask(sync);
    isSyncDue = true;
  }

  /** Asks for what is wanted and not subscribed to, and no longer for what is not wanted. */
  function sync(): void {
    isSyncDue = false;
    if (!isReady || asked.length) return;
    const mine = allowed();
    const [names, events] = sumOf(mine);
    const wanted = `${names} ${events}`;
    if (wanted === askedFor) return;
    askedFor = wanted;
    // What came of a namespace or type says nothing about now when it is no longer seen, and is asked for anew when it is again.
    const gone = Object.keys(begun).filter((name) => !names.includes(name as Namespace) && delete recent[name] && delete begun[name]);
    if (!Object.keys(begun)[0]) place = undefined;
    for (const name in recent) recent[name] = recent[name]!.filter(({ type }) => events.includes(type) || !typesOf(name as Namespace, events)[0]);
    if (gone[0]) send('unsubscribe', { namespaces: gone });
    if (!names[0]) return goLive();

    // Those that begin with their past, once, and all others. The others come first, and also on a connection that has them already: then
    // the `position` of the answer is where this client stands, whatever is being replayed.
    const rest: Namespace[] = [];
    const pasts: Asked[] = [];
    for (const name of names) {
      const lasts = name in begun ? [] : lastsOf(mine, name, events);
      if (lasts[0]) pasts.push({ namespaces: [name], events, last: Math.max(...lasts) });
      else rest.push(name);
    }
    const since = isLive ? undefined : place;
    if (rest[0]) ask({ namespaces: rest, events, since });
    // Nothing may come before what was missed: the past is asked for when that is settled.
    if (since && pasts[0]) askedFor = '';
    else pasts.forEach(ask);
  }

  /** What came of all namespaces, in the order in which it happened. */
  function seen(): ShopEvent[] {
    return Object.values(recent)
      .flat()
      .sort((one, other) => numberOf(one.id) - numberOf(other.id));
  }

  /** Whether there may be something newer that did not come. */
  function isPartial(event: ShopEvent): unknown {
    return partial.has(event) || typesOf(event.namespace, narrowed)[0];
  }

  function ask(question: Asked): void {
    const { namespaces, since, last } = question;
    const events = typesIn(namespaces, question.events);
    question.isProbed = isProbed;
    asked.push(question);
    send('subscribe', { namespaces, events: events[0] && events, since, last });
  }
}
