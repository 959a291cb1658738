// What the browser says about its page and network. Nothing is said where there is no page.

type PageEvent = 'online' | 'offline' | 'pagehide' | 'pageshow' | 'visibilitychange';

/** Listens to all of these until the signal is aborted. */
export function watchPage(handlers: Record<PageEvent, (event: any) => void>, signal: AbortSignal): void {
  for (const name in handlers) globalThis.addEventListener?.(name, handlers[name as PageEvent], { signal });
}

/** Whether there is a page that nobody looks at. */
export const isHidden = () => globalThis.document?.hidden;

/** Whether the browser is sure that there is no network. */
export const isOffline = () => globalThis.navigator?.onLine === false;
