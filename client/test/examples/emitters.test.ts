// The examples that send events: from Node, from Python.

import { createConnection, createServer, type Server as NetServer, type Socket } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import type { ShopEvent } from '../../src/generated/events.js';
import { order, Server, until } from '../server.js';
import { examples, Program } from './example.js';

let server: Server;
let seen: ShopEvent[];
let ends: (() => unknown)[];

beforeEach(async () => {
  server = await Server.start();
  ends = [() => server.stop()];
  seen = [];
  const client = server.client({ namespaces: ['orders', 'inventory', 'products'] });
  client.on('*', (_, event) => seen.push(event));
  await until('the listener is connected', () => client.isConnected);
});
afterEach(async () => {
  for (const end of ends.reverse()) await end();
});

function run(folder: string, command: string[], more: { env?: Record<string, string>; stdin?: string } = {}): Program {
  const program = new Program(command, { cwd: join(examples, folder), env: { WS_SOCKET: server.socket, ...more.env }, stdin: more.stdin });
  ends.push(() => program.stop());
  return program;
}

const types = () => seen.map(({ type }) => type);

test('node-emitter takes an order and tells of it, and of the stock', async () => {
  const checkout = run('node-emitter', ['node', 'checkout.js'], { env: { PORT: '0' } });
  const [, url] = await checkout.line(/taken at (\S+)/);
  const post = async (cart: unknown) => {
    const answer = await fetch(url!, { method: 'POST', body: JSON.stringify(cart) });
    return { status: answer.status, body: await answer.json() };
  };
  const cart = { customerId: 'c-1', customerName: 'Ada', productId: 'p-1', quantity: 2 };
  const { status, body } = await post(cart);
  expect([status, body.total]).toEqual([201, 25]);
  await until('all have come', () => seen.length === 3);
  expect(types()).toEqual(['order:created', 'inventory:updated', 'inventory:low_stock']);
  expect(seen[0]!.data).toMatchObject({ orderId: body.orderId, customerName: 'Ada', total: 25 });
  expect(seen[1]!.data).toMatchObject({ oldStock: 11, newStock: 9, difference: -2 });
  expect(await post({ ...cart, quantity: 10 })).toMatchObject({ status: 400, body: { error: 'quantity is 10; it must be a whole number from 1 to 9' } });
  expect(await post({ ...cart, customerId: '' })).toMatchObject({ status: 400, body: { field: 'data.customerId' } });
});

const python = ['python3', 'emitter.py'];
const lines = (events: object[]) => events.map((event) => `${JSON.stringify(event)}\n`).join('');
const created = (id: string) => ({ type: 'order:created', data: order(id) });

test('python-emitter sends what it reads, and says which lines were refused', async () => {
  const emitter = run('python-emitter', python, { stdin: lines([created('o-1'), { type: 'order:created', data: {} }, created('o-2')]) });
  expect(await emitter.end()).toBe(1);
  expect(emitter.lines).toEqual([expect.stringMatching(/^line 2: invalid_payload: .*orderId/), '2 of 3 events sent']);
  await until('both have come', () => seen.length === 2);
  expect(seen.map(({ data }) => (data as { orderId: string }).orderId)).toEqual(['o-1', 'o-2']);
});

test('python-emitter sends again what was not acknowledged, and it is no second event', async () => {
  const gate = await Gate.before(server.socket, join(server.folder, 'gate.sock'));
  ends.push(() => gate.close());
  const ids = Array.from({ length: 1_200 }, (_, index) => `o-${index}`);
  const emitter = run('python-emitter', python, { env: { WS_SOCKET: gate.path }, stdin: lines(ids.map(created)) });
  expect(await emitter.end(), emitter.lines.join('\n')).toBe(0);
  expect(gate.connections).toBe(3);
  await until('all have come', () => seen.length >= ids.length);
  // The server keeps its order: one more would be here before this one.
  await server.emitter().emit('product:deleted', { productId: 'last' });
  await until('the last one has come', () => types().at(-1) === 'product:deleted');
  expect(seen.slice(0, -1).map(({ data }) => (data as { orderId: string }).orderId)).toEqual(ids);
});

test('python-emitter gives up when there is no server', async () => {
  await server.kill();
  const emitter = run('python-emitter', python, { env: { WS_SOCKET: join(server.folder, 'nobody.sock') }, stdin: lines([created('o-1')]) });
  expect(await emitter.end()).toBe(1);
  expect(emitter.lines).toEqual([expect.stringMatching(/^no ack from .*nobody\.sock within 5(\.0)? s: /)]);
});

/** Stands before the ingest socket, and cuts the first two connections when the ack comes: the emitter cannot know what was taken. */
class Gate {
  connections = 0;
  #server: NetServer;
  #sockets = new Set<Socket>();

  private constructor(
    far: string,
    readonly path: string,
  ) {
    this.#server = createServer((near) => {
      const isCut = this.connections++ < 2;
      const to = createConnection(far);
      for (const socket of [near, to]) {
        this.#sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => [near, to].forEach((each) => each.destroy()));
      }
      near.on('data', (data) => to.write(data));
      to.on('data', (data) => (isCut ? near.destroy() : near.write(data)));
    });
  }

  static async before(far: string, path: string): Promise<Gate> {
    const gate = new Gate(far, path);
    gate.#server.listen(path);
    await once(gate.#server, 'listening');
    return gate;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}
