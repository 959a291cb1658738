#!/usr/bin/env node
// The peer made of Node and `ws`.
//
// `ws` does the handshakes, reads, pings and closes; texts are written past it, as frames built once and joined a chunk,
// straight to the TCP socket. That is sound because without compression `ws` itself writes each of its frames whole, at once.

import { createServer, STATUS_CODES } from 'node:http';

import { WebSocketServer } from 'ws';

import { Batch } from '../shared/batch.mjs';
import { Connection } from '../shared/hub.mjs';
import { EventIds } from '../shared/ingest.mjs';
import { listenForEmitters } from '../shared/node-ingest.mjs';
import { announce, BACKLOG, fail, OUTBOX_LIMIT, PING_INTERVAL, readSettings, WS_PATH } from '../shared/process.mjs';
import { Sessions } from '../shared/session.mjs';
import { tokenVerifier } from '../shared/tokens.mjs';
import { BYTES, textFrame } from './frames.mjs';

const settings = readSettings();
const ids = new EventIds();
const sessions = new Sessions('ws', tokenVerifier(settings.secret), ids);
const wss = new WebSocketServer({
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  // Payloads are parsed as JSON anyway, which UTF-8 errors do not harm.
  skipUTF8Validation: true,
});
const links = new Set();

/** A connection's way out: `ws` for what the protocol says, the socket for texts. */
class Link {
  alive = true;

  constructor(ws, socket) {
    this.ws = ws;
    this.socket = socket;
  }

  send(text) {
    this.write(textFrame(text));
  }

  close(code, reason) {
    this.ws.close(code, reason.slice(0, 100));
  }

  write(frames) {
    const { socket, ws } = this;
    if (ws.readyState !== ws.OPEN) {
      return;
    }
    // A string that has to wait is copied: its parts belong to a whole chunk, which it would keep in memory.
    const mustCopy = typeof frames === 'string' && socket.writableLength > 0;
    socket.write(mustCopy ? Buffer.from(frames, BYTES) : frames, BYTES);
    if (socket.writableLength > OUTBOX_LIMIT) {
      ws.terminate();
    }
  }

  /** A connection that has not answered the last ping is gone. */
  ping() {
    if (this.alive) {
      this.alive = false;
      this.ws.ping();
    } else {
      this.ws.terminate();
    }
  }
}

function welcome(ws, socket) {
  const link = new Link(ws, socket);
  const connection = new Connection();
  links.add(link);
  ws.on('message', (message) => sessions.message(connection, message));
  ws.on('pong', () => {
    link.alive = true;
  });
  ws.on('error', (error) => process.stderr.write(`${connection.user ?? 'public'}: ${error.message}\n`));
  ws.on('close', () => {
    links.delete(link);
    sessions.close(connection);
  });
  sessions.open(connection, link);
}

const http = createServer({ noDelay: true }, (_request, response) => {
  response.writeHead(426, { Connection: 'close' }).end(STATUS_CODES[426]);
});
http.on('upgrade', (request, socket, head) => {
  if (request.url.split('?', 1)[0] !== WS_PATH) {
    socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    return;
  }
  wss.handleUpgrade(request, socket, head, (ws) => welcome(ws, socket));
});
setInterval(() => links.forEach((link) => link.ping()), PING_INTERVAL);

const batch = new Batch(
  (group, frames) => {
    const bytes = Buffer.from(frames.join(''), BYTES);
    group.eachTogether((connection) => connection.link.write(bytes));
  },
  (connection, frames) => connection.link.write(frames.join('')),
);

function deliver(event, audience) {
  // Built for the first receiver: most events of a shop have one, but not all.
  let frame;
  const once = () => (frame ??= textFrame(event.toText()));
  sessions.hub.route(
    event.type,
    audience,
    (group, without) => batch.toGroup(group, without, once()),
    (connection) => batch.toOne(connection, once()),
  );
}

await listenForEmitters(settings.socketPath, ids, deliver, () => batch.flush());
http.on('error', (error) => fail(1, `cannot listen on ${settings.host}:${settings.port}: ${error.message}`));
http.listen({ host: settings.host, port: settings.port, backlog: BACKLOG }, () => {
  announce('ws', `ws://${settings.host}:${http.address().port}${WS_PATH}`, settings.socketPath);
});
