// The stage on which most checks play: a server, an emitter, and observers of every role, each subscribed to all it may see.

import { connectClient, Emitter } from './clients.mjs';
import { allowed, fenceLine, receives } from './lines.mjs';
import { mint } from './tokens.mjs';

const CAST = {
  admin: { role: 'admin', user: 'u-admin', session: 's-admin' },
  manager: { role: 'manager', user: 'u-manager', session: 's-manager' },
  staff: { role: 'staff', user: 'u-staff', session: 's-staff' },
  'staff, second tab': { role: 'staff', user: 'u-staff', session: 's-staff-2' },
  'other staff': { role: 'staff', user: 'u-other-staff' },
  'filtering staff': { role: 'staff', user: 'u-filter', types: ['order:created', 'inventory:low_stock'] },
  customer: { role: 'customer', user: 'u-customer', session: 's-customer' },
  'customer, second tab': { role: 'customer', user: 'u-customer', session: 's-customer-2' },
  'other customer': { role: 'customer', user: 'u-other-customer' },
  'filtering customer': { role: 'customer', user: 'u-customer', types: ['order:created'] },
  guest: { role: 'guest', user: 'u-guest' },
  public: { role: 'public' },
};

export class Stage {
  observers = [];
  #fences = 0;

  static async open(server) {
    const stage = new Stage();
    stage.server = server;
    stage.emitter = await Emitter.connect(server.socketPath);
    for (const [name, part] of Object.entries(CAST)) {
      const client = await stage.connect(part);
      await client.subscribe(allowed(part.role), part.types);
      stage.observers.push({ name, types: null, ...part, client });
    }
    return stage;
  }

  /** A client with a token for `{role, user, session}`, or without one where the role is public. */
  connect({ role, user, session }) {
    return connectClient(this.server.url, role === 'public' ? undefined : this.token({ role, user, session }));
  }

  token({ role, user, session }) {
    return mint(this.server.secret, { sub: user, role, sid: session });
  }

  /** Waits until every observer (or `clients`) has got all that was emitted up to now. */
  async fence(clients = this.observers.map(({ client }) => client)) {
    this.#fences += 1;
    const productId = `fence-${process.pid}-${this.#fences}`;
    await this.emitter.emit(fenceLine(productId));
    await Promise.all(clients.map((client) => client.fence(productId)));
  }

  /**
   * Emits lines in chunks, each line numbered by `data.n`, and checks that every observer gets exactly those meant for it, once
   * and in order.
   */
  async play(lines, chunkSize = () => lines.length) {
    const numbered = lines.map((line, n) => ({ ...line, data: { ...line.data, n } }));
    const before = this.observers.map(({ client }) => client.inbox.items.length);
    for (let sent = 0; sent < numbered.length; ) {
      const size = chunkSize();
      this.emitter.write(...numbered.slice(sent, sent + size));
      sent += size;
    }
    await this.emitter.settled();
    await this.fence();
    let deliveries = 0;
    this.observers.forEach((observer, place) => {
      const got = observer.client.inbox.items.slice(before[place]).filter(({ id, data }) => id !== undefined && data.n !== undefined);
      const meant = numbered.filter((line) => receives(observer, line));
      deliveries += meant.length;
      sameList(`what ${observer.name} got`, got.map(({ data }) => data.n), meant.map(({ data }) => data.n));
    });
    return deliveries;
  }

  close() {
    this.observers.forEach(({ client }) => client.close());
    this.emitter.socket.destroy();
  }
}

export function same(what, actual, expected) {
  const [is, should] = [actual, expected].map((value) => JSON.stringify(value));
  if (is !== should) {
    throw new Error(`${what}: ${is} instead of ${should}`);
  }
}

function sameList(what, actual, expected) {
  const length = Math.max(actual.length, expected.length);
  for (let place = 0; place < length; place += 1) {
    if (actual[place] !== expected[place]) {
      const counts = `${actual.length} events, expected ${expected.length}`;
      throw new Error(`${what}: at place ${place} ${actual[place]} instead of ${expected[place]} (${counts})`);
    }
  }
}
