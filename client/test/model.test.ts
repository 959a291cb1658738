// Whatever happens to the line: each event once, in order, and none lost of which the client did not say so.

import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { ShopwireClient } from '../src/client.js';
import { settle } from './fake-socket.js';
import { diceOf, ModelConnection, ModelServer, NAMES, type Name } from './model.js';

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(console, 'warn').mockImplementation(() => {});
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const SEEDS = 1000;
const STEPS = 200;

async function run(seed: number): Promise<{ delivered: number; gaps: number }> {
  const dice = diceOf(seed);
  vi.spyOn(Math, 'random').mockImplementation(() => dice(1000) / 1000);
  const server = new ModelServer();
  if (dice(3) === 0) server.forbidden.add('system');
  // Most runs have no past to begin with: then there is one order over all namespaces, too.
  const usesLast = dice(2) === 0;
  // How often the line is cut, and how often the page changes its mind, of 100 steps.
  const [cuts, changes] = dice(2) === 0 ? [1, 2] : [6, 8];

  const client = new ShopwireClient({
    url: 'ws://shop.test',
    token: 'h.a.s',
    WebSocket: class extends ModelConnection {
      constructor(_: string, protocols: string[]) {
        super(server, dice, protocols);
      }
    },
  });
  const wants = new Map<Name, () => void>();
  /** Since when each event of a namespace has to come. */
  const owed = new Map<Name, number>();
  let seen: number[] = [];
  let gaps = 0;
  client.on('*', (_, event) => seen.push(server.number(event.id)!));
  client.on('gap', () => {
    gaps++;
    owed.clear();
  });
  client.on('subscribed', ({ namespaces }) => {
    for (const name of namespaces as Name[]) {
      if (!wants.has(name) || owed.has(name)) continue;
      owed.set(name, server.newest);
      // Whoever comes back to a namespace begins anew, with its past if that was asked for.
      seen = seen.filter((number) => server.events[number - 1] !== name);
    }
  });
  const toggle = (name: Name) => {
    const undo = wants.get(name);
    if (undo) {
      undo();
      wants.delete(name);
      owed.delete(name);
    } else wants.set(name, client.subscribe({ namespaces: [name], last: usesLast ? 1 + dice(4) : undefined }));
  };

  toggle(NAMES[dice(3)]!);
  for (let step = 0; step < STEPS; step++) {
    const choice = dice(100);
    const connection = server.connections[0];
    if (choice < 15) server.emit(NAMES[dice(NAMES.length)]!);
    else if (choice < 16) server.letGo = Math.max(server.letGo, server.newest - dice(40));
    else if (choice < 24) await vi.advanceTimersByTimeAsync(dice(1500));
    else if (choice < 24 + cuts) connection?.cut();
    else if (choice < 24 + cuts + changes) toggle(NAMES[dice(NAMES.length)]!);
    else connection?.step();
    await settle();
  }
  // Peace: everything that is under way arrives.
  for (let step = 0; !(client.isConnected && server.connections[0]!.isQuiet); step++) {
    if (step > 5_000) throw new Error(`it does not come to rest: ${JSON.stringify(client.state)}`);
    if (server.connections[0]) server.connections[0].step();
    if (step % 20 === 0) await vi.advanceTimersByTimeAsync(500);
    await settle();
  }

  expect(new Set(seen).size, 'repeats').toBe(seen.length);
  const delivered = new Set(seen);
  for (const [name, after] of owed) {
    if (server.forbidden.has(name)) continue;
    const lost = server.events.flatMap((each, index) => (each === name && index + 1 > after && !delivered.has(index + 1) ? [index + 1] : []));
    expect(lost, `lost of ${name}`).toEqual([]);
  }
  for (const name of NAMES) {
    const numbers = seen.filter((number) => server.events[number - 1] === name);
    expect(numbers, `order of ${name}`).toEqual([...numbers].sort((a, b) => a - b));
  }
  client.close();
  return { delivered: seen.length, gaps };
}

test('each event comes once, in order, and none is lost without a gap', async () => {
  const sum = { delivered: 0, gaps: 0 };
  for (let seed = 1; seed <= SEEDS; seed++) {
    try {
      const { delivered, gaps } = await run(seed);
      sum.delivered += delivered;
      sum.gaps += gaps;
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
  // The runs were worth it.
  expect(sum.delivered).toBeGreaterThan(SEEDS * 5);
  expect(sum.gaps).toBeGreaterThan(SEEDS / 20);
});
