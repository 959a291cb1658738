// The emit helpers: against the real server, and against a socket of the test's own where the line has to break.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server as NetServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, describe, expect, test } from 'vitest';

import { Emitter, EmitError, EmitManyError } from '../src/emitter.js';
import {
  closeEmitter,
  configureEmitter,
  emit,
  emitCustomerEvent,
  emitInventoryEvent,
  emitMany,
  emitOrderEvent,
  emitPaymentEvent,
  emitProductEvent,
  emitSystemNotification,
} from '../src/emit.js';
import type { ShopEvent } from '../src/generated/events.js';
import { defaultSocket } from '../src/socket-path.js';

import { order, Server, until } from './server.js';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function startServer(env?: Record<string, string>): Promise<Server> {
  const server = await Server.start(env);
  ends.push(() => server.stop());
  return server;
}

/** A server and everything that an admin sees of it. */
async function watched(): Promise<{ server: Server; seen: ShopEvent[] }> {
  const server = await startServer();
  const seen: ShopEvent[] = [];
  const client = server.client({ namespaces: ['orders', 'customers', 'products', 'inventory', 'payments', 'system'] });
  client.on('*', (_, event) => seen.push(event));
  await until('it is connected', () => client.isConnected);
  return { server, seen };
}

describe('with the server', () => {
  test('each helper sends its event', async () => {
    const { server, seen } = await watched();
    configureEmitter({ socket: server.socket });
    ends.push(closeEmitter);
    const payment = { paymentId: 'pay-1', orderId: 'o-1', customerId: 'c-1', amount: 5 };
    await emitOrderEvent('order:created', order('o-1'));
    await emitProductEvent('product:deleted', { productId: 'p-1' });
    await emitPaymentEvent('payment:refunded', payment);
    await emitCustomerEvent('customer:added_to_cart', { customerId: 'c-1', productId: 'p-1', productName: 'Lamp', quantity: 1 });
    await emitInventoryEvent('inventory:out_of_stock', { productId: 'p-1', productName: 'Lamp', sku: 's' });
    await emitSystemNotification({ title: 'Hi', message: 'Stocktaking', severity: 'info' });
    await emit('order:deleted', { orderId: 'o-1' }, { timestamp: 1_700_000_000_000 });
    await emitMany([{ type: 'product:deleted', data: { productId: 'p-2' } }]);
    await until('all have come', () => seen.length === 8);
    expect(seen.map(({ type }) => type)).toEqual([
      'order:created',
      'product:deleted',
      'payment:refunded',
      'customer:added_to_cart',
      'inventory:out_of_stock',
      'system:notification',
      'order:deleted',
      'product:deleted',
    ]);
    expect(seen[2]!.data).toEqual(payment);
    expect(seen[6]!.timestamp).toBe(1_700_000_000_000);
    expect(() => configureEmitter({})).toThrow('in use');
    expect(() => new Emitter({ path: '/run/x.sock' } as object)).toThrow('path is no option of an emitter: socket, limit, timeout are');
  });

  test('a refusal is the sentence of the server, with code and field', async () => {
    const emitter = (await startServer()).emitter();
    const refused = await emitter.emit('order:created', { ...order('o-1'), total: -1 }).catch((error) => error);
    expect(refused).toBeInstanceOf(EmitError);
    expect(refused).toMatchObject({ code: 'invalid_payload', field: 'data.total' });
    expect(refused.message).toContain('total');
    const target = emitter.emit('order:deleted', { orderId: 'o-1' }, { to: { roles: [] } });
    await expect(target).rejects.toMatchObject({ code: 'invalid_target', field: 'to.roles' });
    await emitter.emit('order:deleted', { orderId: 'o-1' });
  });

  test('a helper that is given what is not its own says what is', async () => {
    const { server, seen } = await watched();
    configureEmitter({ socket: server.socket });
    ends.push(closeEmitter);
    // As plain JavaScript can call them.
    type Untyped = (...given: unknown[]) => Promise<void>;
    const helpers = [emitOrderEvent, emitProductEvent, emitInventoryEvent, emitSystemNotification];
    const [onOrder, onProduct, onStock, onNotice] = helpers as unknown as [Untyped, Untyped, Untyped, Untyped];
    const refusals: [call: () => Promise<void>, code: string, message: string][] = [
      [() => onOrder('stock:updated', {}), 'unknown_type', 'the first argument of emitOrderEvent is a type that begins with order:, and not "stock:updated"'],
      [() => onOrder({ orderId: 'o' }, 'order:deleted'), 'unknown_type', 'the first argument of emitOrderEvent is a type that begins with order:, and not an object'],
      [() => onProduct(), 'unknown_type', 'the first argument of emitProductEvent is a type that begins with product:, and not undefined'],
      [() => onStock('order:deleted', {}, null), 'unknown_type', 'the first argument of emitInventoryEvent is a type that begins with inventory:, and not "order:deleted"'],
      [() => onNotice('system:alert', {}), 'invalid_payload', 'the first argument of emitSystemNotification is the data of a system:notification, and not its type'],
      [() => onOrder('order:lost', {}), 'unknown_type', 'the event type "order:lost" is not in the catalogue'],
      [() => onOrder('order:deleted', null, null), 'invalid_payload', 'data must be an object'],
      [() => onStock('inventory:updated'), 'invalid_payload', 'data is missing: it must be an object'],
      [() => onStock('inventory:updated', null, { threshold: 5 }), 'invalid_payload', 'data must be an object'],
      [
        () => onOrder('order:deleted', { orderId: 'o' }, { roles: ['admin'] }),
        'invalid_payload',
        'roles is unknown: type, data, to, timestamp, namespace and key are allowed',
      ],
    ];
    for (const [call, code, message] of refusals) {
      const refused = await call().catch((error) => error);
      expect(refused).toBeInstanceOf(EmitError);
      expect(refused).toMatchObject({ code, message });
    }
    await emitOrderEvent('order:deleted', { orderId: 'last' });
    await until('the last has come', () => seen.length > 0);
    expect(seen.map(({ data }) => data)).toEqual([{ orderId: 'last' }]);
  });

  test('a target that is lost on the way is refused, and never a broadcast', async () => {
    const { server, seen } = await watched();
    configureEmitter({ socket: server.socket });
    ends.push(closeEmitter);
    const gone = { orderId: 'o-1' };
    const user: { ids?: string[] } = {};
    const stock = { productId: 'p-1', productName: 'Lamp', sku: 's-1', oldStock: 9, newStock: 1 };
    for (const name of ['roles', 'userIds', 'owners', 'userId']) {
      const refused = { code: 'invalid_target', field: `to.${name}`, message: expect.stringContaining(`to.${name} is undefined: `) };
      await expect(emitOrderEvent('order:deleted', gone, { to: { [name]: undefined } })).rejects.toMatchObject(refused);
      const change = emitInventoryEvent('inventory:updated', stock, { threshold: 5, to: { roles: ['admin'], [name]: undefined } });
      await expect(change).rejects.toMatchObject(refused);
    }
    const untyped = [() => ['u-1'], { userIds: () => ['u-1'] }] as never[];
    await expect(emit('order:deleted', gone, { to: untyped[0] })).rejects.toMatchObject({ field: 'to', message: 'to must be an object, and not a function' });
    await expect(emit('order:deleted', gone, { to: untyped[1] })).rejects.toMatchObject({ field: 'to.userIds' });
    // The rest is told by the server.
    await expect(emit('order:deleted', gone, { to: null as never })).rejects.toMatchObject({ code: 'invalid_target' });
    await expect(emit('order:deleted', gone, { to: { userIds: null as never } })).rejects.toMatchObject({ code: 'invalid_target', field: 'to.userIds' });
    const many = emitMany([
      { type: 'order:deleted', data: { orderId: 'o-2' }, to: undefined },
      { type: 'order:deleted', data: gone, to: { userIds: user.ids } },
    ]);
    const { errors }: EmitManyError = await many.catch((error) => error);
    expect(errors).toMatchObject([{ index: 1, code: 'invalid_target', field: 'to.userIds' }]);
    // Nobody is excluded.
    await emit('order:deleted', { orderId: 'o-3' }, { to: { excludeUserIds: user.ids, excludeSessionId: undefined } });
    await emit('order:deleted', { orderId: 'last' }, { to: undefined });
    await until('the last has come', () => seen.length > 2);
    expect(seen.map(({ data }) => data)).toEqual([{ orderId: 'o-2' }, { orderId: 'o-3' }, { orderId: 'last' }]);
  });

  test('options that are no object are refused by every helper', async () => {
    const { server, seen } = await watched();
    configureEmitter({ socket: server.socket });
    ends.push(closeEmitter);
    const given: [options: unknown, named: string][] = [[5, '5'], [[], 'a list'], [true, 'true'], ['', '""'], ['admin', '"admin"'], [() => {}, 'a function']];
    for (const [options, named] of given) {
      const refused = { code: 'invalid_payload', message: `the options of an event are an object (to, timestamp, key), and not ${named}` };
      const untyped = options as object;
      await expect(emit('order:deleted', { orderId: 'o-1' }, untyped)).rejects.toMatchObject(refused);
      await expect(emitOrderEvent('order:deleted', { orderId: 'o-1' }, untyped)).rejects.toMatchObject(refused);
      await expect(emitSystemNotification({ title: 'Hi', message: 'Hi', severity: 'info' }, untyped)).rejects.toMatchObject(refused);
      const stock = { productId: 'p-1', productName: 'Lamp', sku: 's-1', oldStock: 9, newStock: 1 };
      await expect(emitInventoryEvent('inventory:updated', stock, untyped)).rejects.toMatchObject(refused);
    }
    await emit('order:deleted', { orderId: 'last' });
    await until('the last has come', () => seen.length > 0);
    expect(seen).toHaveLength(1);
  });

  test('what is no key is refused beside a threshold as without, and brings no alert', async () => {
    const { server, seen } = await watched();
    configureEmitter({ socket: server.socket });
    ends.push(closeEmitter);
    const stock = { productId: 'p-1', productName: 'Lamp', sku: 's-1', oldStock: 9, newStock: 1 };
    for (const key of [null, 5, ''] as string[]) {
      const plain: EmitError = await emitInventoryEvent('inventory:updated', stock, { key }).catch((error) => error);
      expect(plain).toMatchObject({ code: 'invalid_payload', field: 'key' });
      const { code, field, message } = plain;
      await expect(emitInventoryEvent('inventory:updated', stock, { key, threshold: 5 })).rejects.toMatchObject({ code, field, message });
    }
    await emit('order:deleted', { orderId: 'last' });
    await until('the last has come', () => seen.length > 0);
    expect(seen).toHaveLength(1);
  });

  test('of many, those that are refused are named, and the others are sent', async () => {
    const { server, seen } = await watched();
    const emitter = server.emitter({ limit: 7 });
    const events = Array.from({ length: 100 }, (_, i) => ({
      type: 'order:created' as const,
      data: { ...order(`o-${i}`), total: i % 40 === 3 ? -1 : 1 },
    }));
    const error: EmitManyError = await emitter.emitMany(events).catch((error) => error);
    expect(error).toBeInstanceOf(EmitManyError);
    expect(error.message).toContain('3 of 100');
    expect(error.errors.map(({ index, field }) => [index, field])).toEqual([3, 43, 83].map((index) => [index, 'data.total']));
    await until('the others have come', () => seen.length === 97);
    const sent = events.filter(({ data }) => data.total > 0).map(({ data }) => data.orderId);
    expect(seen.map(({ data }) => (data as { orderId: string }).orderId)).toEqual(sent);
  });

  test('one that is no event at all keeps none of the others from being sent, or named', async () => {
    const { server, seen } = await watched();
    const emitter = server.emitter();
    const good = (orderId: string) => ({ type: 'order:deleted', data: { orderId } });
    const events = [good('o-1'), null, good('o-2'), { type: 'nope', data: {} }, undefined, 'text', good('o-3')] as never[];
    const error: EmitManyError = await emitter.emitMany(events).catch((error) => error);
    expect(error).toBeInstanceOf(EmitManyError);
    expect(error.errors.map(({ index }) => index)).toEqual([1, 3, 4, 5]);
    await until('the others have come', () => seen.length === 3);
  });

  test('the same key is one event', async () => {
    const { server, seen } = await watched();
    const emitter = server.emitter();
    for (let i = 0; i < 3; i++) await emitter.emit('order:deleted', { orderId: 'o-1' }, { key: 'k-1' });
    await emitter.emit('order:deleted', { orderId: 'o-2' });
    await until('the last has come', () => seen.some(({ data }) => (data as { orderId: string }).orderId === 'o-2'));
    expect(seen).toHaveLength(2);
  });

  test('what was not acknowledged when the server was killed is sent to the next one', async () => {
    const server = await startServer();
    const emitter = server.emitter({ timeout: 25_000 });
    await emitter.emit('order:deleted', { orderId: 'o-0' });
    await server.kill();
    const waiting = emitter.emitMany([1, 2, 3].map((i) => ({ type: 'order:deleted', data: { orderId: `o-${i}` } })));
    await server.run();
    await waiting;
  });

  test('stock that falls to a line brings its alert along, once', async () => {
    const { server, seen } = await watched();
    configureEmitter({ socket: server.socket });
    ends.push(closeEmitter);
    const product = { productId: 'p-1', productName: 'Lamp', sku: 's-1' };
    const steps = [20, 11, 10, 9, 3, 2, 1, 0, -1, 15];
    for (let i = 1; i < steps.length; i++) {
      const change = { ...product, oldStock: steps[i - 1]!, newStock: steps[i]! };
      await emitInventoryEvent('inventory:updated', change, { threshold: 10, critical: 2 });
    }
    await emitInventoryEvent('inventory:updated', { ...product, oldStock: 5, newStock: 0 });
    await until('the last has come', () => seen.filter(({ type }) => type === 'inventory:updated').length === steps.length);
    const alerts = seen.filter(({ type }) => type !== 'inventory:updated').map(({ type, data }) => [type, data]);
    const low = { ...product, threshold: 10 };
    expect(alerts).toEqual([
      ['inventory:low_stock', { ...low, currentStock: 10, severity: 'low' }],
      ['inventory:low_stock', { ...low, currentStock: 2, severity: 'critical' }],
      ['inventory:out_of_stock', product],
    ]);
    expect(seen[0]!.data).toEqual({ ...product, oldStock: 20, newStock: 11, difference: -9 });
  });

  test('a retry of a change of stock repeats neither it nor its alert', async () => {
    const { server, seen } = await watched();
    configureEmitter({ socket: server.socket });
    ends.push(closeEmitter);
    const change = { productId: 'p-1', productName: 'Lamp', sku: 's-1', oldStock: 9, newStock: 1 };
    for (let i = 0; i < 2; i++) await emitInventoryEvent('inventory:updated', change, { threshold: 5, key: 'sale-7' });
    await emit('order:deleted', { orderId: 'last' });
    await until('the last has come', () => seen.at(-1)?.type === 'order:deleted');
    expect(seen.map(({ type }) => type)).toEqual(['inventory:updated', 'inventory:low_stock', 'order:deleted']);
  });
});

