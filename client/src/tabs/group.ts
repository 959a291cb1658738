// The tabs that share a connection, as one of them sees it: its own sockets, the channel to the others, and whether it leads.
// Who holds the group's lock leads. The browser hands it on when a tab closes or crashes.

import { Hub } from './hub.js';
import type { Channel, FromHub, Platform, ToHub } from './words.js';

/** What a group tells its sockets. */
export interface GroupMember {
  hear(message: FromHub): void;
}

export class Group {
  #url: string;
  #platform: Platform;
  #channel: Channel;
  #members = new Set<GroupMember>();
  /** Gives the lock back, or no longer waits for it. */
  #resign = () => {};
  #empty: () => void;

  constructor(
    readonly name: string,
    url: string,
    platform: Platform,
    /** Called when the last socket has left. */
    empty: () => void,
  ) {
    this.#url = url;
    this.#platform = platform;
    this.#empty = empty;
    this.#channel = new platform.BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => {
      for (const member of [...this.#members]) member.hear(data);
    };
    this.#stand();
  }

  add(member: GroupMember): void {
    this.#members.add(member);
  }

  /** A tab without a socket of its own does not lead: its page may be about to go into the browser's back/forward cache. */
  remove(member: GroupMember): void {
    if (!this.#members.delete(member) || this.#members.size) return;
    this.#resign();
    this.#channel.close();
    this.#empty();
  }

  say(message: ToHub): void {
    this.#channel.postMessage(message);
  }

  /** Leads, although another tab has the lock: that one is frozen. */
  takeOver(): void {
    this.#resign();
    this.#stand(true);
  }

  #stand(steal?: true): void {
    const ends = new AbortController();
    let hub: Hub | undefined;
    let release = () => {};
    this.#resign = () => {
      ends.abort();
      hub?.stop();
      release();
    };
    const lead = () =>
      new Promise<void>((resolve) => {
        if (ends.signal.aborted) return resolve();
        release = resolve;
        hub = new Hub(this.name, this.#url, this.#platform);
      });
    // The browser takes no signal with a lock that is stolen.
    this.#platform.locks.request(this.name, steal ? { steal } : { signal: ends.signal }, lead).catch(() => {
      if (ends.signal.aborted) return;
      // Stolen: this tab was thought to be frozen.
      hub?.stop();
      this.#stand();
    });
  }
}
