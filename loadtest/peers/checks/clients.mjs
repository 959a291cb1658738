// The clients that check a server: one for the contract's WebSocket protocol, one for Socket.IO, alike from the outside; and an
// emitter on the ingest socket.

import { once } from 'node:events';
import { connect } from 'node:net';

import { io } from 'socket.io-client';
import WebSocket from 'ws';

import { Inbox, within } from './waiting.mjs';

/** Connects a client that speaks what the server at `url` does. `token` undefined: public. */
export function connectClient(url, token) {
  return url.includes('/socket.io/') ? SocketIoClient.connect(url, token) : PlainClient.connect(url, token);
}

class Client {
  /** All messages, each `{type, data, …}`; those with an id are events. */
  inbox = new Inbox();

  get events() {
    return this.inbox.items.filter((message) => message.id !== undefined);
  }

  /** Asks, and gives the answer: `{type, data}`. */
  async ask(type, data) {
    const from = this.inbox.items.length;
    this.send(type, data);
    return this.inbox.find(`the answer to ${type}`, ({ id, type: answer }) => id === undefined && answer !== 'welcome', from);
  }

  async subscribe(namespaces, events) {
    const answer = await this.ask('subscribe', { namespaces, events });
    if (answer.type !== 'subscribed') {
      throw new Error(`subscribe to ${namespaces}: ${JSON.stringify(answer)}`);
    }
    return answer;
  }

  /** Waits for the event about product `productId`. */
  async fence(productId) {
    await this.inbox.find(`the fence ${productId}`, ({ data, id }) => id !== undefined && data.productId === productId);
  }
}

export class PlainClient extends Client {
  static async connect(url, token) {
    const client = new PlainClient();
    client.socket = new WebSocket(url, { perMessageDeflate: false });
    client.closed = once(client.socket, 'close').then(([code]) => code);
    client.socket.on('message', (message, isBinary) => client.inbox.push(isBinary ? { binary: true } : JSON.parse(message)));
    client.socket.on('error', (error) => client.inbox.push({ type: 'broken', data: error.message }));
    await client.inbox.find('welcome', () => true);
    if (token !== undefined) {
      client.identity = await client.ask('auth', { token });
    }
    return client;
  }

  send(type, data) {
    this.sendText(JSON.stringify({ type, data }));
  }

  sendText(text) {
    this.socket.send(text);
  }

  /** Stops reading. */
  stall() {
    this.socket.pause();
  }

  resume() {
    this.socket.resume();
  }

  close() {
    this.socket.terminate();
  }
}

export class SocketIoClient extends Client {
  static async connect(url, token) {
    const client = new SocketIoClient();
    const auth = token === undefined ? {} : { token };
    client.socket = io(new URL(url).origin, { transports: ['websocket'], forceNew: true, reconnection: false, auth });
    client.socket.on('event', (event) => client.inbox.push(event));
    for (const type of ['subscribed', 'unsubscribed', 'error']) {
      client.socket.on(type, (data) => client.inbox.push({ type, data }));
    }
    client.closed = new Promise((resolve) => client.socket.on('disconnect', resolve));
    await within(10, 'connect', Promise.race([
      once(client.socket, 'connect'),
      once(client.socket, 'connect_error').then(([error]) => {
        throw error;
      }),
    ]));
    return client;
  }

  send(type, data) {
    this.socket.emit(type, data);
  }

  stall() {
    this.#tcp.pause();
  }

  resume() {
    this.#tcp.resume();
  }

  close() {
    this.socket.disconnect();
  }

  get #tcp() {
    return this.socket.io.engine.transport.ws._socket;
  }
}

export class Emitter {
  /** All answers, each with the place it has. */
  answers = new Inbox();
  sent = 0;
  #rest = '';

  static async connect(path) {
    const emitter = new Emitter();
    emitter.socket = connect({ path, allowHalfOpen: true });
    emitter.ended = once(emitter.socket, 'end');
    emitter.socket.setEncoding('utf8').on('data', (text) => {
      const lines = (emitter.#rest + text).split('\n');
      emitter.#rest = lines.pop();
      lines.forEach((line) => emitter.answers.push(JSON.parse(line)));
    });
    await once(emitter.socket, 'connect');
    return emitter;
  }

  /** Sends lines (objects, or text as it is) in one write, and waits until they are settled. */
  async emit(...lines) {
    this.write(...lines);
    return this.settled();
  }

  write(...lines) {
    this.sent += lines.length;
    this.socket.write(lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join(''));
  }

  async settled() {
    return this.answers.find(`the ack of ${this.sent} lines`, ({ ack }) => ack >= this.sent);
  }
}