/** An ingest socket that the test answers for. */
class Ingest {
  readonly folder = mkdtempSync(join(tmpdir(), 'shopwire-emit-'));
  readonly path = join(this.folder, 'sock');
  /** The lines of each connection. */
  connections: { key: string; data: object }[][] = [];
  sockets: Socket[] = [];
  #server: NetServer;

  private constructor(answer: (socket: Socket, lines: number, connection: number) => void) {
    this.#server = createServer((socket) => {
      const lines: { key: string; data: object }[] = [];
      const connection = this.connections.push(lines) - 1;
      this.sockets.push(socket);
      let rest = '';
      socket.setEncoding('utf8').on('error', () => {});
      socket.on('data', (text: string) => {
        const whole = (rest + text).split('\n');
        rest = whole.pop()!;
        lines.push(...whole.map((line) => JSON.parse(line)));
        answer(socket, lines.length, connection);
      });
    });
  }

  static async start(answer: (socket: Socket, lines: number, connection: number) => void): Promise<Ingest> {
    const ingest = new Ingest(answer);
    ingest.#server.listen(ingest.path);
    await once(ingest.#server, 'listening');
    ends.push(() => {
      for (const socket of ingest.sockets) socket.destroy();
      ingest.#server.close();
      rmSync(ingest.folder, { recursive: true });
    });
    return ingest;
  }
}

