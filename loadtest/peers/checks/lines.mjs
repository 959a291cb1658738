// Valid event lines of every type, and the rule of who may receive them, written down a second time and as plainly as the
// contract says it: what the servers do is held against this.

const TABLE = {
  //         orders customers products inventory payments system
  admin: ['all', 'all', 'all', 'all', 'all', 'all'],
  manager: ['all', 'all', 'all', 'all', 'all', null],
  staff: ['all', 'all', 'all', 'all', null, null],
  customer: ['own', null, 'all', null, 'own', null],
  guest: [null, null, 'all', null, null, null],
  public: [null, null, 'all', null, null, null],
};
export const NAMESPACES = ['orders', 'customers', 'products', 'inventory', 'payments', 'system'];
export const ROLES = Object.keys(TABLE);

export function access(role, namespace) {
  return TABLE[role][NAMESPACES.indexOf(namespace)];
}

export function allowed(role) {
  return NAMESPACES.filter((namespace) => access(role, namespace) !== null);
}

/** Does `observer` (`{role, user, session, types}`, `types` null for all) get this line? */
export function receives(observer, { type, data, to = {} }) {
  const table = access(observer.role, namespaceOf(type));
  const owners = [data.customerId, ...(to.owners ?? []), ...(to.userIds ?? [])];
  return (
    (observer.types === null || !observer.types.some((other) => namespaceOf(other) === namespaceOf(type)) || observer.types.includes(type)) &&
    (table === 'all' || (table === 'own' && owners.includes(observer.user))) &&
    (to.roles === undefined || to.roles.includes(observer.role)) &&
    (data.targetRoles === undefined || data.targetRoles.includes(observer.role)) &&
    (to.userIds === undefined || to.userIds.includes(observer.user)) &&
    !(to.excludeUserIds ?? []).includes(observer.user) &&
    (to.excludeSessionId === undefined || to.excludeSessionId !== observer.session)
  );
}

export function namespaceOf(type) {
  const first = type.split(':')[0];
  return ['inventory', 'system'].includes(first) ? first : `${first}s`;
}

const order = { orderId: 'o-1', customerId: 'u-somebody', customerName: 'Zoë Ångström' };
const customer = { customerId: 'u-somebody', productId: 'p-1', productName: 'Lamp' };
const product = { productId: 'p-1', productName: 'Lamp', sku: 'L-1' };
const payment = { paymentId: 'pay-1', orderId: 'o-1', customerId: 'u-somebody', amount: 12.5 };
const notice = { title: 'Hello', message: 'World', severity: 'info' };

/** Valid data of every type. */
export const DATA = {
  'order:created': { ...order, total: 12.5, status: 'pending', channel: 'web' },
  'order:updated': { orderId: 'o-1', customerId: 'u-somebody', changes: { z: 1, a: [2, 3] } },
  'order:status_changed': { ...order, oldStatus: 'pending', newStatus: 'shipped', timestamp: 1700000000000 },
  'order:deleted': { orderId: 'o-1', customerId: 'u-somebody' },
  'customer:activity': { customerId: 'u-somebody', action: 'cart_add', timestamp: 1700000000000 },
  'customer:viewing_product': customer,
  'customer:added_to_cart': { ...customer, quantity: 2 },
  'customer:online': { customerId: 'u-somebody', isOnline: true, lastSeen: 1700000000000 },
  'customer:offline': { customerId: 'u-somebody', isOnline: false, lastSeen: 1700000000000 },
  'inventory:updated': { ...product, oldStock: 5, newStock: 3, difference: -2 },
  'inventory:low_stock': { ...product, currentStock: 2, threshold: 5, severity: 'low' },
  'inventory:out_of_stock': product,
  'inventory:restocked': { ...product, newStock: 9, addedQuantity: 6 },
  'product:price_changed': { ...product, oldPrice: 1, newPrice: 2, changePercentage: 100 },
  'product:created': { productId: 'p-1', productName: 'Lamp', category: 'Light', price: 3 },
  'product:updated': { productId: 'p-1', changes: { price: 4 } },
  'product:deleted': { productId: 'p-1' },
  'payment:received': { ...payment, method: 'card', status: 'success' },
  'payment:failed': { ...payment, reason: 'declined', retryable: true },
  'payment:refunded': payment,
  'system:notification': notice,
  'system:alert': notice,
  'system:maintenance': { message: 'Soon' },
};
export const TYPES = Object.keys(DATA);

/** A line of a type; `extra` goes into its data, `to` beside it. */
export function line(type, extra = {}, to = undefined) {
  return { type, data: { ...DATA[type], ...extra }, ...(to === undefined ? {} : { to }) };
}

/** An event that everybody gets who is subscribed to products: what has not arrived before it never will. */
export function fenceLine(productId) {
  return line('product:deleted', { productId });
}
