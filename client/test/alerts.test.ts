// A change of stock and its alert: two events that one retry repeats as one.

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, expect, test } from 'vitest';

import { closeEmitter, configureEmitter, emitInventoryEvent, EmitError } from '../src/emit.js';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

interface Line {
  type: string;
  key: string;
}

/** A server that refuses the types it is told to, and the lines it was sent. */
async function listen(refused: string[] = []): Promise<Line[]> {
  const lines: Line[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'shopwire-alerts-'));
  const server = createServer((socket) => {
    let count = 0;
    let rest = '';
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      const parts = (rest + bytes).split('\n');
      rest = parts.pop()!;
      for (const part of parts) {
        const line = JSON.parse(part) as Line;
        lines.push(line);
        count++;
        if (refused.includes(line.type)) socket.write(`${JSON.stringify({ error: { line: count, code: 'forbidden', message: 'no' } })}\n`);
      }
      socket.write(`{"ack":${count}}\n`);
    });
  });
  const path = join(folder, 's.sock');
  await new Promise<void>((resolve) => server.listen(path, resolve));
  ends.push(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });
  configureEmitter({ socket: path });
  ends.push(closeEmitter);
  return lines;
}

const change = { productId: 'p-1', productName: 'Lamp', sku: 'L-1', oldStock: 11, newStock: 10 };
const send = (key?: string) => emitInventoryEvent('inventory:updated', change, { threshold: 10, key });
const fault = (sending: Promise<void>) => sending.then(() => expect.fail('it was taken'), (error: EmitError) => error);

test("the alert's key is the change's own, also where that is made by itself", async () => {
  const lines = await listen();
  await send();
  expect(lines.map(({ type }) => type)).toEqual(['inventory:updated', 'inventory:low_stock']);
  expect(lines[1]!.key).toBe(`${lines[0]!.key}:alert`);
});

test.each(['inventory:updated', 'inventory:low_stock'])("where %s is refused, a retry with the error's key repeats both keys", async (refused) => {
  const lines = await listen([refused]);
  const error = await fault(send());
  expect(error).toBeInstanceOf(EmitError);
  expect(error).toMatchObject({ code: 'forbidden', key: lines[0]!.key });
  await fault(send(error.key));
  expect(lines.slice(2)).toEqual(lines.slice(0, 2));
});

test('a key that leaves no room for the alert is refused before anything is sent', async () => {
  const lines = await listen();
  expect(await fault(send('k'.repeat(123)))).toMatchObject({ code: 'invalid_payload', field: 'key' });
  await send('k'.repeat(122));
  expect(lines.map(({ key }) => key.length)).toEqual([122, 128]);
});
