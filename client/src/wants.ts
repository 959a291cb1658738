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

/** What can be wrong with a want's part in a namespace: equal for those that are refused for the same. */
export const keyOf = ({ events, last }: Want, name: Namespace) => `${name} ${typesOf(name, events)} ${last}`;

/**
 * How many old events of a namespace each one needs that wants some. The server counts over all that a message asks for: so each namespace is
 * asked for by itself, and types are looked for among more where others want more types.
 */
export const lastsOf = (wants: Want[], name: Namespace, asked: EventType[]): number[] =>
  wants
    .filter(({ namespaces, last }) => last && namespaces.includes(name))
    .map(({ events, last }) => (typesOf(name, events).length === typesOf(name, asked).length ? last! : Math.min(LAST_MAX, last! * AMONG)));
