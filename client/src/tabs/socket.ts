// What a client takes for its WebSocket: it speaks with the hub of its group. Where a token does not say whose it is there is no
// group, and it speaks with the server itself.

import type { WebSocketLike } from '../types.js';
import type { Group, GroupMember } from './group.js';
import { CLOSED, CONNECTING, CUT, groupOf, lockOf, OPEN, PROTOCOL, type FromHub, type Platform } from './words.js';

/** A hub answers at once. One that does not for so long is in a tab that the browser has frozen. */
const FROZEN_MS = 3_000;
/** Whoever leaves after it has waited for so long does it because of that. Less than a client's patience. */
const SILENT_MS = 4_000;
/** Told to a client before anybody knows better. */
const PING_MS = 30_000;

export interface SocketHost {
  platform: Platform;
  /** This tab's part in a group. */
  group(name: string, url: string): Group;
}

export class SharedSocket implements WebSocketLike, GroupMember {
  readyState: number = CONNECTING;
  onmessage: ((event: any) => void) | null = null;
  onclose: ((event: any) => void) | null = null;
  onerror: ((event: any) => void) | null = null;

  readonly #id = crypto.randomUUID();
  #host: SocketHost;
  #url: string;
  /** The name of its group; undefined also for what is not shared. */
  #name: string | undefined;
  #token: string | undefined;
  /** Whether the client has been told `welcome`. */
  #isGreeted = false;
  #group: Group | undefined;
  /** The hub that took it in. */
  #hub: string | undefined;
  #alone: WebSocketLike | undefined;
  /** What waits for a hub, or for a line of its own. */
  #early: string[] = [];
  /** Since when something has been waited for, in ms since 1970: a first word, or the answer to a ping. */
  #waitsSince: number | undefined = Date.now();
  #alarm: ReturnType<typeof setTimeout> | undefined;
  /** Gives back the lock by which the hub knows that this tab lives. */
  #release: (() => void) | undefined;

  constructor(host: SocketHost, url: string, [, offered]: string[]) {
    this.#host = host;
    this.#url = url;
    if (offered) this.#join(offered.slice('token.'.length));
    // The public, or a page whose token comes in a message: it says which when it is greeted.
    else queueMicrotask(() => this.#greet());
  }

  send(text: string): void {
    if (this.readyState !== OPEN) return;
    const { type, data } = JSON.parse(text);
    if (type === 'ping') this.#waitsSince ??= Date.now();
    if (type === 'auth' && !this.#hasBegun) {
      this.#join(data.token);
      // The hub shows the token that it is told with the joining.
      if (this.#name) return;
    } else if (type === 'auth' && !this.#mayShow(data.token)) return;
    if (this.#alone?.readyState === OPEN && !this.#early.length) this.#alone.send(text);
    else if (this.#hub) this.#group!.say({ hub: this.#hub, from: this.#id, text });
    else this.#early.push(text);
  }

  close(code?: number): void {
    if (this.readyState === CLOSED) return;
    this.#alone?.close(code);
    const isSilent = this.#waitsSince !== undefined && Date.now() - this.#waitsSince >= SILENT_MS;
    if (this.#hub) this.#group!.say({ hub: this.#hub, from: this.#id, leave: true, isSilent });
    this.#end();
  }

  /** Something was said in the group. */
  hear(message: FromHub): void {
    if ('lead' in message) {
      if (this.#hub) this.#cut('another tab takes over');
      else if (this.#release) this.#ask();
    } else if ('to' in message && message.to.includes(this.#id) && (!this.#hub || this.#hub === message.hub)) {
      if ('joined' in message) this.#joined(message.hub);
      else if ('text' in message) this.#receive(message.text);
      else this.#closed(message.close, message.reason);
    }
  }

  get #hasBegun(): boolean {
    return this.#group !== undefined || this.#alone !== undefined;
  }

  #greet(): void {
    if (this.readyState === CLOSED) return;
    this.#receive(JSON.stringify({ type: 'welcome', data: { pingInterval: PING_MS } }));
    // Who has a token shows it at once.
    if (!this.#hasBegun) this.#join(undefined);
  }

  // Shared.

  #join(token: string | undefined): void {
    this.#token = token;
    this.#name = groupOf(this.#url, token);
    if (!this.#name) return this.#goAlone();
    this.#group = this.#host.group(this.#name, this.#url);
    this.#group.add(this);
    const held = () =>
      new Promise<void>((resolve) => {
        if (this.readyState === CLOSED) return resolve();
        this.#release = resolve;
        this.#ask();
      });
    void this.#host.platform.locks.request(lockOf(this.#name, this.#id), {}, held);
  }

  #ask(): void {
    clearTimeout(this.#alarm);
    this.#alarm = setTimeout(() => {
      this.#group!.takeOver();
      this.#ask();
    }, FROZEN_MS);
    this.#group!.say({ join: this.#id, token: this.#token, isGreeted: this.#isGreeted });
  }

  #joined(hub: string): void {
    clearTimeout(this.#alarm);
    this.#hub = hub;
    for (const text of this.#early.splice(0)) this.#group!.say({ hub, from: this.#id, text });
  }

  /** Whether a new token may go to the same connection. */
  #mayShow(token: string): boolean {
    const name = groupOf(this.#url, token);
    if (name === this.#name) return true;
    // One that says nothing of whose it is, or of another role: it takes another connection, and goes on there.
    this.#cut('the token has changed');
    return false;
  }

  /** The way to the server is gone, and another one can be had at once. */
  #cut(reason: string): void {
    // In a task of its own, as a socket tells what happens.
    setTimeout(() => {
      if (this.readyState === CLOSED) return;
      this.#receive(JSON.stringify({ type: 'reconnect', data: { after: 0 } }));
      this.close();
      this.onclose?.({ code: CUT, reason });
    });
  }

  #receive(text: string): void {
    if (this.readyState === CLOSED) return;
    this.readyState = OPEN;
    this.#isGreeted = true;
    this.#waitsSince = undefined;
    this.onmessage?.({ data: text });
  }

  #closed(code: number, reason: string): void {
    if (this.readyState === CLOSED) return;
    this.#end();
    this.onclose?.({ code, reason });
  }

  #end(): void {
    this.readyState = CLOSED;
    clearTimeout(this.#alarm);
    this.#release?.();
    this.#group?.remove(this);
  }

  // Alone.

  #goAlone(): void {
    const token = this.#token!;
    // Who was greeted shows its token in a message.
    let isGreeted = this.#isGreeted;
    const socket = new this.#host.platform.WebSocket(this.#url, isGreeted ? [PROTOCOL] : [PROTOCOL, `token.${token}`]);
    this.#alone = socket;
    socket.onmessage = ({ data }) => {
      const wasGreeted = isGreeted;
      isGreeted = false;
      if (!wasGreeted) this.#receive(data);
      // The answer to `welcome` is here already.
      for (const text of this.#early.splice(0)) socket.send(text);
    };
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    socket.onerror = () => {};
  }
}
