// What the server counts, asked for each second while somebody looks.

import { useEffect, useInsertionEffect, useRef, useState } from 'react';

import type { ShopwireClient } from '../../src/index.js';
import { numberOf } from '../../src/numbers.js';
import { useShopwire } from '../../src/react/index.js';

/** `GET /api/ws/stats`, as far as it is shown. */
export interface Stats {
  totalConnections: number;
  authenticatedConnections: number;
  connectionsByRole: Record<string, number>;
  connectionsByNamespace: Record<string, number>;
  eventsIn: number;
  deliveries: number;
  rejected: number;
  slowConsumers: number;
  outboxBytes: number;
  recovered: number;
  notRecovered: number;
  historyBytes: number;
  historyEvents: number;
  latencyMs: { p50: number; p99: number; p999: number };
  uptimeSeconds: number;
  workers: { connections: number; deliveries: number }[];
}

/** One second. */
export interface Sample {
  eventsIn: number;
  deliveries: number;
  connections: number;
  latencyMs: Stats['latencyMs'];
  /** Deliveries a second of each worker. */
  workers: number[];
}

export interface Watched {
  now?: Stats;
  samples: readonly Sample[];
  /** Why the numbers do not come. */
  fault?: string;
}

/** How many samples are kept. */
export const SAMPLES = 120;
const EVERY_MS = 1000;

export function useStats(token: string | undefined): Watched {
  const client = useShopwire();
  // A refreshed token is no reason to begin anew.
  const latest = useRef(token);
  useInsertionEffect(() => {
    latest.current = token;
  });
  const [watched, setWatched] = useState<Watched>({ samples: [] });
  useEffect(() => {
    const stop = new AbortController();
    let before: { stats: Stats; at: number } | undefined;
    let caughtUpAt = 0;
    const unwatch = watchReplay(client, () => (caughtUpAt = performance.now()));
    const ask = async () => {
      try {
        const at = performance.now();
        const stats = await load(latest.current, stop.signal);
        const now = { stats, at };
        // A counter that fell belongs to another run of the server. What this page is sent to catch up is its own doing, and would
        // be the highest peak for as long as the chart reaches.
        const isComparable = before && stats.eventsIn >= before.stats.eventsIn && before.at > caughtUpAt;
        const sample = isComparable ? between(before!, now) : undefined;
        before = now;
        setWatched(({ samples }) => ({ now: stats, samples: sample ? [...samples, sample].slice(-SAMPLES) : samples }));
      } catch (error) {
        if (stop.signal.aborted) return;
        before = undefined;
        setWatched(({ samples }) => ({ samples, fault: error instanceof Error ? error.message : String(error) }));
      }
    };
    let timer: ReturnType<typeof setTimeout>;
    const loop = async () => {
      if (!document.hidden) await ask();
      if (!stop.signal.aborted) timer = setTimeout(loop, EVERY_MS);
    };
    void loop();
    return () => {
      unwatch();
      stop.abort();
      clearTimeout(timer);
    };
  }, [client]);
  return watched;
}

/** Tells when a connection begins, and of each event that it is sent of what was before. */
function watchReplay(client: ShopwireClient, tell: () => void): () => void {
  let beginsAt = 0;
  const undo = [
    client.on('subscribed', ({ position }) => {
      beginsAt = Math.max(beginsAt, numberOf(position));
      tell();
    }),
    client.on('*', (_, { id }) => numberOf(id) <= beginsAt && tell()),
  ];
  return () => undo.forEach((each) => each());
}

async function load(token: string | undefined, signal: AbortSignal): Promise<Stats> {
  // On the server's own machine none is needed; one that is shown has to be an admin's.
  let answer = await fetch('/api/ws/stats', { signal });
  if (answer.status === 401 && token) {
    answer = await fetch('/api/ws/stats', { signal, headers: { Authorization: `Bearer ${token}` } });
  }
  const content = await answer.json();
  if (!answer.ok) throw new Error(content?.error?.message ?? `the server answered ${answer.status}`);
  return content;
}

function between(before: { stats: Stats; at: number }, now: { stats: Stats; at: number }): Sample {
  const seconds = Math.max(0.001, (now.at - before.at) / 1000);
  const rate = (later: number, earlier: number) => Math.max(0, later - earlier) / seconds;
  return {
    eventsIn: rate(now.stats.eventsIn, before.stats.eventsIn),
    deliveries: rate(now.stats.deliveries, before.stats.deliveries),
    connections: now.stats.totalConnections,
    latencyMs: now.stats.latencyMs,
    workers: now.stats.workers.map((worker, index) => rate(worker.deliveries, before.stats.workers[index]?.deliveries ?? 0)),
  };
}
