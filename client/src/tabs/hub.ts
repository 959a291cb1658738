// The one connection of several tabs, in the tab that leads. It does for the others what the server does for a connection: each
// tab subscribes, resumes and publishes as if it were alone, so nothing here has to be handed over when another tab leads.
// Knows each tab's wants and the place it has come to in each namespace, and asks the server for what they add up to.

import type { EventType, Namespace, ShopEvent } from '../generated/events.js';
import { sentence } from '../link.js';
import type { Problem, Subscribed, WebSocketLike } from '../types.js';
import { Catchup } from './catchup.js';
import { hasPast, Member, type Filter, type Subscription } from './member.js';
import { Pace, type Say } from './pace.js';
import { CUT, lockOf, OPEN, PROTOCOL, type Channel, type FromHub, type Platform, type ToHub } from './words.js';

/** The token was refused, or has ended. */
const UNAUTHORIZED = 4401;
const GOING_AWAY = 1001;
/** After which a client does not come back by itself. */
const BROKEN = 1002;

/** What is asked of the server. Its answers come in the order of the questions. */
type Question =
  | { request: 'auth'; member: Member | undefined; token: string }
  | { request: 'unsubscribe' }
  /** Without a subscription it asks how far the replay is. */
  | { request: 'subscribe'; subscription?: Subscription };

/** Makes out what there is to ask, and with which data: maybe nothing any more. */
type Make = () => [question: Question, data: unknown] | undefined;

/** A question that is not answered, and how to ask it again. */
type Asked = Question & { again: Say };

/** A token that the server took. */
interface Pass {
  token: string | undefined;
  expiresAt: number;
  /** The server's own words for it. */
  text: string;
}

export class Hub {
  readonly #id = crypto.randomUUID();
  #name: string;
  #url: string;
  #platform: Platform;
  #channel: Channel;
  #members = new Map<string, Member>();

  // Of this connection.
  #line: WebSocketLike | undefined;
  /** The token that it began with. */
  #shown: string | undefined;
  #welcome: string | undefined;
  #pass: Pass | undefined;
  #asked: Asked[] = [];
  /**
   * Subscriptions that wait until the one before is answered. Each names what all tabs were granted: with what others are only asking for in
   * it, one that is wrong would be refused to all of them.
   */
  #waiting: Make[] = [];
  #isSubscribing = false;
  #isPinged = false;
  #pace = new Pace(() => this.#asked.length);
  #catchup = new Catchup((names) => this.#probe(names));

  constructor(name: string, url: string, platform: Platform) {
    this.#name = name;
    this.#url = url;
    this.#platform = platform;
    this.#channel = new platform.BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#post({ lead: this.#id });
  }

  /** This tab leads no longer: the others go on with the next one, at once. */
  stop(): void {
    this.#tellAll(JSON.stringify({ type: 'reconnect', data: { after: 0 } }));
    this.#lose(GOING_AWAY, 'another tab takes over');
    this.#channel.close();
  }

  // What the tabs say.

  #hear(message: ToHub | FromHub): void {
    if ('join' in message) return this.#join(message);
    if (!('from' in message) || message.hub !== this.#id) return;
    const member = this.#members.get(message.from);
    if (!member) return;
    if ('leave' in message) this.#leave(member, message.isSilent);
    else if (member.isAdmitted) this.#serve(member, message.text);
    else member.early.push(message.text);
  }

