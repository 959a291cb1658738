// Where a client goes on after a lost connection. Nothing may be missed, nothing may come out of order, and ids do not say
// which one is older: so what is known is kept, and what is not known is not guessed.

import type { EventType, Namespace, ShopEvent } from './generated/events.js';
import type { Subscribed } from './types.js';

/** A `subscribe` that was sent. */
export interface Asked {
  names: Namespace[];
  events?: EventType[];
  since?: string;
  /** How many old events were asked for. */
  last?: number;
  /** Only asks whether this one is allowed. */
  isProbe?: boolean;
  /** Each of these was found to be allowed. */
  isProbed?: boolean;
  /** These come from a place of their own. */
  isApart?: boolean;
  /** With its answer events begin to count. */
  isFirst?: boolean;
}

export interface Place {
  /** Behind which event a new connection goes on. */
  since?: string;
  /** Namespaces that began with their past, until it is sure that they are where the others are. */
  apart?: {
    names: Namespace[];
    /** Behind which event they go on, whatever of their past has come. */
    since: string;
    /** So many of their events may still be old ones. Infinite while a new connection does not have them. */
    left: number;
    /** The list that those which were asked for together share. */
    events?: EventType[];
  };
}

/** A subscription holds. */
export function settlePlace(place: Place, { names, events, since, last, isApart, isFirst }: Asked, { position, recovered }: Subscribed): void {
  const { apart } = place;
  if (last) {
    if (isFirst) place.since = position;
    if (apart && apart.events === events) {
      // Asked for together: some of the first one's may still be under way.
      apart.names.push(...names);
      apart.left += last;
    } else place.apart = { names, since: position, left: last, events };
  } else if (isApart) {
    place.apart = apart && { ...apart, since: recovered ? since! : position, left: 0 };
  } else {
    // While missed events are still to come, the place to go on from is the last one seen.
    if (!recovered) place.since = position;
    if (since === undefined) place.apart = undefined;
  }
}

/** An event has come. */
export function moveTo(place: Place, { id, namespace }: ShopEvent): void {
  const { apart } = place;
  if (apart && apart.left > 0 && apart.names.includes(namespace)) {
    apart.left--;
    return;
  }
  place.since = id;
  // The server sends all namespaces in one order: those that it has are here, too.
  if (apart && apart.left < Infinity) place.apart = undefined;
}
