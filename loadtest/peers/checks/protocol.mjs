// Checks of what a client says and hears: tokens, subscriptions, errors.

import WebSocket from 'ws';

import { connectClient, PlainClient } from './clients.mjs';
import { access, line, NAMESPACES, ROLES } from './lines.mjs';
import { same } from './stage.mjs';
import { badTokens } from './tokens.mjs';
import { Inbox, within } from './waiting.mjs';

export function protocolChecks(stage, check) {
  const { url, secret } = stage.server;
  const speaksSocketIo = url.includes('/socket.io/');
  return [
    ...(speaksSocketIo ? socketIoChecks(stage, check) : plainChecks(stage, check)),
    ...Object.entries(badTokens(secret)).map(([name, token]) => () =>
      check(`token refused: ${name}`, () => (speaksSocketIo ? refusedConnect(url, token) : refusedAuth(url, token))),
    ),
    ...ROLES.map((role) => () => check(`${role} may subscribe to what the access table says`, () => subscriptions(stage, role))),
    () => check('subscribe is all or nothing', () => allOrNothing(stage)),
    () => check('a wrong subscribe is an invalid_message', () => wrongSubscribe(stage)),
  ];
}

function plainChecks(stage, check) {
  const { url } = stage.server;
  return [
    () => check('welcome comes first', () => welcome(url)),
    () => check('auth is answered by authenticated', () => authenticated(stage)),
    () => check('ping is answered by pong', () => pong(url)),
    () => check('what is unreadable is an invalid_message, and the connection stays', () => unreadable(url)),
    () => check('other paths are no WebSocket', () => otherPath(url)),
  ];
}

async function welcome(url) {
  const client = await PlainClient.connect(url);
  const [{ type, data }] = client.inbox.items;
  same('type', type, 'welcome');
  same('kinds of fields', [data.connectionId, data.server, data.pingInterval].map((value) => typeof value), ['string', 'string', 'number']);
  client.close();
}

async function authenticated(stage) {
  for (const session of ['s-1', undefined]) {
    const client = await stage.connect({ role: 'staff', user: 'u-1', session });
    const { type, data } = client.identity;
    same('type', type, 'authenticated');
    same('who', [data.userId, data.role, data.sessionId], ['u-1', 'staff', session ?? null]);
    const left = data.expiresAt - Date.now();
    if (!(left > 3_590_000 && left <= 3_601_000)) {
      throw new Error(`expiresAt is ${left} ms away`);
    }
    client.close();
  }
}

async function pong(url) {
  const client = await PlainClient.connect(url);
  client.sendText('{"type":"ping"}');
  const { timestamp } = await client.inbox.find('pong', ({ type }) => type === 'pong');
  same('timestamp', typeof timestamp, 'number');
  client.close();
}

async function unreadable(url) {
  const client = await PlainClient.connect(url);
  for (const text of ['nonsense', '[]', '7', '{}', '{"type":7}']) {
    const from = client.inbox.items.length;
    client.sendText(text);
    const { type, data } = await client.inbox.find(`the answer to ${text}`, () => true, from);
    same(text, [type, data.code], ['error', 'invalid_message']);
  }
  const { data } = await client.ask('dance', {});
  same('unknown message', [data.code, typeof data.message], ['unknown_type', 'string']);
  await client.subscribe(['products']);
  client.close();
}

async function otherPath(url) {
  const socket = new WebSocket(new URL('/elsewhere', url));
  const outcome = await within(5, 'an answer', new Promise((resolve) => {
    socket.on('unexpected-response', (_request, response) => resolve(response.statusCode));
    socket.on('open', () => resolve('open'));
  }));
  socket.on('error', () => {});
  socket.terminate();
  same('status', outcome, 404);
}

async function refusedAuth(url, token) {
  const client = await PlainClient.connect(url, token);
  const { type, data } = client.identity;
  const code = data.code === 'token_expired' ? 'unauthorized' : data.code;
  same('answer', [type, code, data.request, typeof data.message], ['error', 'unauthorized', 'auth', 'string']);
  same('close code', await within(5, 'the close', client.closed), 4401);
}

async function refusedConnect(url, token) {
  const outcome = await connectClient(url, token).then(() => 'connected', (error) => error.message);
  if (outcome === 'connected') {
    throw new Error('connected all the same');
  }
}

async function subscriptions(stage, role) {
  const client = await stage.connect({ role, user: 'u-asking' });
  const granted = [];
  for (const namespace of NAMESPACES) {
    const { type, data } = await client.ask('subscribe', { namespaces: [namespace] });
    if (access(role, namespace) === null) {
      const code = role === 'public' ? 'unauthorized' : 'forbidden';
      same(namespace, [type, data.code, data.request], ['error', code, 'subscribe']);
    } else {
      granted.push(namespace);
      same(namespace, [type, data.namespaces.toSorted()], ['subscribed', granted.toSorted()]);
      same('position', typeof data.position, 'string');
    }
  }
  client.close();
}

async function allOrNothing(stage) {
  const client = await stage.connect({ role: 'customer', user: 'u-asking' });
  const refused = await client.ask('subscribe', { namespaces: ['orders', 'system'] });
  same('answer', [refused.type, refused.data.code], ['error', 'forbidden']);
  await client.subscribe(['products']);
  await stage.emitter.emit(line('order:created', { customerId: 'u-asking' }));
  await stage.fence([client]);
  same('orders', client.events.filter(({ namespace }) => namespace === 'orders'), []);
  client.close();
}

async function wrongSubscribe(stage) {
  const client = await stage.connect({ role: 'admin', user: 'u-asking' });
  const wrong = [
    {},
    { namespaces: [] },
    { namespaces: 'orders' },
    { namespaces: ['orders', 'orderz'] },
    { namespaces: ['orders'], events: ['payment:failed'] },
    { namespaces: ['orders'], events: ['order:eaten'] },
  ];
  for (const data of wrong) {
    const answer = await client.ask('subscribe', data);
    same(JSON.stringify(data), [answer.type, answer.data.code], ['error', 'invalid_message']);
  }
  client.close();
}

function socketIoChecks(stage, check) {
  return [() => check('on the wire: 40 with the token, then 42 with what is asked and told', () => wire(stage))];
}

async function wire(stage) {
  const socket = new WebSocket(stage.server.url);
  const packets = new Inbox();
  socket.on('message', (message) => packets.push(message.toString()));
  await packets.find('the open packet', (packet) => packet.startsWith('0{'));
  socket.send(`40${JSON.stringify({ token: stage.token({ role: 'staff', user: 'u-wire' }) })}`);
  await packets.find('the connect packet', (packet) => packet.startsWith('40{"sid":'));
  socket.send('42["subscribe",{"namespaces":["orders"]}]');
  await packets.find('subscribed', (packet) => packet.startsWith('42["subscribed",{"namespaces":["orders"]'));
  await stage.emitter.emit(line('order:deleted', { orderId: 'wire' }));
  const packet = await packets.find('the event', (text) => text.startsWith('42["event",{"id":'));
  const [name, event] = JSON.parse(packet.slice(2));
  same('event', [name, event.type, event.namespace, event.data.orderId], ['event', 'order:deleted', 'orders', 'wire']);
  socket.send('40{"token":"again"}');
  socket.terminate();

  const refused = new WebSocket(stage.server.url);
  const answers = new Inbox();
  refused.on('message', (message) => answers.push(message.toString()));
  refused.on('open', () => refused.send('40{"token":"nonsense"}'));
  await answers.find('the connect error', (text) => text.startsWith('44{"message":'));
  refused.terminate();
}
