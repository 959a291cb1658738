// Frames as they come over the line, for the one view that shows them so. Costs nothing while nobody looks.

const watchers = new Set<(frame: string) => void>();

export function watchFrames(watch: (frame: string) => void): () => void {
  watchers.add(watch);
  return () => watchers.delete(watch);
}

/** The browser's WebSocket, listened to. */
export class WatchedSocket extends WebSocket {
  constructor(url: string, protocols: string[]) {
    super(url, protocols);
    this.addEventListener('message', ({ data }) => {
      for (const watch of watchers) watch(data);
    });
  }
}
