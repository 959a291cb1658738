// What the parts of a page want to see, added up to one subscription.

import { namespaceOf, type EventType, type Namespace } from './generated/events.js';
import type { Want } from './types.js';

/** All wants as one. */
export interface Wanted {
  names: Namespace[];
  /** Narrows those of `names` that it names types of. */
  events: EventType[];
  /** How much of the past to begin with, by namespace. */
  last: Map<Namespace, number>;
}

export class Wants {
  #wants = new Set<Want>();

  /** Adds one; returns how to take it away. */
  add(want: Want): () => void {
    const own = { ...want };
    this.#wants.add(own);
    return () => this.#wants.delete(own);
  }

  /** Everything that somebody wants, without what is `denied`. In a fixed order, so that equal wants compare as equal. */
  sum(denied: ReadonlySet<Namespace>): Wanted {
    // The types by namespace; null: all.
    const types = new Map<Namespace, Set<EventType> | null>();
    const last = new Map<Namespace, number>();
    for (const want of this.#wants) {
      for (const name of want.namespaces) {
        if (denied.has(name)) continue;
        const some = want.events?.filter((type) => namespaceOf(type) === name);
        const before = types.get(name);
        types.set(name, some?.length && before !== null ? new Set([...(before ?? []), ...some]) : null);
        if (want.last) last.set(name, Math.max(want.last, last.get(name) ?? 0));
      }
    }
    const events = [...types.values()].flatMap((some) => [...(some ?? [])]);
    return { names: [...types.keys()].sort(), events: events.sort(), last };
  }
}
