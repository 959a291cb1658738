// What the parts of a page want to see, added up to one subscription.

import type { EventType, Namespace } from './generated/events.js';
import type { Want } from './types.js';

/** So many are asked for to find one of a type among all of a namespace. */
const AMONG = 10;
/** More the server does not take. */
const LAST_MAX = 1000;

/** All wants as one. */
export interface Wanted {
  names: Namespace[];
  /** Narrows those of `names` that it names types of. */
  events: EventType[];
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
  };
}

/** Those of some types that belong to these namespaces: a namespace is called as its types begin, in the plural. */
export const typesIn = (names: readonly Namespace[], types: readonly EventType[]): EventType[] =>
  types.filter((type) => names.some((name) => name.startsWith(type.split(':')[0]!)));

/** Those that want old events. The first one that names a namespace gets its past for all of them, since it wants most. */
export const pastsOf = (wants: Iterable<Want>): Want[] => [...wants].filter(({ last }) => last).sort((one, other) => other.last! - one.last!);

/** How many old events to ask for, so that enough of them are of the types that this one wants. */
export const lastOf = ({ events, last }: Want, asked: EventType[]) => (events && events.length !== asked.length ? Math.min(LAST_MAX, last! * AMONG) : last);
