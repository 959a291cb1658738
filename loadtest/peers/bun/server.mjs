// The peer made of Bun: `Bun.serve`, whose WebSockets are uWebSockets'.
//
// A single event for a whole group is published to the group's topic. Several events of one chunk are sent to each member by
// itself, corked, which joins more of them into one write than publishing does. Bun keeps both in one order: a send first
// writes what has been published to that connection.

import { Batch } from '../shared/batch.mjs';
import { Connection } from '../shared/hub.mjs';
import { EventIds } from '../shared/ingest.mjs';
import { announce, fail, OUTBOX_LIMIT, readSettings, WS_PATH } from '../shared/process.mjs';
import { Sessions } from '../shared/session.mjs';
import { tokenVerifier } from '../shared/tokens.mjs';
import { listenForEmitters } from './ingest.mjs';

const settings = readSettings();
const ids = new EventIds();
const sessions = new Sessions('bun', tokenVerifier(settings.secret), ids, (connection, from, to) => {
  if (from !== null) {
    connection.link.unsubscribe(from.name);
  }
  if (to !== null) {
    connection.link.subscribe(to.name);
  }
});

const websocket = {
  perMessageDeflate: false,
  backpressureLimit: OUTBOX_LIMIT,
  closeOnBackpressureLimit: true,
  publishToSelf: false,
  open(ws) {
    sessions.open(ws.data, ws);
  },
  message(ws, message) {
    sessions.message(ws.data, message);
  },
  close(ws) {
    sessions.close(ws.data);
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
        return server.upgrade(request, { data: new Connection() }) ? undefined : new Response('Upgrade Required', { status: 426 });
      },
    });
  } catch (error) {
    return fail(1, `cannot listen on ${settings.host}:${settings.port}: ${error.message}`);
  }
}

const batch = new Batch(
  (group, texts) => {
    if (texts.length > 1 || group.apart.length > 1) {
      group.eachTogether((connection) => sendAll(connection, texts));
    } else if (group.apart.length === 1) {
      // A connection that publishes to its own topic is the one that does not get it.
      group.apart[0].link.publishText(group.name, texts[0]);
    } else {
      server.publish(group.name, texts[0]);
    }
  },
  (connection, texts) => sendAll(connection, texts),
);

function sendAll({ link }, texts) {
  if (texts.length === 1) {
    link.sendText(texts[0]);
  } else {
    link.cork(() => {
      for (const text of texts) {
        link.sendText(text);
      }
    });
  }
}

function deliver(event, audience) {
  // Built for the first receiver: most events of a shop have one, but not all.
  let text;
  const once = () => (text ??= event.toText());
  sessions.hub.route(
    event.type,
    audience,
    (group, without) => batch.toGroup(group, without, once()),
    (connection) => batch.toOne(connection, once()),
  );
}

const server = serve();
await listenForEmitters(settings.socketPath, ids, deliver, () => batch.flush());
announce('bun', `ws://${settings.host}:${server.port}${WS_PATH}`, settings.socketPath);
