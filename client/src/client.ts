// The client: what a page wants to see, who it is, and where it goes on after a lost connection.
// The line itself is `link.ts`'s.

import type { Namespace, ShopEvent } from './generated/events.js';
import { newLink, noToken, UNAUTHORIZED } from './link.js';
import { newListeners } from './listeners.js';
import { newOutbox } from './outbox.js';
import { moveTo, settlePlace, type Asked, type Place } from './place.js';
import { newRecent } from './recent.js';
import type { Client, ConnectionState, Identity, ListenOptions, Problem, Publishable, ShopwireOptions, Subscribed, TokenSource, Want } from './types.js';
import { lastOf, pastsOf, sumOf, typesIn } from './wants.js';

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

/** Makes `client` one. All that it knows is in here, out of the page's reach. */
function connectClient(client: Mutable<Client>, options: ShopwireOptions): void {
  let { token } = options;
  const listeners = newListeners();
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
  let again: ReturnType<typeof setTimeout> | undefined;

  // Of this user.
  /** Namespaces that were refused, and by what code. */
  let denied = new Map<Namespace, string>();
  /** Namespaces that are wanted and were subscribed to ever since: their past is no longer asked for. */
  let begun = new Set<Namespace>();
  let place: Place = {};
  let recent = newRecent();
  /** Events that wait for the next frame. */
  let frame: ShopEvent[] = [];

  // Beyond these.
  /** A token that is not worth showing again. */
  let refused: string | undefined;
  /** Shows the token in a message: a browser does not tell why a handshake was refused, but a message is answered. */
  let inMessage = false;
  /** Another user or role is here, and nobody was told yet to load anew. */
  let isAnother = false;
  let isSyncDue = false;

  const link = newLink(options, protocols, receive, lost, changed);
  const outbox = newOutbox(
    // Not while a new token is being judged: it may be another user's.
    (type, data) => isLive && !isSwapping && link.send(type, data),
    (type) => tell({ code: 'not_sent', message: 'another user is here', request: type }),
  );

  changed(IDLE);
  Object.assign(client, {
    connect: link.start,

    close() {
      reset();
      link.stop('closed by the page');
    },

    setToken(next: TokenSource) {
      const isNew = next !== token;
      token = next;
      if (isNew) outbox.disown();
      if (next == null) become(undefined);
      const { status, code } = client.state;
      if (status === 'closed' && code === UNAUTHORIZED) link.start();
      else if (isReady) {
        isSwapping = true;
        renew();
      } else if (isNew) link.restart();
    },

    on: listeners.add,

    once(name: string, handler: (...values: any[]) => void, options?: ListenOptions) {
      const once = (...values: any[]) => {
        undo();
        handler(...values);
      };
      const undo = listeners.add(name, once, options);
      return undo;
    },

    recent: (pattern: string) => recent.list(pattern),

    subscribe(want: Want) {
      const own = { ...want };
      const { namespaces, events = [] } = want;
      const resync = () => {
        // What is at fault may be one of these wants, and then is so no longer.
        for (const name of namespaces) if (denied.get(name) === INVALID) denied.delete(name);
        syncSoon();
      };
      wants.add(own);
      resync();
      if (typesIn(namespaces, events).length < events.length) tell({ code: INVALID, message: `not all in ${namespaces}: ${events}` });
      return () => {
        wants.delete(own);
        resync();
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
      const isTaken = outbox.add(type, dated, limit);
      if (!isTaken) tell({ code: 'queue_full', message: `${limit} wait already`, request: type });
      return isTaken;
    },
  });
  if (options.namespaces) client.subscribe(options as Want);
  if (options.autoConnect !== false) link.start();

  function changed(state: ConnectionState): void {
    client.state = state;
    client.status = state.status;
    client.isConnected = isLive;
    // It goes on with the next connection that stands. A closed client leaves no timer behind.
    outbox.pause();
    listeners.call('status', state);
  }

  function tell(problem: Problem): void {
    // Whoever listens to no errors shall at least find them.
    if (!listeners.call('error', problem)) console.warn(`shopwire: ${problem.code}: ${problem.message}`);
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
    const source = token;
    // Called before there is a timer: it may throw.
    const answer = typeof source === 'function' ? source() : source;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, fail) => {
      timer = setTimeout(() => fail(new Error('none came in time')), TOKEN_MS);
    });
    const given = await Promise.race([answer, late]).finally(() => clearTimeout(timer));
    // Another one was set meanwhile.
    if (source !== token) return getToken();
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
        link.send('auth', { token: given });
      } else if (isSwapping) link.restart();
    } catch (error) {
      tell({ code: 'no_token', message: noToken(error) });
      // The page said that the old one shall no longer be shown.
      if (isSwapping) link.restart();
      else if (isReady) again = setTimeout(renew, wait * (0.5 + Math.random()), 2 * wait);
    }
  }

  function begin(identity?: Identity): void {
    become(identity);
    outbox.belongTo(identity?.userId ?? '');
    isReady = true;
    sync();
  }

  /** Another user, or another role of the same one: what was seen may be what this one may not see. */
  function become(identity?: Identity): void {
    const before = client.identity;
    client.identity = identity;
    if (before?.userId === identity?.userId && before?.role === identity?.role) return;
    denied = new Map();
    isProbed = false;
    askedFor = '';
    // What the public saw everybody may see.
    if (!before) return;
    begun = new Set();
    place = {};
    recent = newRecent();
    frame = [];
    client.online = undefined;
    isAnother = true;
    listeners.call('identity', identity);
  }

  // What the line says.

  function lost(code: number, reason: string): boolean {
    // A handshake that was refused does not say why: the next attempt finds out.
    if (!isWelcomed) inMessage = !inMessage && shown !== undefined;
    reset();
    const isRefused = code === UNAUTHORIZED;
    if (isRefused && shown) refused = shown;
    else if (isRefused) tell({ code: 'no_token', message: reason });
    return FOR_GOOD.includes(code) || (isRefused && typeof token !== 'function');
  }

  /** Forgets what belongs to one connection. */
  function reset(): void {
    isWelcomed = isReady = isLive = isProbed = isSwapping = false;
    asked = [];
    askedFor = '';
    if (place.apart) place.apart.left = Infinity;
    clearTimeout(again);
  }

  function receive(message: any): void {
    if (message.id) arrived(message);
    else said[message.type]?.(message.data);
  }

  function arrived(event: ShopEvent): void {
    if (!isLive || !begun.has(event.namespace)) return;
    moveTo(place, event);
    if (!recent.add(event)) return;
    if (!options.batch) listeners.dispatch(event);
    else if (frame.push(event) === 1) options.batch(flushFrame);
  }

  function flushFrame(): void {
    for (const event of frame.splice(0)) listeners.dispatch(event);
  }

  const said: Record<string, (data: any) => void> = {
    welcome() {
      isWelcomed = true;
      if (!shown) begin();
      else if (inMessage) link.send('auth', { token: shown });
    },

    authenticated(identity: Identity) {
      inMessage = isSwapping = false;
      refused = undefined;
      begin(identity);
      listeners.call('authenticated', identity);
    },

    'token:expiring'() {
      if (typeof token === 'function') renew();
    },

    subscribed(data: Subscribed) {
      const answered = asked.shift();
      // One that was to follow another counts only if that one was not refused.
      if (answered && !answered.isProbe && (answered.isFirst || isLive)) settle(answered, data);
      sync();
    },

    error(problem: Problem) {
      if (problem.request === 'auth' && isSwapping) return link.restart();
      const failed = problem.request === 'subscribe' && asked.shift();
      if (!failed) return tell(problem);
      const { names } = failed;
      askedFor = '';
      if (problem.retryAfter) {
        // Answers no longer tell what is subscribed to. A new connection does, when the server can bear it.
        tell(problem);
        link.restart(problem.retryAfter);
      } else if (names.length > 1 && !failed.isProbed) {
        // One name that is not allowed refuses the whole message: which one?
        isProbed = true;
        for (const name of names) ask({ names: [name], isProbe: true });
      } else {
        for (const name of names) {
          denied.set(name, problem.code);
          tell({ ...problem, namespace: name });
        }
      }
      sync();
    },

    reconnect({ after }: { after: number }) {
      link.after = after;
    },
  };

  // What is asked of the server.

  function settle(answered: Asked, data: Subscribed): void {
    isProbed = false;
    for (const name of answered.names) begun.add(name);
    settlePlace(place, answered, data);
    client.online = data.online ?? client.online;
    // What came before a gap says nothing about how things stand.
    if (data.recovered === false) recent.keep(() => false);
    goLive(data);
  }

  /** Without an answer: nothing is wanted. */
  function goLive(answer?: Subscribed): void {
    if (!isLive) {
      isLive = true;
      changed({ status: 'connected', reason: '' });
      outbox.flush();
    }
    // What came before the answer is told before it: that may be in what the answer says.
    flushFrame();
    if (answer) listeners.call('subscribed', answer);
    if (answer?.recovered === false || isAnother) {
      isAnother = false;
      listeners.call('gap', answer ?? { namespaces: [], position: '' });
    }
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
    let { names, events } = sumOf([...wants], denied);
    const wanted = `${names} ${events}`;
    if (wanted === askedFor) return;
    askedFor = wanted;
    // What came of a namespace or type says nothing about now when it is no longer seen, and is asked for anew when it is again.
    const gone = [...begun].filter((name) => !names.includes(name) && begun.delete(name));
    recent.keep(({ namespace, type }) => begun.has(namespace) && (events.includes(type) || !typesIn([namespace], events)[0]));
    if (gone.length) link.send('unsubscribe', { namespaces: gone });
    if (!names.length) return goLive();

    // Those that begin with their past, once; those that go on from a place of their own; and all others. The others come first, and
    // also on a connection that has them already: then the `position` of the answer is where this client stands, whatever is being replayed.
    const since = isLive ? undefined : place.since;
    const parts: Asked[] = [];
    const part = (how: Partial<Asked>, isPart: (name: Namespace) => unknown = () => true) => {
      const own = names.filter(isPart);
      names = names.filter((name) => !own.includes(name));
      if (own[0]) parts.unshift({ ...how, names: own, events });
    };
    for (const want of pastsOf(wants)) part({ last: lastOf(want, events) }, (name) => want.namespaces.includes(name) && !begun.has(name));
    const fresh = parts.length;
    const { apart } = place;
    if (since && apart) part({ since: apart.since, isApart: true }, (name) => apart.names.includes(name));
    part({ since });
    if (since && fresh && parts[fresh]) {
      // Nothing may come before what was missed: the fresh ones are asked for when that is settled.
      parts.length -= fresh;
      askedFor = '';
    }
    parts[0]!.isFirst = true;
    parts.forEach(ask);
  }

  function ask(question: Asked): void {
    const { names, since, last } = question;
    const events = typesIn(names, question.events ?? []);
    asked.push({ ...question, isProbed });
    link.send('subscribe', { namespaces: names, events: events.length ? events : undefined, since, last });
  }
}