  #join({ join: id, token, isGreeted }: Extract<ToHub, { join: string }>): void {
    if (this.#members.has(id)) return;
    const member = new Member(id, token, isGreeted);
    this.#members.set(id, member);
    this.#post({ hub: this.#id, to: [id], joined: true });
    // It holds this lock for as long as it lives: a tab that crashes says no farewell.
    const { signal } = member.ends;
    const gone = async () => this.#leave(member, false);
    this.#platform.locks.request(lockOf(this.#name, id), { signal }, gone).catch(() => {});
    if (!this.#line) this.#connect(member);
    else if (this.#welcome) this.#greet(member);
  }

  #leave(member: Member, isSilent: boolean): void {
    if (!this.#members.delete(member.id)) return;
    member.ends.abort();
    // One that has heard nothing for long may have a tab's reasons. If the server has not spoken either, it is the line.
    if (isSilent && (this.#isPinged || !this.#welcome)) this.#lose(CUT, 'the server does not answer');
    else if (!this.#members.size) this.#hangUp();
    else this.#unsubscribe(member.names);
  }

  #serve(member: Member, text: string): void {
    const { type, data } = JSON.parse(text);
    if (type === 'ping') this.#ping();
    else if (type === 'auth') this.#authenticate(member, data.token);
    else if (type === 'unsubscribe') {
      for (const name of data.namespaces) member.forget(name);
      this.#unsubscribe(data.namespaces);
      this.#tellUnsubscribed(member);
    } else if (type === 'subscribe') {
      const subscription = member.ask(data);
      if (hasPast(subscription)) this.#catchup.wait(() => this.#subscribe(subscription));
      else this.#subscribe(subscription);
    } else {
      member.published.add(type);
      this.#pace.add(() => this.#send(text));
    }
  }

  // The line.

  #connect(member: Member): void {
    const { token, isGreeted } = member;
    // Who was greeted shows its token in a message, because a handshake that is refused does not say why.
    const isHandshake = token !== undefined && !isGreeted;
    let line: WebSocketLike;
    try {
      line = new this.#platform.WebSocket(this.#url, isHandshake ? [PROTOCOL, `token.${token}`] : [PROTOCOL]);
    } catch (error) {
      // Nor would another attempt be: a token with characters that no token has.
      this.#members.delete(member.id);
      return this.#dismiss(member, BROKEN, sentence(error));
    }
    this.#shown = token;
    this.#line = line;
    line.onmessage = ({ data }) => {
      if (line !== this.#line) return;
      this.#isPinged = false;
      this.#receive(JSON.parse(data), data, isHandshake);
    };
    line.onclose = ({ code, reason }) => line === this.#line && this.#lose(code, reason);
    // A close follows.
    line.onerror = () => {};
  }

  /** The connection is gone, and with it everyone's: each tab decides for itself when to come back. */
  #lose(code: number, reason: string): void {
    // A token that was refused or has ended is that of some. The others have their own.
    const token = this.#pass ? this.#pass.token : this.#shown;
    for (const member of this.#members.values()) {
      const isOwn = code !== UNAUTHORIZED || member.token === token;
      this.#dismiss(member, isOwn ? code : CUT, reason);
    }
    this.#members.clear();
    this.#hangUp();
  }

  #dismiss(member: Member, close: number, reason: string): void {
    member.ends.abort();
    this.#post({ hub: this.#id, to: [member.id], close, reason });
  }

  #hangUp(): void {
    const line = this.#line;
    this.#line = this.#welcome = this.#pass = undefined;
    this.#asked = [];
    this.#pace.reset();
    this.#waiting = [];
    this.#isSubscribing = false;
    this.#isPinged = false;
    this.#catchup.reset();
    line?.close(1000);
  }

  #send(text: string): void {
    if (this.#line?.readyState === OPEN) this.#line.send(text);
  }

  /** Asks when the server takes it. */
  #ask(make: Make): void {
    const again = () => {
      const made = make();
      if (!made) return;
      const [question, data] = made;
      this.#asked.push({ ...question, again });
      this.#send(JSON.stringify({ type: question.request, data }));
    };
    this.#pace.add(again);
  }

  #ping(): void {
    if (this.#isPinged) return;
    this.#isPinged = true;
    this.#send('{"type":"ping"}');
  }

  // What the server says.

