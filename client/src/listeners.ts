// Who is told what. Owned by the client; knows nothing of connections.

import type { ShopEvent } from './generated/events.js';
import type { ListenOptions } from './types.js';

type Handler = (...values: any[]) => void;

export function newListeners() {
  const byName: { [name: string]: Set<Handler> } = Object.create(null);
  const named = (name: string) => (byName[name] ??= new Set());

  /** Adds a handler under a name, maybe for one time; returns how to take it away. */
  function add(name: string, handler: Handler, { signal }: ListenOptions = {}, isOnce?: boolean): () => void {
    const handlers = named(name);
    // A function of its own, since one may be added twice.
    const entry: Handler = (...values) => {
      if (isOnce) undo();
      handler(...values);
    };
    const undo = () => {
      handlers.delete(entry);
      signal?.removeEventListener('abort', undo);
    };
    handlers.add(entry);
    signal?.addEventListener('abort', undo);
    if (signal?.aborted) undo();
    return undo;
  }

  /** Calls who listens under this name; false if nobody does. One handler's fault is reported and harms no other. */
  function call(name: string, ...values: unknown[]): boolean {
    const handlers = named(name);
    const present = [...handlers];
    for (const entry of present) {
      try {
        // An earlier handler may have taken it away.
        if (handlers.has(entry)) entry(...values);
      } catch (error) {
        (globalThis.reportError ?? console.error)(error);
      }
    }
    return present.length > 0;
  }

  /** Hands an event to the listeners of its type, of its kind and of everything. */
  function dispatch(event: ShopEvent): void {
    for (const name of patternsOf(event)) call(name, event.data, event);
  }

  return [add, call, dispatch] as const;
}

/** The patterns that stand for an event: its type, its kind, and everything. */
export const patternsOf = ({ type }: ShopEvent): string[] => [type, type.replace(/:.*/, ':*'), '*'];
