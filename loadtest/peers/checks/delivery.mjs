// Checks of who gets which event, in which order, in which form.

import { line, NAMESPACES, namespaceOf, receives, TYPES } from './lines.mjs';
import { same } from './stage.mjs';

const EVENT_FIELDS = ['id', 'type', 'namespace', 'data', 'timestamp'];

const own = { customerId: 'u-customer' };
const TARGETS = {
  'to absent': [line('order:created')],
  'to empty': [line('order:created', {}, {})],
  'own by data.customerId': [line('order:created', own), line('payment:received', own), line('order:deleted', own)],
  'own by to.owners': [line('order:updated', {}, { owners: ['u-customer', 'u-other-customer'] })],
  'owner named twice': [line('payment:failed', own, { owners: ['u-customer'] })],
  'to.roles': [line('inventory:updated', {}, { roles: ['admin', 'staff'] }), line('product:created', {}, { roles: ['guest'] })],
  'to.roles of what the table denies': [line('payment:received', {}, { roles: ['staff', 'guest'] })],
  'to.roles with an owner': [line('order:created', own, { roles: ['manager'] }), line('order:created', own, { roles: ['customer'] })],
  'to.userIds narrows, admins too': [line('order:created', {}, { userIds: ['u-staff', 'u-customer'] })],
  'to.userIds names who may not see it': [line('system:alert', {}, { userIds: ['u-staff', 'u-guest', 'u-nobody'] })],
  'to.userIds leaves the owner out': [line('order:created', own, { userIds: ['u-manager'] })],
  'to.userIds with to.roles': [line('order:created', {}, { userIds: ['u-staff', 'u-customer'], roles: ['customer'] })],
  'to.excludeUserIds': [line('order:created', own, { excludeUserIds: ['u-staff', 'u-customer'] }), line('product:created', {}, { excludeUserIds: [] })],
  'to.excludeSessionId': [
    line('order:created', own, { excludeSessionId: 's-staff' }),
    line('order:created', own, { excludeSessionId: 's-customer' }),
    line('product:deleted', {}, { excludeSessionId: 's-nobody' }),
  ],
  'all targets at once': [
    line('order:created', own, {
      roles: ['staff', 'customer', 'admin'],
      userIds: ['u-staff', 'u-customer', 'u-admin'],
      owners: ['u-other-customer'],
      excludeUserIds: ['u-admin'],
      excludeSessionId: 's-staff-2',
    }),
  ],
  'data.targetRoles': [
    line('system:notification', { targetRoles: ['admin'] }),
    line('system:alert', { targetRoles: ['manager', 'staff'] }),
    line('system:notification', { targetRoles: ['admin', 'staff'] }, { roles: ['staff'] }),
  ],
};

export function deliveryChecks(stage, check) {
  return [
    () => check('each of the 23 types goes to whom the access table says', () => stage.play(TYPES.map((type) => line(type)))),
    ...Object.entries(TARGETS).map(([name, lines]) => () => check(`target: ${name}`, () => stage.play(lines, () => 1))),
    () => check('2,000 events, shared and direct mixed: each once and in order, for everybody', () => playMixed(stage)),
    () => check('all observers of the same view see the same ids', () => sameIds(stage)),
    () => check('an event has its fields, and its data as it was sent', () => form(stage)),
    () => check('data is passed on in whatever form its line is written', () => anyForm(stage)),
    () => check('every event was one text message', () => onlyText(stage)),
    () => check('after unsubscribe and subscribe, what arrives is what is subscribed to', () => resubscribe(stage)),
  ];
}

async function playMixed(stage) {
  const random = pseudoRandom(20);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const users = stage.observers.flatMap(({ user }) => user ?? []);
  const some = (list) => [...new Set([pick(list), pick(list)])];
  const lines = Array.from({ length: 2000 }, () => {
    const type = pick(TYPES);
    const to = {
      ...(random() < 0.15 ? { roles: some(['admin', 'manager', 'staff', 'customer', 'guest']) } : {}),
      ...(random() < 0.2 ? { userIds: some(users) } : {}),
      ...(random() < 0.2 ? { owners: some(users) } : {}),
      ...(random() < 0.15 ? { excludeUserIds: some(users) } : {}),
      ...(random() < 0.2 ? { excludeSessionId: pick(['s-admin', 's-staff', 's-staff-2', 's-customer', 's-none']) } : {}),
    };
    const hasCustomer = ['orders', 'payments'].includes(namespaceOf(type));
    return line(type, hasCustomer ? { customerId: pick(users) } : {}, to);
  });
  const customer = stage.observers.find(({ name }) => name === 'customer');
  const kinds = new Set(lines.filter((sent) => receives(customer, sent)).map(({ type }) => namespaceOf(type)));
  same('namespaces of the customer', [...kinds].sort(), ['orders', 'payments', 'products']);
  return stage.play(lines, () => 1 + Math.floor(random() * 90));
}

