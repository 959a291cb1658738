// The newest events that came: what drops repeats, and what a part of a page that is mounted later begins with.

import type { ShopEvent } from './generated/events.js';
import { patternsOf } from './listeners.js';

/** How many are kept: as many as one `last` can bring. */
const KEPT = 1000;

export function newRecent() {
  const events = new Map<string, ShopEvent | undefined>();
  return {
    /** Keeps an event; false if it was there already. */
    add(event: ShopEvent): boolean {
      if (events.has(event.id)) return false;
      events.set(event.id, event);
      if (events.size > KEPT) events.delete(events.keys().next().value!);
      return true;
    },

    /** Those that a pattern stands for, oldest first. */
    list: (pattern: string): ShopEvent[] =>
      [...events.values()].filter((event) => event && patternsOf(event).includes(pattern)) as ShopEvent[],

    /** Lists none of those that came so far; that they came is still known. */
    forget(): void {
      for (const id of events.keys()) events.set(id, undefined);
    },
  };
}
