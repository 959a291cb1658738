// What the parts of a page want to see, added up to one subscription.

import type { EventType, Namespace } from './generated/events.js';
import type { Want } from './types.js';

/** So many are asked for to find one of a type among all of a namespace. */
const AMONG = 10;
/** More the server does not take. */
const LAST_MAX = 1000;

/** All wants as one: namespaces, and the types that narrow those they belong to. In a fixed order, so that equal wants compare as equal. */
export function sumOf(wants: Want[]): [names: Namespace[], events: EventType[]] {
  const names = [...new Set(wants.flatMap(({ namespaces }) => namespaces))].sort();
  const events = names.flatMap((name) => {
    const types = wants.filter(({ namespaces }) => namespaces.includes(name)).map(({ events }) => typesOf(name, events));
    // Whoever names none wants all.
    return types.every((some) => some[0]) ? types.flat() : [];
  });
  return [names, [...new Set(events)].sort()];
}

/** Those of some types that belong to a namespace: it is called as its types begin, in the plural. */
export const typesOf = (name: Namespace, types: readonly EventType[] = []): EventType[] =>
  types.filter((type) => name.startsWith(type.split(':')[0]!));

/** Those of some types that belong to these namespaces. */
export const typesIn = (names: readonly Namespace[], types?: readonly EventType[]): EventType[] => names.flatMap((name) => typesOf(name, types));

/** Those that want old events. The first one that names a namespace gets its past for all of them, since it wants most. */
export const pastsOf = (wants: Want[]): Want[] => wants.filter(({ last }) => last).sort((one, other) => other.last! - one.last!);

/** What can be wrong with a want's part in a namespace: equal for those that are refused for the same. */
export const keyOf = ({ events, last }: Want, name: Namespace) => `${name} ${typesOf(name, events)} ${last}`;

/** How many old events to ask for, so that enough of them are of the types that this one wants. */
export const lastOf = ({ events, last }: Want, asked: EventType[]) => (events && events.length !== asked.length ? Math.min(LAST_MAX, last! * AMONG) : last);