describe('on a line that the test holds', () => {
  const many = (count: number) => Array.from({ length: count }, (_, i) => ({ type: 'order:deleted' as const, data: { orderId: `o-${i}` } }));

  test('a cut resends what has no ack, in order, with the same keys', async () => {
    const ingest = await Ingest.start((socket, lines, connection) => {
      if (connection > 0) return socket.write(`{"ack":${lines}}\n`);
      if (lines === 5) socket.end('{"error":{"line":3,"code":"invalid_payload","message":"no"}}\n{"ack":2}\n');
      return undefined;
    });
    const emitter = new Emitter({ socket: ingest.path });
    const error: EmitManyError = await emitter.emitMany(many(5)).catch((error) => error);
    // The third was refused before the cut: the server has said so.
    expect(error.errors.map(({ index, code }) => [index, code])).toEqual([[2, 'invalid_payload']]);
    const [first, second] = ingest.connections;
    expect(first!.map(({ data }) => data)).toEqual(many(5).map(({ data }) => data));
    expect(second).toEqual(first!.slice(3));
    expect(new Set(first!.map(({ key }) => key)).size).toBe(5);
  });

  test('one connection carries everything', async () => {
    const ingest = await Ingest.start((socket, lines) => socket.write(`{"ack":${lines}}\n`));
    const emitter = new Emitter({ socket: ingest.path });
    await Promise.all(many(2000).map(({ type, data }) => emitter.emit(type, data)));
    await emitter.emit('order:deleted', { orderId: 'last' });
    expect(ingest.connections.map((lines) => lines.length)).toEqual([2001]);
    await emitter.close();
    await expect(emitter.emit('order:deleted', { orderId: 'o' })).rejects.toMatchObject({ code: 'closed' });
  });

  test('no answer is a timeout, whose key makes a retry safe', async () => {
    const ingest = await Ingest.start((socket, lines) => lines > 1 && socket.write(`{"ack":${lines}}\n`));
    const emitter = new Emitter({ socket: ingest.path, timeout: 50 });
    const late = await emitter.emit('order:deleted', { orderId: 'o-1' }).catch((error) => error);
    expect(late).toMatchObject({ code: 'timeout', message: expect.stringContaining(`${ingest.path} within 50 ms: the server does not answer`) });
    // The next one's answer is not taken for the first one's.
    await emitter.emit('order:deleted', { orderId: 'o-1' }, { key: late.key });
    expect(ingest.connections[0]!.map(({ key }) => key)).toEqual([late.key, late.key]);
  });

  test('no server is told with the reason of the system', async () => {
    const emitter = new Emitter({ socket: '/nowhere/shopwire.sock', timeout: 100 });
    await expect(emitter.emit('order:deleted', { orderId: 'o' })).rejects.toThrow('ENOENT');
  });

  test('another server is told apart', async () => {
    const ingest = await Ingest.start((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    const emitter = new Emitter({ socket: ingest.path, timeout: 200 });
    await expect(emitter.emit('order:deleted', { orderId: 'o' })).rejects.toThrow('no shopwire server');
  });

  test('more than may wait are refused at once', async () => {
    const ingest = await Ingest.start(() => {});
    const emitter = new Emitter({ socket: ingest.path, limit: 2, timeout: 100 });
    const codes = await Promise.all(many(3).map(({ type, data }) => emitter.emit(type, data).catch((error) => error.code)));
    expect(codes).toEqual(['timeout', 'timeout', 'queue_full']);
  });

  test('what is no JSON is refused', async () => {
    const emitter = new Emitter({ socket: '/nowhere' });
    const loop: { [key: string]: unknown } = {};
    loop.self = loop;
    await expect(emitter.emit('order:updated', { orderId: 'o', changes: loop })).rejects.toMatchObject({ code: 'invalid_json' });
  });

  test('a socket that is full is waited for', async () => {
    const ingest = await Ingest.start((socket, lines) => lines === 400 && socket.write('{"ack":400}\n'));
    const emitter = new Emitter({ socket: ingest.path });
    const changes = { text: 'x'.repeat(10_000) };
    await emitter.emitMany(Array.from({ length: 400 }, (_, i) => ({ type: 'order:updated', data: { orderId: `o-${i}`, changes } })));
    expect(ingest.connections).toHaveLength(1);
  });
});

test.each<[options: unknown, kind: ErrorConstructor, message: string]>([
  [{ timeout: '5s' }, TypeError, 'timeout of an emitter is a number of ms above 0, at most 2147483647, and not "5s"'],
  [{ timeout: 0 }, RangeError, 'and not 0'],
  [{ timeout: -1 }, RangeError, 'and not -1'],
  [{ timeout: NaN }, RangeError, 'and not NaN'],
  [{ timeout: Infinity }, RangeError, 'at most 2147483647, and not Infinity'],
  [{ timeout: 2 ** 31 }, RangeError, 'and not 2147483648'],
  [{ timeout: null }, TypeError, 'and not null'],
  [{ limit: 0 }, RangeError, 'limit of an emitter is an integer, at least 1, and not 0'],
  [{ limit: 1.5 }, RangeError, 'and not 1.5'],
  [{ limit: Infinity }, RangeError, 'and not Infinity'],
  [{ limit: '5' }, TypeError, 'and not "5"'],
  [{ socket: '' }, RangeError, 'socket of an emitter is a path, not empty, and not ""'],
  [{ socket: 3001 }, TypeError, 'and not 3001'],
  [{ toString: '' }, TypeError, 'toString is no option of an emitter'],
  ['/run/x.sock', TypeError, 'the options of an emitter are an object, and not "/run/x.sock"'],
  [null, TypeError, 'the options of an emitter are an object, and not null'],
])('an emitter with %o is refused when it is made', (options, kind, message) => {
  for (const make of [() => new Emitter(options as object), () => configureEmitter(options as object)]) {
    expect(make).toThrow(kind);
    expect(make).toThrow(message);
  }
  // Nothing was taken of it.
  configureEmitter({ socket: undefined, limit: 1, timeout: 2 ** 31 - 1 });
  return closeEmitter();
});

test('a process that has emitted ends by itself', async () => {
  const server = await startServer();
  const code = `
    import { emit } from 'shopwire/emit';
    await emit('order:deleted', { orderId: 'o-1' });`;
  const child = spawn('node', ['--input-type=module', '--eval', code], {
    cwd: join(import.meta.dirname, '..'),
    env: { ...process.env, WS_SOCKET: server.socket },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const [exitCode] = await once(child, 'exit');
  expect(exitCode).toBe(0);
});

test('the socket is looked for where the server puts it', () => {
  const isFolder = (...there: string[]) => (path: string) => there.includes(path);
  expect(defaultSocket({ WS_SOCKET: '/a/b' }, 7, isFolder())).toBe('/a/b');
  expect(defaultSocket({ XDG_RUNTIME_DIR: '/run/user/7' }, 7, isFolder('/run/user/7', '/run/shopwire'))).toBe('/run/user/7/shopwire.sock');
  expect(defaultSocket({ XDG_RUNTIME_DIR: 'run' }, 7, isFolder('run', '/run/shopwire'))).toBe('/run/shopwire/shopwire.sock');
  expect(defaultSocket({}, 0, isFolder('/run'))).toBe('/run/shopwire/shopwire.sock');
  expect(defaultSocket({}, 7, isFolder('/run'))).toBe('/tmp/shopwire-7/shopwire.sock');
  expect(defaultSocket({ TMPDIR: '/t' }, 7, isFolder())).toBe('/t/shopwire-7/shopwire.sock');
});
