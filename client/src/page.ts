// What the browser says about its page and network. Nothing is said where there is no page.

export interface PageHost {
  /** The page is looked at again, or the network is back: now is a good moment to try. */
  wake(): void;
  /** The network is gone, says the browser. */
  offline(): void;
  /** The page is left, maybe for the browser's back/forward cache, which takes no page with an open connection. */
  suspend(): void;
  /** The page is back from that cache. */
  resume(): void;
}

/** Listens until the returned function is called. */
export function watchPage(host: PageHost): () => void {
  if (typeof addEventListener !== 'function') return () => {};
  const ends = new AbortController();
  const { signal } = ends;
  addEventListener('online', () => host.wake(), { signal });
  addEventListener('offline', () => host.offline(), { signal });
  addEventListener('pagehide', () => host.suspend(), { signal });
  addEventListener('pageshow', (event) => event.persisted && host.resume(), { signal });
  if (typeof document !== 'undefined') {
    document.addEventListener('visibilitychange', () => isHidden() || host.wake(), { signal });
  }
  return () => ends.abort();
}

/** Whether there is a page that nobody looks at. */
export const isHidden = () => typeof document !== 'undefined' && document.hidden;

/** Whether the browser is sure that there is no network. */
export const isOffline = () => typeof navigator !== 'undefined' && navigator.onLine === false;