  #receive(message: any, text: string, isHandshake: boolean): void {
    const { type, data } = message;
    if (message.id) this.#event(message, text);
    else if (type === 'welcome') {
      this.#welcome = text;
      if (!isHandshake && this.#shown) this.#show(this.#shown);
      if (this.#shown === undefined) this.#pass = { token: undefined, expiresAt: Infinity, text: '' };
      this.#greetAll();
    } else if (type === 'authenticated') this.#authenticated(data, text);
    else if (type === 'subscribed') this.#subscribed(data);
    else if (type === 'unsubscribed') this.#unsubscribed(data);
    else if (type === 'error') this.#error(data, text);
    // A sign of life, the end of the token, the end of the server: for all of them.
    else this.#tellAll(text);
    this.#pace.go();
  }

  #greetAll(): void {
    for (const member of this.#members.values()) this.#greet(member);
  }

  /** Lets a tab in as far as the server has let the line in. */
  #greet(member: Member): void {
    if (!member.isGreeted) this.#tell([member.id], this.#welcome!);
    member.isGreeted = true;
    if (!this.#pass || member.isAdmitted) return;
    if (this.#pass.token === member.token) this.#admit(member, this.#pass.text);
    // The server judges each tab's token. That of another user it refuses, and the line keeps the one it has.
    else this.#authenticate(member, member.token!);
  }

  #authenticate(member: Member, token: string): void {
    member.token = token;
    this.#show(token, member);
  }

  /** Shows a token: a tab's, if that is still there, or the line's own. */
  #show(token: string, member?: Member): void {
    this.#ask(() => (!member || this.#members.has(member.id) ? [{ request: 'auth', member, token }, { token }] : undefined));
  }

