// One tab's socket as the hub knows it: whose it is, what it wants to see, and the place it has come to.

import { namespaceOf, type EventType, type Namespace, type ShopEvent } from '../generated/events.js';
import { numberOf } from '../numbers.js';
import type { Subscribed } from '../types.js';

/** The types of a namespace that are wanted; null: all. */
export type Filter = ReadonlySet<EventType> | null;

/** A `subscribe` of a tab's. */
export interface Subscription {
  member: Member;
  names: Namespace[];
  filters: Map<Namespace, Filter>;
  since: string | undefined;
  last: number | undefined;
}

/** Whether it goes back behind what has been sent. */
export const hasPast = ({ since, last }: Subscription) => since !== undefined || last !== undefined;

export class Member {
  /** What the server has agreed to. */
  readonly wants = new Map<Namespace, Filter>();
  /** What it has not answered yet. */
  readonly pending = new Set<Subscription>();
  /** What the tab has published: a refusal does not say whose it was. */
  readonly published = new Set<string>();
  /** What it said before it was let in. */
  readonly early: string[] = [];
  /** Aborted when it is gone. */
  readonly ends = new AbortController();
  isAdmitted = false;
  /** Up to which event it has all that it wants of a namespace. None: it takes whatever comes next. */
  #places = new Map<Namespace, number>();

  constructor(
    readonly id: string,
    /** The token that it showed last. */
    public token: string | undefined,
    /** Whether it has been told `welcome`. */
    public isGreeted: boolean,
  ) {}

  /** The namespaces that it has. */
  get names(): Namespace[] {
    return [...this.wants.keys()];
  }

  ask({ namespaces, events = [], since, last }: { namespaces: Namespace[]; events?: EventType[]; since?: string; last?: number }): Subscription {
    const filters = new Map<Namespace, Filter>();
    for (const name of namespaces) {
      const some = events.filter((type) => namespaceOf(type) === name);
      filters.set(name, some.length ? new Set(some) : null);
    }
    const subscription = { member: this, names: namespaces, filters, since, last };
    this.pending.add(subscription);
    return subscription;
  }

  settle(subscription: Subscription, { position, recovered }: Subscribed): void {
    this.pending.delete(subscription);
    const { filters, since, last } = subscription;
    for (const [name, filter] of filters) {
      // One that it has goes on undisturbed.
      const isNew = !this.wants.has(name) || since !== undefined;
      this.wants.set(name, filter);
      if (last !== undefined) this.#places.delete(name);
      else if (isNew) this.#places.set(name, numberOf(recovered ? since! : position));
    }
  }

  forget(name: Namespace): void {
    this.wants.delete(name);
    this.#places.delete(name);
    for (const { filters } of this.pending) filters.delete(name);
  }

  /** What it wants of a namespace, and what it is about to want. */
  filtersOf(name: Namespace): Filter[] {
    const all = [this.wants, ...[...this.pending].map(({ filters }) => filters)];
    return all.flatMap((filters) => (filters.has(name) ? [filters.get(name)!] : []));
  }

  /** Whether an event is one that it waits for. What is sent again for another tab is not. */
  takes({ id, type, namespace }: ShopEvent): boolean {
    const filter = this.wants.get(namespace);
    if (filter === undefined || (filter && !filter.has(type))) return false;
    const number = numberOf(id);
    if (number <= (this.#places.get(namespace) ?? -1)) return false;
    this.#places.set(namespace, number);
    return true;
  }
}
