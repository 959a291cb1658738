// The WebSocket protocol of the contract, for the peers that speak it as it is written: auth, subscribe, unsubscribe, ping.
//
// A peer gives each connection a `link` with `send(text)` and `close(code, reason)`.

import { randomUUID } from 'node:crypto';

import { isObject, namespacesOf, Refusal, subscribe, unsubscribe } from './contract.mjs';
import { Hub } from './hub.mjs';
import { PING_INTERVAL } from './process.mjs';

const CLOSE_TOKEN_REFUSED = 4401;

export class Sessions {
  hub = new Hub();
  #server;
  #verify;
  #ids;
  #moved;

  /** `moved(connection, from, to)` is told when a connection changes its group; null is none. */
  constructor(server, verify, ids, moved = () => {}) {
    this.#server = server;
    this.#verify = verify;
    this.#ids = ids;
    this.#moved = moved;
  }

  /** Welcomes a new connection, which is heard by `link`. */
  open(connection, link) {
    connection.link = link;
    send(connection, 'welcome', { connectionId: randomUUID(), server: this.#server, pingInterval: PING_INTERVAL });
  }

  close(connection) {
    this.hub.remove(connection);
  }

  /** Answers one message of a client. */
  message(connection, text) {
    let request;
    try {
      const message = readMessage(text);
      request = message.type;
      this.#perform(connection, message);
    } catch (error) {
      if (!(error instanceof Refusal)) {
        throw error;
      }
      send(connection, 'error', { code: error.code, message: error.message, request });
      if (request === 'auth' && connection.user === null) {
        connection.link.close(CLOSE_TOKEN_REFUSED, error.message);
      }
    }
  }

  #perform(connection, { type, data = {} }) {
    if (!isObject(data)) {
      throw new Refusal('invalid_message', '`data` is not an object');
    }
    switch (type) {
      case 'auth':
        return this.#authenticate(connection, data.token);
      case 'subscribe':
        return this.#subscribe(connection, data);
      case 'unsubscribe':
        return this.#unsubscribe(connection, data);
      case 'ping':
        return connection.link.send(JSON.stringify({ type: 'pong', timestamp: Date.now() }));
      default:
        throw new Refusal('unknown_type', `\`${type}\` is no message of a client`);
    }
  }

  #authenticate(connection, token) {
    const claims = this.#verify(token);
    if (connection.user !== null && connection.user !== claims.user) {
      throw new Refusal('unauthorized', 'the token is another user\'s');
    }
    this.#move(connection, () => this.hub.identify(connection, claims));
    const { user: userId, role, session: sessionId, expiresAt } = claims;
    send(connection, 'authenticated', { userId, role, sessionId, expiresAt });
  }

  #subscribe(connection, data) {
    const types = subscribe(connection.role, connection.subscribed, data);
    this.#move(connection, () => this.hub.subscribe(connection, types));
    send(connection, 'subscribed', { namespaces: namespacesOf(types), position: this.#ids.newest });
  }

  #unsubscribe(connection, data) {
    const types = unsubscribe(connection.subscribed, data);
    this.#move(connection, () => this.hub.subscribe(connection, types));
    send(connection, 'unsubscribed', { namespaces: namespacesOf(types) });
  }

  #move(connection, change) {
    const from = connection.group;
    change();
    if (connection.group !== from) {
      this.#moved(connection, from, connection.group);
    }
  }
}

function readMessage(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch (error) {
    throw new Refusal('invalid_message', error.message);
  }
  if (!isObject(message) || typeof message.type !== 'string') {
    throw new Refusal('invalid_message', 'the message is not an object with a type');
  }
  return message;
}

function send(connection, type, data) {
  connection.link.send(JSON.stringify({ type, data }));
}
