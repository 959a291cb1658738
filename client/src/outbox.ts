// What the page publishes, until it can be sent: in order, below the server's rate, and as the user it was published by or not at all.

import type { Publishable } from './types.js';

/** So many go out at once: half of what a connection may send then. */
const BURST = 50;
/** Beyond that, one goes out in this time: below the server's rate. */
const PACE_MS = 1_000;

/** Whose an event is. The user is not known before the server has said it; a token that is set may be another's. */
interface Owner {
  user?: string;
}

type Waiting = [type: Publishable, data: unknown, owner: Owner];

/** `send` says false while it cannot; `drop` is told of one that is not sent at all, because another user is here. */
export function newOutbox(send: (...event: Waiting) => boolean, drop: (type: Publishable) => void) {
  let owner: Owner = {};
  const queue: Waiting[] = [];
  /** Up to when the rate is used up, in ms since 1970. */
  let usedUntil = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  /** Sends what may be sent now, and the rest by and by. */
  function flush(): void {
    clearTimeout(timer);
    const now = Date.now();
    // What was not used for long is worth a burst and no more.
    usedUntil = Math.max(usedUntil, now - BURST * PACE_MS);
    while (queue[0] && usedUntil < now && send(...queue[0])) {
      queue.shift();
      usedUntil += PACE_MS;
    }
    if (queue[0] && usedUntil >= now) timer = setTimeout(flush, PACE_MS);
  }

  return [add, flush, pause, disown, belongTo] as const;

  /** Takes one, unless more than `limit` would wait. */
  function add(type: Publishable, data: unknown, limit: number): boolean {
    queue.push([type, data, owner]);
    flush();
    if (queue.length <= limit) return true;
    queue.pop();
    return false;
  }

  /** Sends nothing more by itself until the next `flush`. */
  function pause(): void {
    clearTimeout(timer);
  }

  /** What is published from now on may be another's. */
  function disown(): void {
    owner = {};
  }

  /** This user is here. What others left behind is dropped, what is left is sent. */
  function belongTo(user: string): void {
    owner.user ??= user;
    if (owner.user !== user) owner = { user };
    for (const each of queue.splice(0)) {
      if (each[2].user !== user) drop(each[0]);
      else queue.push(each);
    }
    flush();
  }
}
