// Where a client goes on after a lost connection. Nothing may be missed, nothing may come out of order, and ids do not say
// which one is older: so what is known is kept, and what is not known is not guessed.

import type { Namespace, ShopEvent } from './generated/events.js';
import type { Subscribed } from './types.js';

/** A `subscribe` that was sent. */
export interface Asked {
  names: Namespace[];
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

/** Namespaces that began with their past, until it is sure that they are where the others are. */
interface Apart {
  names: Namespace[];
  /** Behind which event they go on, whatever of their past has come. */
  since: string;
  /** So many of their events may still be old ones. Infinite while a new connection does not have them. */
  left: number;
}

export class Place {
  /** Behind which event a new connection goes on. */
  since: string | undefined;
  /** Which namespaces it goes on with from another place. */
  apart: Apart | undefined;

  /** The connection is lost: what is apart is so until it is subscribed to again. */
  lose(): void {
    if (this.apart) this.apart = { ...this.apart, left: Infinity };
  }

  /** A subscription holds. */
  settle({ names, since, last, isApart, isFirst }: Asked, { position, recovered }: Subscribed): void {
    if (last) {
      if (isFirst) this.since = position;
      this.apart = { names, since: position, left: last };
    } else if (isApart) {
      if (this.apart) this.apart = { ...this.apart, since: recovered ? since! : position, left: 0 };
    } else {
      // While missed events are still to come, the place to go on from is the last one seen.
      if (!recovered) this.since = position;
      if (since === undefined) this.apart = undefined;
    }
  }

  /** An event has come. */
  moveTo({ id, namespace }: ShopEvent): void {
    const { apart } = this;
    if (apart && apart.left > 0 && apart.names.includes(namespace)) {
      apart.left--;
      return;
    }
    this.since = id;
    // The server sends all namespaces in one order: those that it has are here, too.
    if (apart && apart.left < Infinity) this.apart = undefined;
  }
}
