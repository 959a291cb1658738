#!/usr/bin/env node
// The peer made of Node and Socket.IO: its own handshake, its own packets, and its rooms for who gets what.

import { createServer } from 'node:http';

import { Server } from 'socket.io';

import { namespacesOf, PUBLIC, Refusal, subscribe, unsubscribe } from '../shared/contract.mjs';
import { EventIds } from '../shared/ingest.mjs';
import { listenForEmitters } from '../shared/node-ingest.mjs';
import { announce, BACKLOG, fail, OUTBOX_LIMIT, PING_INTERVAL, readSettings } from '../shared/process.mjs';
import { tokenVerifier } from '../shared/tokens.mjs';
import { audienceRooms, excludedRooms, identityRooms, subscriptionRooms } from './rooms.mjs';

const OUTBOX_CHECK_INTERVAL = 1000;

const settings = readSettings();
const ids = new EventIds();
const verify = tokenVerifier(settings.secret);
const http = createServer({ noDelay: true });
const io = new Server(http, {
  transports: ['websocket'],
  serveClient: false,
  perMessageDeflate: false,
  httpCompression: false,
  pingInterval: PING_INTERVAL,
});

/** Engine.IO's connections with their TCP sockets. */
const conns = new Map();

io.use((socket, next) => {
  const { token } = socket.handshake.auth;
  try {
    socket.data = token === undefined ? { user: null, role: PUBLIC, session: null } : verify(token);
    next();
  } catch (error) {
    next(error);
  }
});

io.on('connection', (socket) => {
  const { data: identity } = socket;
  /** The set of types that it is subscribed to. */
  let subscribed = 0;
  socket.join(identityRooms(identity));

  socket.on('subscribe', (data) =>
    perform(socket, 'subscribe', () => {
      resubscribe(subscribe(identity.role, subscribed, data ?? {}));
      return { namespaces: namespacesOf(subscribed), position: ids.newest };
    }),
  );
  socket.on('unsubscribe', (data) =>
    perform(socket, 'unsubscribe', () => {
      resubscribe(unsubscribe(subscribed, data ?? {}));
      return { namespaces: namespacesOf(subscribed) };
    }),
  );

  function resubscribe(types) {
    const rooms = subscriptionRooms(identity, types);
    for (const room of subscriptionRooms(identity, subscribed)) {
      if (!rooms.includes(room)) {
        socket.leave(room);
      }
    }
    socket.join(rooms);
    subscribed = types;
  }
});

function perform(socket, request, action) {
  try {
    socket.emit(`${request}d`, action());
  } catch (error) {
    if (!(error instanceof Refusal)) {
      throw error;
    }
    socket.emit('error', { code: error.code, message: error.message, request });
  }
}

io.engine.on('connection', (conn) => {
  const { socket } = conn.request;
  // The handshake's request is not needed any more; it would stay in memory as long as the connection.
  conn.request = null;
  // Joins the packets of one flush; without this each of them costs a system call.
  conn.on('flush', () => socket.cork());
  conn.on('drain', () => socket.uncork());
  conns.set(conn, socket);
  conn.on('close', () => conns.delete(conn));
});

// Looked at now and then, because a look at each send would cost everybody.
setInterval(() => {
  for (const [conn, socket] of conns) {
    const queued = conn.writeBuffer.reduce((sum, packet) => sum + (packet.data?.length ?? 0), 0);
    if (socket.writableLength + queued > OUTBOX_LIMIT) {
      socket.destroy();
    }
  }
}, OUTBOX_CHECK_INTERVAL);

function deliver(event, audience) {
  const { id, type, parsed, timestamp } = event;
  const rooms = audienceRooms(type, audience, io.of('/').adapter.rooms);
  if (rooms.length > 0) {
    io.to(rooms).except(excludedRooms(audience)).emit('event', { id, type: type.name, namespace: type.namespace, data: parsed.data, timestamp });
  }
}

await listenForEmitters(settings.socketPath, ids, deliver, () => {});
http.on('error', (error) => fail(1, `cannot listen on ${settings.host}:${settings.port}: ${error.message}`));
http.listen({ host: settings.host, port: settings.port, backlog: BACKLOG }, () => {
  const url = `ws://${settings.host}:${http.address().port}/socket.io/?EIO=4&transport=websocket`;
  announce('socketio', url, settings.socketPath);
});
