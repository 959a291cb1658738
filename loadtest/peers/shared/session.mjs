// The WebSocket protocol of the contract, for the peers that speak it as it is written: auth, subscribe, unsubscribe, ping.
//
// A peer gives each connection a `link` with `send(text)`, `close(code, reason)` and `moved(from, to)`, which is told when
// the connection changes its group.

import { randomUUID } from 'node:crypto';

import { isObject, readNamespaces, readSubscription, Refusal } from './contract.mjs';
import { Connection, Hub } from './hub.mjs';
import { PING_INTERVAL } from './process.mjs';

const CLOSE_TOKEN_REFUSED = 4401;

export class Sessions {
  hub = new Hub();
  #server;
  #verify;
  #ids;

  constructor(server, verify, ids) {
    this.#server = server;
    this.#verify = verify;
    this.#ids = ids;
  }

  /** Welcomes a new connection. */
  open(link) {
    const connection = new Connection(randomUUID(), link);
    this.#move(connection, () => this.hub.regroup(connection));
    send(connection, 'welcome', { connectionId: connection.id, server: this.#server, pingInterval: PING_INTERVAL });
    return connection;
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
    for (const [namespace, types] of readSubscription(connection.role, data)) {
      connection.subscription.set(namespace, types);
    }
    this.#move(connection, () => this.hub.regroup(connection));
    send(connection, 'subscribed', { namespaces: [...connection.subscription.keys()], position: this.#ids.newest });
  }

  #unsubscribe(connection, data) {
    for (const namespace of readNamespaces(data)) {
      connection.subscription.delete(namespace);
    }
    this.#move(connection, () => this.hub.regroup(connection));
    send(connection, 'unsubscribed', { namespaces: [...connection.subscription.keys()] });
  }

  #move(connection, change) {
    const from = connection.group;
    change();
    if (connection.group !== from) {
      connection.link.moved(from, connection.group);
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
