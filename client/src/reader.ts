// Events one after the other, for `for await`. Apart from the client, so that pages that do not use it do not load it.

import type { ShopwireClient } from './client.js';
import type { ShopEvent } from './generated/events.js';
import type { ListenOptions, Matching, Pattern } from './types.js';

/** How many events may wait for their reader. */
const LIMIT = 1000;

/**
 * Events one after the other: `for await (const event of eventsOf(client, 'order:*'))`, until the signal is aborted or the client
 * is closed. They are collected from this call on; a reader that lets more than a thousand wait gets an error.
 */
export function eventsOf<P extends Pattern>(
  client: ShopwireClient,
  pattern: P,
  options: ListenOptions = {},
): AsyncGenerator<ShopEvent<Matching<P>>> {
  const { signal } = options;
  const waiting: ShopEvent<Matching<P>>[] = [];
  let wake = () => {};
  const collect = (_: unknown, event: ShopEvent<Matching<P>>) => {
    waiting.push(event);
    // One that is never read shall not collect for ever.
    if (waiting.length > LIMIT) undo();
    wake();
  };
  let isOver = client.status === 'closed';
  const end = () => {
    isOver = true;
    wake();
  };
  const undos = [client.on(pattern, collect, options), client.on('status', ({ status }) => status === 'closed' && end())];
  const undo = () => undos.forEach((each) => each());
  signal?.addEventListener('abort', end, { once: true });
  async function* read() {
    try {
      while (!signal?.aborted) {
        if (waiting.length > LIMIT) throw new Error(`the reader of ${pattern} is too slow: over ${LIMIT} events wait`);
        if (waiting.length) yield waiting.shift()!;
        else if (isOver) return;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      undo();
    }
  }
  return read();
}