  #admit(member: Member, text: string): void {
    member.isAdmitted = true;
    if (text) this.#tell([member.id], text);
    for (const early of member.early.splice(0)) this.#serve(member, early);
  }

  #authenticated({ expiresAt }: { expiresAt: number }, text: string): void {
    const asked = this.#asked[0]?.request === 'auth' ? (this.#asked.shift() as Extract<Question, { request: 'auth' }>) : undefined;
    const token = asked ? asked.token : this.#shown;
    const before = this.#pass;
    if (!before || expiresAt >= before.expiresAt) this.#pass = { token, expiresAt, text };
    // The line lives as long as the token that it was shown last: that shall be the one that lives longest.
    else if (asked?.member) this.#show(before.token!);
    if (asked?.member && this.#members.has(asked.member.id)) this.#admit(asked.member, text);
    if (!before) this.#greetAll();
  }

  #subscribed(data: Subscribed): void {
    const asked = this.#asked.shift();
    if (asked?.request !== 'subscribe') return;
    this.#settled(asked.subscription, data);
    this.#subscribeNext();
  }

  #settled(subscription: Subscription | undefined, data: Subscribed): void {
    if (!subscription) return this.#catchup.reached(data.position);
    const { member, names } = subscription;
    if (this.#members.has(member.id)) {
      member.settle(subscription, data);
      this.#tell([member.id], JSON.stringify({ type: 'subscribed', data: { ...data, namespaces: member.names } }));
    }
    // Who asked may have left, or no longer want it.
    this.#unsubscribe(names);
    if (hasPast(subscription)) this.#catchup.begin(names, data);
  }

  /** Answered, or told because the role has changed. */
  #unsubscribed({ namespaces }: { namespaces: Namespace[] }): void {
    if (this.#asked[0]?.request === 'unsubscribe') {
      this.#asked.shift();
      return;
    }
    for (const member of this.#members.values()) {
      for (const name of member.names) if (!namespaces.includes(name)) member.forget(name);
      this.#tellUnsubscribed(member);
    }
  }

  #event(event: ShopEvent, text: string): void {
    this.#catchup.passed(event.id);
    this.#tell(
      [...this.#members.values()].filter((member) => member.takes(event)).map(({ id }) => id),
      text,
    );
  }

  #error(problem: Problem, text: string): void {
    const asked = this.#asked[0]?.request === problem.request ? this.#asked.shift() : undefined;
    if (problem.retryAfter !== undefined) {
      this.#pace.slow(problem.retryAfter, asked?.again);
      if (asked) return;
      // That it lives is what was asked.
      if (problem.request === 'ping') return this.#tellAll(JSON.stringify({ type: 'pong' }));
    }
    if (!asked) {
      // What was published is not answered, so who of those that publish such things it was is not known.
      const some = [...this.#members.values()].filter(({ published }) => published.has(problem.request!));
      if (some.length) this.#tell(some.map(({ id }) => id), text);
      else this.#tellAll(text);
    } else if (asked.request === 'auth') this.#refused(asked.member, problem, text);
    else if (asked.request === 'subscribe') {
      const { subscription } = asked;
      if (!subscription) this.#catchup.retry();
      else {
        subscription.member.pending.delete(subscription);
        this.#tell([subscription.member.id], text);
        if (hasPast(subscription)) this.#catchup.over();
      }
      this.#subscribeNext();
    }
  }

  #refused(asker: Member | undefined, { message }: Problem, text: string): void {
    // The line's own first token: that of whoever it was made for. The server closes it.
    const members = asker ? [asker] : this.#pass ? [] : [...this.#members.values()].filter(({ token }) => token === this.#shown);
    for (const member of members) {
      if (!this.#members.has(member.id)) continue;
      this.#tell([member.id], text);
      if (member.isAdmitted || !this.#pass) continue;
      this.#members.delete(member.id);
      this.#dismiss(member, UNAUTHORIZED, message);
    }
  }

  // What is asked of the server.

  #subscribe(subscription: Subscription): void {
    const { member, names, since, last } = subscription;
    this.#inTurn(() => {
      if (this.#members.has(member.id)) {
        return [{ request: 'subscribe', subscription }, { namespaces: names, events: this.#eventsOf(names, subscription), since, last }];
      }
      // It has left while it waited for its turn.
      if (hasPast(subscription)) this.#catchup.over();
      return this.#subscribeNext();
    });
  }

  #probe(names: readonly Namespace[]): void {
    this.#inTurn(() => {
      const wanted = names.filter((name) => this.#granted(name) !== undefined);
      if (wanted.length) return [{ request: 'subscribe' }, { namespaces: wanted, events: this.#eventsOf(wanted) }];
      // What nobody wants is not replayed.
      this.#catchup.over();
      return this.#subscribeNext();
    });
  }

  #inTurn(make: Make): void {
    this.#waiting.push(make);
    if (!this.#isSubscribing) this.#subscribeNext();
  }

  #subscribeNext(): undefined {
    const make = this.#waiting.shift();
    this.#isSubscribing = make !== undefined;
    if (make) this.#ask(make);
  }

  /** Those of the namespaces that nobody wants any more. */
  #unsubscribe(names: Namespace[]): void {
    const isWanted = (name: Namespace) => [...this.#members.values()].some((member) => member.filtersOf(name).length > 0);
    const unwanted = () => names.filter((name) => !isWanted(name));
    const make: Make = () => (unwanted().length ? [{ request: 'unsubscribe' }, { namespaces: unwanted() }] : undefined);
    if (make()) this.#ask(make);
  }

  #eventsOf(names: readonly Namespace[], subscription?: Subscription): EventType[] | undefined {
    const events = names.flatMap((name) => [...(this.#granted(name, subscription) ?? [])]);
    return events.length ? events.sort() : undefined;
  }

  /** The types of a namespace that some tab was granted, or that this subscription asks for; null: all. Undefined: none. */
  #granted(name: Namespace, subscription?: Subscription): Filter | undefined {
    const all = [...this.#members.values()].map(({ wants }) => wants);
    if (subscription) all.push(subscription.filters);
    let sum: Filter | undefined;
    for (const filters of all) {
      const filter = filters.get(name);
      if (filter !== undefined) sum = filter && sum !== null ? new Set([...(sum ?? []), ...filter]) : null;
    }
    return sum;
  }

  // What the tabs are told.

  #tell(to: string[], text: string): void {
    if (to.length) this.#post({ hub: this.#id, to, text });
  }

  #tellUnsubscribed({ id, names }: Member): void {
    this.#tell([id], JSON.stringify({ type: 'unsubscribed', data: { namespaces: names } }));
  }

  #tellAll(text: string): void {
    this.#tell([...this.#members.keys()], text);
  }

  #post(message: FromHub): void {
    this.#channel.postMessage(message);
  }
}
