// What the parts of a page want to see, added up to one subscription.

import type { EventType, Namespace } from './generated/events.js';
import type { Want } from './types.js';

/** All wants as one. */
export interface Wanted {
  names: Namespace[];
  /** Narrows those of `names` that it names types of. */
  events: EventType[];
  /** How many of the newest events of a namespace to begin with. */
  lastOf(name: Namespace): number;
}

/** Everything that somebody wants, without what is `denied`. In a fixed order, so that equal wants compare as equal. */
export function sumOf(wants: Want[], denied: ReadonlyMap<Namespace, string>): Wanted {
  const about = (name: Namespace) => wants.filter(({ namespaces }) => namespaces.includes(name));
  const names = [...new Set(wants.flatMap(({ namespaces }) => namespaces))].filter((name) => !denied.has(name)).sort();
  const events = names.flatMap((name) => {
    const types = about(name).map(({ events = [] }) => typesIn([name], events));
    // Whoever names none wants all.
    return types.every(({ length }) => length) ? types.flat() : [];
  });
  return {
    names,
    events: [...new Set(events)].sort(),
    lastOf: (name) => Math.max(0, ...about(name).map(({ last = 0 }) => last)),
  };
}

/** Those of some types that belong to these namespaces: a namespace is called as its types begin, in the plural. */
export const typesIn = (names: readonly Namespace[], types: readonly EventType[]): EventType[] =>
  types.filter((type) => names.some((name) => name.startsWith(type.split(':')[0]!)));
