// A server on paper, for tests that cut the line at any moment: one order of events, a history that lets go, replays that are
// paced, and answers that may be under way when the line is cut. It does what docs/protocol.md says under "Coming back".

import type { Namespace } from '../src/generated/events.js';
import type { WebSocketLike } from '../src/types.js';

/** A random number below `n`, from a seed. */
export type Dice = (n: number) => number;

export function diceOf(seed: number): Dice {
  let state = seed;
  return (n) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * n);
  };
}

const TYPES = { orders: 'order:deleted', products: 'product:deleted', payments: 'payment:refunded', system: 'system:alert' } as const;
export type Name = keyof typeof TYPES;
export const NAMES = Object.keys(TYPES) as Name[];

export class ModelServer {
  /** All events; number 1 is the first one. */
  events: Name[] = [];
  /** Events up to this number are not kept. */
  letGo = 0;
  forbidden = new Set<string>();
  connections: ModelConnection[] = [];

  emit(name: Name): void {
    this.events.push(name);
    for (const connection of this.connections) connection.drain();
  }

  get newest(): number {
    return this.events.length;
  }

  /** Opaque: neither their text nor their length says which is older. */
  id(number: number): string {
    return `${(number * 7919) % 10007}-${number}`;
  }

  number(id: string): number | undefined {
    const number = Number(id.split('-')[1]);
    return this.id(number) === id ? number : undefined;
  }
}

export class ModelConnection implements WebSocketLike {
  readyState = 1;
  onmessage: ((event: any) => void) | null = null;
  onclose: ((event: any) => void) | null = null;
  onerror: ((event: any) => void) | null = null;
  /** What is under way to the server, and to the client. */
  #up: string[] = [];
  #down: object[] = [];
  /** Behind which event a namespace begins. */
  #begins = new Map<Name, number>();
  /** All events up to this one are dealt with. */
  #cursor: number;
  #isReplaying = false;

  constructor(
    readonly server: ModelServer,
    readonly dice: Dice,
    protocols: string[],
  ) {
    this.#cursor = server.newest;
    server.connections.push(this);
    this.#down.push({ type: 'welcome', data: { pingInterval: 30_000 } });
    if (protocols.length === 2) this.#authenticate();
  }

  #authenticate(): void {
    this.#down.push({ type: 'authenticated', data: { userId: 'u', role: 'admin', sessionId: null, expiresAt: 0 } });
  }

  get isOpen(): boolean {
    return this.readyState === 1;
  }

  get isQuiet(): boolean {
    return this.#up.length === 0 && this.#down.length === 0 && !this.#isReplaying;
  }

  send(text: string): void {
    this.#up.push(text);
  }

  close(): void {
    this.#leave();
  }

  /** The line is lost with all that is under way. */
  cut(code = 1006): void {
    if (!this.isOpen) return;
    this.#leave();
    this.onclose?.({ code, reason: '' });
  }

  #leave(): void {
    this.readyState = 3;
    this.#up = [];
    this.#down = [];
    this.server.connections = this.server.connections.filter((each) => each !== this);
  }

  /** One thing happens: a message arrives on one of the sides, or the replay goes on. */
  step(): void {
    const choice = this.dice(3);
    if (choice === 0 && this.#up.length) this.#answer(JSON.parse(this.#up.shift()!));
    else if (choice === 1 && this.#down.length) this.onmessage?.({ data: JSON.stringify(this.#down.shift()) });
    else if (this.#isReplaying) this.#replay();
  }

  /** Live events go out at once. */
  drain(): void {
    if (this.#isReplaying) return;
    while (this.#cursor < this.server.newest) this.#next();
  }

  #next(): void {
    const number = ++this.#cursor;
    const name = this.server.events[number - 1]!;
    const begins = this.#begins.get(name);
    if (begins === undefined || number <= begins) return;
    this.#down.push({ id: this.server.id(number), type: TYPES[name], namespace: name, data: {}, timestamp: number });
  }

  #replay(): void {
    if (this.#cursor < this.server.letGo) return this.cut(4413);
    if (this.#cursor < this.server.newest) this.#next();
    if (this.#cursor >= this.server.newest) this.#isReplaying = false;
  }

  #answer({ type, data }: { type: string; data: any }): void {
    if (type === 'ping') this.#down.push({ type: 'pong', timestamp: 0 });
    else if (type === 'auth') this.#authenticate();
    else if (type === 'unsubscribe') {
      for (const name of data.namespaces) this.#begins.delete(name);
      this.#down.push({ type: 'unsubscribed', data: { namespaces: this.#names } });
    } else if (type === 'subscribe') this.#subscribe(data);
    else throw new Error(`the model does not know ${type}`);
  }

  get #names(): Namespace[] {
    return [...this.#begins.keys()];
  }

  #subscribe({ namespaces, since, last }: { namespaces: Name[]; since?: string; last?: number }): void {
    if (namespaces.some((name) => this.server.forbidden.has(name))) {
      this.#down.push({ type: 'error', data: { code: 'forbidden', message: 'no', request: 'subscribe' } });
      return;
    }
    const { newest, letGo } = this.server;
    let position: number;
    let recovered: boolean | undefined;
    const from = since === undefined ? undefined : this.server.number(since);
    if (last !== undefined) {
      this.#rewind(namespaces, this.#before(namespaces, last));
      position = newest;
    } else if (from !== undefined && from >= letGo && from <= newest) {
      this.#rewind(namespaces, from);
      position = newest;
      recovered = true;
    } else {
      const isFresh = (name: Name) => since !== undefined || !this.#begins.has(name);
      for (const name of namespaces.filter(isFresh)) this.#begins.set(name, newest);
      position = Math.max(this.#cursor, Math.min(...namespaces.map((name) => this.#begins.get(name)!)));
      if (since !== undefined) recovered = false;
    }
    this.#down.push({ type: 'subscribed', data: { namespaces: this.#names, position: this.server.id(position), recovered } });
  }

  #rewind(names: Name[], from: number): void {
    for (const [name, begins] of this.#begins) this.#begins.set(name, Math.max(this.#cursor, begins));
    for (const name of names) this.#begins.set(name, from);
    this.#cursor = Math.min(this.#cursor, from);
    this.#isReplaying = this.#cursor < this.server.newest;
  }

  /** The number before the newest `count` kept events of these namespaces. */
  #before(names: Name[], count: number): number {
    const { newest, letGo, events } = this.server;
    let number = newest;
    for (let left = count; number > letGo && left > 0; number--) if (names.includes(events[number - 1]!)) left--;
    return number;
  }
}
