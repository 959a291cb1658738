// Who is told what. Owned by the client; knows nothing of connections.

import type { ShopEvent } from './generated/events.js';
import type { ListenOptions } from './types.js';

interface Entry {
  handler: (...values: any[]) => void;
}

export class Listeners {
  #entries = new Map<string, Set<Entry>>();

  /** Adds a handler under a name; returns how to take it away. */
  add(name: string, handler: Entry['handler'], { signal }: ListenOptions = {}): () => void {
    if (signal?.aborted) return () => {};
    const entries = this.#entries.get(name) ?? new Set();
    this.#entries.set(name, entries);
    // An entry of its own, since one function may be added twice.
    const entry = { handler };
    entries.add(entry);
    const undo = () => {
      entries.delete(entry);
      signal?.removeEventListener('abort', undo);
    };
    signal?.addEventListener('abort', undo);
    return undo;
  }

  /** Calls who listens under this name; false if nobody does. One handler's fault is reported and harms no other. */
  call(name: string, ...values: unknown[]): boolean {
    const entries = this.#entries.get(name);
    if (!entries?.size) return false;
    for (const entry of [...entries]) {
      // An earlier handler may have taken it away.
      if (!entries.has(entry)) continue;
      try {
        entry.handler(...values);
      } catch (error) {
        (globalThis.reportError ?? console.error)(error);
      }
    }
    return true;
  }

  /** Hands an event to the listeners of its type, of its kind and of everything. */
  dispatch(event: ShopEvent): void {
    for (const name of patternsOf(event)) this.call(name, event.data, event);
  }
}

/** The patterns that stand for an event: its type, its kind, and everything. */
export const patternsOf = ({ type }: ShopEvent): string[] => [type, type.replace(/:.*/, ':*'), '*'];
