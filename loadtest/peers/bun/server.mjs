// The peer made of Bun: `Bun.serve`, whose WebSockets are uWebSockets'.
//
// What a whole group gets is published to the group's topic; what single connections get is sent to them. Bun keeps both in
// one order: a send first writes what has been published to that connection.

import { EventIds } from '../shared/ingest.mjs';
import { listenForEmitters } from '../shared/node-ingest.mjs';
import { announce, fail, OUTBOX_LIMIT, readSettings, WS_PATH } from '../shared/process.mjs';
import { Sessions } from '../shared/session.mjs';
import { tokenVerifier } from '../shared/tokens.mjs';

const settings = readSettings();
const ids = new EventIds();
const sessions = new Sessions('bun', tokenVerifier(settings.secret), ids);

/** A connection's way out. */
class Link {
  constructor(ws) {
    this.ws = ws;
  }

  send(text) {
    this.ws.sendText(text);
  }

  close(code, reason) {
    this.ws.close(code, reason);
  }

  moved(from, to) {
    if (from !== null) {
      this.ws.unsubscribe(from.name);
    }
    this.ws.subscribe(to.name);
  }
}

const websocket = {
  perMessageDeflate: false,
  backpressureLimit: OUTBOX_LIMIT,
  closeOnBackpressureLimit: true,
  publishToSelf: false,
  open(ws) {
    ws.data.connection = sessions.open(new Link(ws));
  },
  message(ws, message) {
    sessions.message(ws.data.connection, message);
  },
  close(ws) {
    sessions.close(ws.data.connection);
  },
};

function serve() {
  try {
    return Bun.serve({
      hostname: settings.host,
      port: settings.port,
      websocket,
      fetch(request, server) {
        if (new URL(request.url).pathname !== WS_PATH) {
          return new Response('Not Found', { status: 404 });
        }
        return server.upgrade(request, { data: {} }) ? undefined : new Response('Upgrade Required', { status: 426 });
      },
    });
  } catch (error) {
    return fail(1, `cannot listen on ${settings.host}:${settings.port}: ${error.message}`);
  }
}

function deliver(event, audience) {
  // Built for the first receiver: most events of a shop have one, but not all.
  let text;
  const once = () => (text ??= JSON.stringify(event));
  sessions.hub.route(
    event.type,
    audience,
    (group, without) => publish(group, without, once()),
    (connection) => connection.link.ws.sendText(once()),
  );
}

function publish(group, without, text) {
  const left = [...without].filter((connection) => connection.group === group);
  if (left.length === 0) {
    server.publish(group.name, text);
  } else if (left.length === 1) {
    // A connection that publishes to its own topic is the one that does not get it.
    left[0].link.ws.publishText(group.name, text);
  } else {
    for (const connection of group.members) {
      if (!without.has(connection)) {
        connection.link.ws.sendText(text);
      }
    }
  }
}

const server = serve();
await listenForEmitters(settings.socketPath, ids, deliver, () => {});
announce('bun', `ws://${settings.host}:${server.port}${WS_PATH}`, settings.socketPath);
