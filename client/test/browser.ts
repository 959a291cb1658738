// A browser on paper: its lock manager, and tabs that can crash and freeze. Channels are Node's own, or a model's that delivers
// when the dice say so.

import type { Channel, Locks } from '../src/tabs/index.js';
import type { WebSocketLike } from '../src/types.js';

interface Request {
  tab: Tab;
  name: string;
  held: () => Promise<void>;
  resolve: () => void;
  reject: (error: Error) => void;
}

export type ChannelClass = new (name: string) => Channel;

export class Browser {
  #held = new Map<string, Request>();
  #queue: Request[] = [];

  constructor(readonly Channel: ChannelClass = BroadcastChannel as unknown as ChannelClass) {}

  tab(): Tab {
    return new Tab(this);
  }

  /** The names of all locks that are held. */
  get locks(): string[] {
    return [...this.#held.keys()];
  }

  /** The tabs that lead: a group's lock is called as the group is, and that is a list. */
  get leaders(): Tab[] {
    return [...this.#held].filter(([name]) => name.endsWith(']')).map(([, { tab }]) => tab);
  }

  request(tab: Tab, name: string, { signal, steal }: { signal?: AbortSignal; steal?: boolean }, held: () => Promise<void>): Promise<void> {
    if (signal && steal) throw new Error('the browser takes no signal with steal');
    return new Promise((resolve, reject) => {
      const request = { tab, name, held, resolve, reject };
      const aborted = () => Object.assign(new Error('aborted'), { name: 'AbortError' });
      if (signal?.aborted) return reject(aborted());
      signal?.addEventListener('abort', () => {
        if (!this.#queue.includes(request)) return;
        this.#queue = this.#queue.filter((each) => each !== request);
        reject(aborted());
      });
      const robbed = steal && this.#held.get(name);
      if (robbed) {
        this.#held.delete(name);
        robbed.reject(aborted());
      }
      if (steal) this.#queue.unshift(request);
      else this.#queue.push(request);
      this.#grant(name);
    });
  }

  /** All that a tab holds and waits for goes, and it hears nothing of it. */
  forget(tab: Tab): void {
    this.#queue = this.#queue.filter((each) => each.tab !== tab);
    for (const [name, request] of [...this.#held]) {
      if (request.tab !== tab) continue;
      this.#held.delete(name);
      this.#grant(name);
    }
  }

  #grant(name: string): void {
    const next = this.#queue.find((each) => each.name === name);
    if (this.#held.has(name) || !next) return;
    this.#queue = this.#queue.filter((each) => each !== next);
    this.#held.set(name, next);
    queueMicrotask(async () => {
      await next.held();
      if (this.#held.get(name) !== next) return;
      this.#held.delete(name);
      next.resolve();
      this.#grant(name);
    });
  }
}

export class Tab {
  isCrashed = false;
  #isFrozen = false;
  #channels = new Set<Channel>();
  #sockets = new Set<WebSocketLike>();
  /** What has come while it was frozen. */
  #late: (() => void)[] = [];

  constructor(readonly browser: Browser) {}

  get locks(): Locks {
    return {
      request: (name, options, held) =>
        new Promise((resolve, reject) => {
          if (this.isCrashed) return;
          const granted = () => new Promise<void>((release) => this.#hear(() => void held().then(release)));
          const end = this.browser.request(this, name, options, granted);
          end.then(
            () => this.#hear(() => resolve(undefined)),
            (error) => this.#hear(() => reject(error)),
          );
        }),
    };
  }

  get BroadcastChannel(): ChannelClass {
    const tab = this;
    return class implements Channel {
      onmessage: ((event: any) => void) | null = null;
      #channel: Channel;
      constructor(name: string) {
        this.#channel = new tab.browser.Channel(name);
        this.#channel.onmessage = ({ data }) => tab.#hear(() => this.onmessage?.({ data }));
        tab.#channels.add(this.#channel);
      }
      postMessage(message: unknown): void {
        if (!tab.isCrashed) this.#channel.postMessage(message);
      }
      close(): void {
        this.onmessage = null;
        this.#channel.close();
        tab.#channels.delete(this.#channel);
      }
    };
  }

  /** A WebSocket that goes with the tab. */
  socket<S extends new (url: string, protocols: string[]) => WebSocketLike>(Socket: S): new (url: string, protocols: string[]) => WebSocketLike {
    const tab = this;
    return class implements WebSocketLike {
      onmessage: ((event: any) => void) | null = null;
      onclose: ((event: any) => void) | null = null;
      onerror: ((event: any) => void) | null = null;
      #socket: WebSocketLike;
      constructor(url: string, protocols: string[]) {
        this.#socket = new Socket(url, protocols);
        this.#socket.onmessage = (event) => tab.#hear(() => this.onmessage?.(event));
        this.#socket.onclose = (event) => tab.#hear(() => this.onclose?.(event));
        this.#socket.onerror = (event) => tab.#hear(() => this.onerror?.(event));
        if (tab.isCrashed) this.#socket.close();
        tab.#sockets.add(this.#socket);
      }
      get readyState(): number {
        return this.#socket.readyState;
      }
      send(text: string): void {
        if (!tab.isCrashed) this.#socket.send(text);
      }
      close(code?: number): void {
        this.#socket.close(code);
      }
    };
  }

  /** It is gone without a farewell. */
  crash(): void {
    this.isCrashed = true;
    for (const channel of this.#channels) channel.close();
    for (const socket of this.#sockets) socket.close();
    this.browser.forget(this);
  }

  /** It hears nothing, and will hear all of that later. */
  freeze(isFrozen: boolean): void {
    this.#isFrozen = isFrozen;
    while (!this.#isFrozen && this.#late.length) this.#late.shift()!();
  }

  #hear(happen: () => void): void {
    if (this.isCrashed) return;
    if (this.#isFrozen) this.#late.push(happen);
    else happen();
  }
}
