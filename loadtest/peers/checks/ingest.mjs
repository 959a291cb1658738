// Checks of the ingest socket.

import { readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import { Emitter } from './clients.mjs';
import { line } from './lines.mjs';
import { same } from './stage.mjs';
import { within } from './waiting.mjs';

const BAD_LINES = [
  ['{"type":"order:created"', 'invalid_json'],
  ['[1,2]', 'invalid_json'],
  ['"order:created"', 'invalid_json'],
  ['nonsense', 'invalid_json'],
  [{ type: 'order:eaten', data: {} }, 'unknown_type'],
  [{ data: {} }, 'unknown_type'],
  [{ type: 'order:created' }, 'invalid_payload'],
  [{ type: 'order:created', data: [] }, 'invalid_payload'],
  [{ type: 'order:created', data: null }, 'invalid_payload'],
  [line('system:alert', { targetRoles: [] }), 'invalid_payload'],
  ...[{ roles: [] }, { roles: ['root'] }, { roles: 'admin' }, { userIds: [] }, { userIds: [7] }, { userIds: null }, { userIds: ['a\nb'] }, { owners: [] },
    { owners: [''] }, { excludeUserIds: 'u' }, { excludeSessionId: '' }, { users: ['u'] }, [], null, 'all'].map((to) => [line('order:created', {}, to), 'invalid_target']),
];

export function ingestChecks(stage, check) {
  return [
    () => check('lines are acknowledged with their number and the newest id', () => acknowledge(stage)),
    ...BAD_LINES.map(([bad, code]) => () => {
      const text = typeof bad === 'string' ? bad : JSON.stringify({ ...bad, data: undefined });
      return check(`${code}: ${text}`, () => refuse(stage, bad, code));
    }),
    () => check('lines may be cut anywhere', () => cutLines(stage)),
    () => check('long chunks are taken', () => longChunk(stage)),
    () => check('several emitters at once: each one keeps its order, all observers see one order', () => severalEmitters(stage)),
    () => check('half-close: the last line needs no newline, then answer and close', () => halfClose(stage)),
    () => check('an emitter that dies mid-line loses that line alone', () => deadEmitter(stage)),
    () => check('a consumer that does not read is closed, and slows nobody', () => slowConsumer(stage)),
  ];
}

async function acknowledge(stage) {
  const emitter = await Emitter.connect(stage.server.socketPath);
  const first = await emitter.emit('', '\r');
  same('ack of blank lines alone', first, { ack: 2 });
  const { client } = stage.observers[0];
  const from = client.inbox.items.length;
  const { ack, id } = await emitter.emit(line('order:created'), `${JSON.stringify(line('order:deleted', { orderId: 'acknowledged' }))}\r`);
  same('ack', ack, 4);
  const event = await client.inbox.find('the event', ({ data }) => data?.orderId === 'acknowledged', from);
  same('newest id', id, event.id);
  emitter.socket.destroy();
}

async function refuse(stage, bad, code) {
  const emitter = await Emitter.connect(stage.server.socketPath);
  const { client } = stage.observers[0];
  const from = client.inbox.items.length;
  await emitter.emit(line('order:deleted', { orderId: 'before' }), bad, line('order:deleted', { orderId: 'after' }));
  const [refusals, acks] = [true, false].map((isError) => emitter.answers.items.filter(({ error }) => (error !== undefined) === isError));
  same('refusals', refusals.map(({ error }) => [error.line, error.code, typeof error.message]), [[2, code, 'string']]);
  const place = emitter.answers.items.indexOf(refusals[0]);
  const covering = emitter.answers.items.findIndex(({ ack }) => ack >= 2);
  if (place > covering) {
    throw new Error('the refusal came after the ack that covers its line');
  }
  same('last ack', acks.at(-1).ack, 3);
  await stage.fence([client]);
  const got = client.inbox.items.slice(from).filter(({ id, data }) => id !== undefined && data.productId === undefined);
  same('events of the lines around it', got.map(({ data }) => data.orderId), ['before', 'after']);
  emitter.socket.destroy();
}

async function cutLines(stage) {
  const { client } = stage.observers[0];
  const from = client.inbox.items.length;
  const names = Array.from({ length: 20 }, (_, n) => `Zoë 🦉 ${n}`);
  const bytes = Buffer.from(names.map((customerName) => `${JSON.stringify(line('order:created', { customerName }))}\n`).join(''));
  const emitter = await Emitter.connect(stage.server.socketPath);
  for (let at = 0, size = 1; at < bytes.length; at += size, size = (size % 13) + 1) {
    await new Promise((resolve) => emitter.socket.write(bytes.subarray(at, at + size), resolve));
    // Gives the server the chance to read what is there.
    await new Promise(setImmediate);
  }
  emitter.sent = names.length;
  await emitter.settled();
  await stage.fence([client]);
  const got = client.inbox.items.slice(from).flatMap(({ id, data }) => (id !== undefined && data.customerName) || []);
  same('names', got, names);
  emitter.socket.destroy();
}

async function longChunk(stage) {
  const big = line('order:updated', { changes: { text: 'x'.repeat(200_000) } });
  return stage.play([line('order:created'), ...Array(20).fill(big), line('order:created')]);
}

async function severalEmitters(stage) {
  const before = stage.observers.map(({ client }) => client.inbox.items.length);
  const emitters = await Promise.all(Array.from({ length: 4 }, () => Emitter.connect(stage.server.socketPath)));
  await Promise.all(
    emitters.map(async (emitter, which) => {
      for (let n = 0; n < 100; n += 4) {
        await emitter.emit(...[n, n + 1, n + 2, n + 3].map((number) => line('product:created', { which, number })));
      }
      emitter.socket.destroy();
    }),
  );
  await stage.fence();
  const lists = stage.observers.map(({ client }, place) => client.inbox.items.slice(before[place]).filter(({ data }) => data?.which !== undefined));
  for (const list of lists) {
    same('one order for all', list.map(({ id }) => id), lists[0].map(({ id }) => id));
  }
  for (const which of emitters.keys()) {
    const numbers = lists[0].filter(({ data }) => data.which === which).map(({ data }) => data.number);
    same(`order of emitter ${which}`, numbers, [...Array(100).keys()]);
  }
}

async function halfClose(stage) {
  const emitter = await Emitter.connect(stage.server.socketPath);
  emitter.sent = 3;
  emitter.socket.end([1, 2, 3].map(() => JSON.stringify(line('order:created'))).join('\n'));
  await emitter.settled();
  await within(5, 'the close', emitter.ended);
  same('answer', emitter.answers.items.at(-1).ack, 3);
  // Nothing of it is to arrive in the middle of what is checked next.
  await stage.fence();
}

async function deadEmitter(stage) {
  const { client } = stage.observers[0];
  const from = client.inbox.items.length;
  const emitter = await Emitter.connect(stage.server.socketPath);
  await emitter.emit(line('order:deleted', { orderId: 'whole' }));
  await new Promise((resolve) => emitter.socket.write('{"type":"order:deleted","data":{"orderId":"cut', resolve));
  emitter.socket.destroy();
  await stage.fence([client]);
  const got = client.inbox.items.slice(from).filter(({ id, data }) => id !== undefined && data.productId === undefined);
  same('events', got.map(({ data }) => data.orderId), ['whole']);
}

async function slowConsumer(stage) {
  const [slow, quick] = [await stage.connect({ role: 'guest', user: 'u-slow' }), await stage.connect({ role: 'guest', user: 'u-quick' })];
  await Promise.all([slow, quick].map((client) => client.subscribe(['products'])));
  const { pid } = stage.server.process;
  const socketsBefore = openSockets(pid);
  slow.stall();
  const big = line('product:updated', { changes: { text: 'x'.repeat(60_000) } }, { roles: ['guest'], userIds: ['u-slow', 'u-quick'] });
  const rounds = 50;
  const perRound = 16;
  for (let round = 0; round < rounds; round += 1) {
    await stage.emitter.emit(...Array(perRound).fill(big));
    await stage.fence([quick]);
  }
  // That the server has closed its end shows in its open files: the client, which does not read, cannot tell.
  const deadline = Date.now() + 10_000;
  while (openSockets(pid) >= socketsBefore) {
    if (Date.now() > deadline) {
      throw new Error('the connection is still open');
    }
    await sleep(20);
  }
  slow.resume();
  await within(10, 'the close at the client', slow.closed);
  const [slowCount, quickCount] = [slow, quick].map(({ events }) => events.filter(({ type }) => type === 'product:updated').length);
  same('what the quick one got', quickCount, rounds * perRound);
  if (slowCount >= quickCount) {
    throw new Error('the slow one got everything');
  }
  quick.close();
}

function openSockets(pid) {
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:');
    } catch {
      // Closed since it was listed.
      return false;
    }
  }).length;
}
