// The newest events that came: what drops repeats, and what a part of a page that is mounted later begins with.

import type { ShopEvent } from './generated/events.js';
import { patternsOf } from './listeners.js';

/** How many are kept: as many as one `last` can bring. */
const KEPT = 1000;

export function newRecent() {
  const events = new Map<string, ShopEvent>();
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
      [...events.values()].filter((event) => patternsOf(event).includes(pattern)),

    /** Knows only these any longer. */
    keep(isKept: (event: ShopEvent) => boolean): void {
      for (const [id, event] of events) if (!isKept(event)) events.delete(id);
    },
  };
}