/** Numbers from 0 to 1, the same ones in each run (a linear congruence). */
function pseudoRandom(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

async function sameIds(stage) {
  const idsOf = (name) =>
    stage.observers.find((observer) => observer.name === name).client.events.filter(({ type }) => type.startsWith('product:')).map(({ id }) => id);
  // Guests and the public have been named apart or left out now and then: what they share has to be in one order.
  const [guest, open, admin] = ['guest', 'public', 'admin'].map(idsOf);
  const common = (ids, others) => ids.filter((id) => others.includes(id));
  same('products, guest and public', common(guest, open), common(open, guest));
  same('products, admin and public', common(admin, open), common(open, admin));
  same('ids given twice', admin.length - new Set(admin).size, 0);
}

async function form(stage) {
  const { client } = stage.observers[0];
  const data = { z: 1, changes: { b: [1.5, -2e-7, true, null], a: { deep: 'Ünï "quoted" \\ \n 🦉' } }, orderId: 'form', aa: '' };
  const from = client.inbox.items.length;
  const start = Date.now();
  await stage.emitter.emit({ type: 'order:updated', data, timestamp: 1700000000123 }, line('order:deleted', { orderId: 'form' }));
  const isOurs = (type) => (message) => message.type === type && message.data.orderId === 'form';
  const updated = await client.inbox.find('the event', isOurs('order:updated'), from);
  const deleted = await client.inbox.find('the event', isOurs('order:deleted'), from);
  same('fields', Object.keys(updated), EVENT_FIELDS);
  same('namespace', updated.namespace, 'orders');
  same('data', updated.data, data);
  same('given timestamp', updated.timestamp, 1700000000123);
  if (!(deleted.timestamp >= start && deleted.timestamp <= Date.now())) {
    throw new Error(`timestamp ${deleted.timestamp} is not the time of the server's clock`);
  }
}

async function anyForm(stage) {
  const { client } = stage.observers[0];
  const from = client.inbox.items.length;
  const data = { orderId: 'any form', changes: { note: ',"to":{}}', to: { roles: ['admin'] }, timestamp: 1 }, to: {}, timestamp: 2 };
  const [type, text, to] = ['"type":"order:updated"', `"data":${JSON.stringify(data)}`, '"to":{"roles":["admin"]}'];
  const lines = [
    `{${type},${text}}`,
    `{${type},${text},${to}}`,
    `{${type},${text},"timestamp":1700000000123,${to}}`,
    `{${type},${text},${to},"timestamp":1700000000123}`,
    `{${type},${text},"timestamp":17e11}`,
    `{${type},"namespace":"orders",${text}}`,
    `{${type},${text},"key":"any form"}`,
    `{${to},${text},${type}}`,
    ` { ${type} , ${text} , ${to} } `,
  ];
  await stage.emitter.emit(...lines);
  await stage.fence([client]);
  const events = client.inbox.items.slice(from).filter((message) => message.data?.orderId === 'any form');
  same('data', events.map((event) => event.data), Array(lines.length).fill(data));
  same('fields', events.map((event) => Object.keys(event)), Array(lines.length).fill(EVENT_FIELDS));
}

async function onlyText(stage) {
  const binary = stage.observers.filter(({ client }) => client.inbox.items.some((message) => message.binary));
  same('observers with binary messages', binary.map(({ name }) => name), []);
}

async function resubscribe(stage) {
  const client = await stage.connect({ role: 'admin', user: 'u-changing' });
  await client.subscribe(NAMESPACES);
  const numbers = async () => {
    const from = client.inbox.items.length;
    await stage.emitter.emit(line('order:created', { n: 1 }), line('order:deleted', { n: 2 }), line('inventory:updated', { n: 3 }));
    await stage.fence([client]);
    return client.inbox.items.slice(from).flatMap(({ id, data }) => (id !== undefined && data.n) || []);
  };
  same('subscribed to all', await numbers(), [1, 2, 3]);
  const { type, data } = await client.ask('unsubscribe', { namespaces: ['orders'] });
  same('answer', [type, data.namespaces.toSorted()], ['unsubscribed', NAMESPACES.filter((name) => name !== 'orders').sort()]);
  same('orders unsubscribed', await numbers(), [3]);
  await client.subscribe(['orders'], ['order:deleted']);
  same('orders filtered', await numbers(), [2, 3]);
  await client.subscribe(['orders']);
  same('a later subscribe replaces the filter', await numbers(), [1, 2, 3]);
  client.close();
}
