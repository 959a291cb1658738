// What all peers know of the contract: the event types, who may see which namespace, and how an event's audience is named.

const NAMESPACES_BY_TYPE = new Map(
  Object.entries({
    orders: ['order:created', 'order:updated', 'order:status_changed', 'order:deleted'],
    customers: ['customer:activity', 'customer:viewing_product', 'customer:added_to_cart', 'customer:online', 'customer:offline'],
    products: ['product:price_changed', 'product:created', 'product:updated', 'product:deleted'],
    inventory: ['inventory:updated', 'inventory:low_stock', 'inventory:out_of_stock', 'inventory:restocked'],
    payments: ['payment:received', 'payment:failed', 'payment:refunded'],
    system: ['system:notification', 'system:alert', 'system:maintenance'],
  }).flatMap(([namespace, types]) => types.map((type) => [type, namespace])),
);

export const NAMESPACES = new Set(NAMESPACES_BY_TYPE.values());

/** The role of a connection that has shown no token; no token can carry it. */
export const PUBLIC = 'public';

const ACCESS = {
  admin: { orders: 'all', customers: 'all', products: 'all', inventory: 'all', payments: 'all', system: 'all' },
  manager: { orders: 'all', customers: 'all', products: 'all', inventory: 'all', payments: 'all' },
  staff: { orders: 'all', customers: 'all', products: 'all', inventory: 'all' },
  customer: { orders: 'own', products: 'all', payments: 'own' },
  guest: { products: 'all' },
  [PUBLIC]: { products: 'all' },
};

export const ROLES = new Set(Object.keys(ACCESS).filter((role) => role !== PUBLIC));

export function namespaceOf(type) {
  return NAMESPACES_BY_TYPE.get(type);
}

/** 'all', 'own', or undefined where the role sees nothing of the namespace. */
export function access(role, namespace) {
  return ACCESS[role][namespace];
}

export function isId(value) {
  return typeof value === 'string' && value !== '' && (value.length <= 128 || [...value].length <= 128) && !/\p{Cc}/u.test(value);
}

/** A refusal that is told to the sender: `code` is one of the contract's, the rest is for people. */
export class Refusal extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const EVERYONE = { roles: undefined, users: undefined, owners: [], excludedUsers: [], excludedSession: undefined };
const TARGET_FIELDS = new Set(['roles', 'userIds', 'owners', 'excludeUserIds', 'excludeSessionId']);

/**
 * Who an event is for, within what the access table allows.
 *
 * `roles` and `users` narrow where they are there; `owners` are those whom `own` lets see it.
 * A mistake is refused: a typo must never become a broadcast.
 */
export function readAudience(type, to, data) {
  const audience = to === undefined ? { ...EVERYONE } : readTarget(to);
  if (typeof data.customerId === 'string' && !audience.owners.includes(data.customerId)) {
    audience.owners = [...audience.owners, data.customerId];
  }
  if (data.targetRoles !== undefined && namespaceOf(type) === 'system') {
    const roles = readRoles(data.targetRoles, 'invalid_payload', 'data.targetRoles');
    audience.roles = audience.roles?.filter((role) => roles.includes(role)) ?? roles;
  }
  return audience;
}

function readTarget(to) {
  if (!isObject(to)) {
    throw new Refusal('invalid_target', '`to` is not an object');
  }
  const unknown = Object.keys(to).find((field) => !TARGET_FIELDS.has(field));
  if (unknown !== undefined) {
    throw new Refusal('invalid_target', `\`to\` has no field \`${unknown}\``);
  }
  const { roles, userIds, owners, excludeUserIds, excludeSessionId } = to;
  if (excludeSessionId !== undefined && !isId(excludeSessionId)) {
    throw new Refusal('invalid_target', '`to.excludeSessionId` is not an id');
  }
  return {
    roles: roles === undefined ? undefined : readRoles(roles, 'invalid_target', 'to.roles'),
    users: userIds === undefined ? undefined : readIds(userIds, 'userIds'),
    owners: owners === undefined ? [] : readIds(owners, 'owners'),
    excludedUsers: excludeUserIds === undefined ? [] : readIds(excludeUserIds, 'excludeUserIds', { mayBeEmpty: true }),
    excludedSession: excludeSessionId,
  };
}

function readRoles(roles, code, field) {
  if (!Array.isArray(roles) || roles.length === 0 || !roles.every((role) => ROLES.has(role))) {
    throw new Refusal(code, `\`${field}\` is not a list of one or more roles`);
  }
  return roles;
}

function readIds(ids, field, { mayBeEmpty = false } = {}) {
  if (!Array.isArray(ids) || (ids.length === 0 && !mayBeEmpty) || !ids.every(isId)) {
    throw new Refusal('invalid_target', `\`to.${field}\` is not a list of ids`);
  }
  return [...new Set(ids)];
}

export function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * What a `subscribe` asks for: for each namespace the set of its types that `events` names, or null for all of them.
 * All or nothing: throws a Refusal that says why `role` gets none of it.
 */
export function readSubscription(role, data) {
  const { namespaces, events = [] } = data;
  if (!Array.isArray(namespaces) || namespaces.length === 0 || !namespaces.every((name) => NAMESPACES.has(name))) {
    throw new Refusal('invalid_message', '`namespaces` is not a list of one or more namespaces');
  }
  if (!Array.isArray(events) || !events.every((type) => namespaces.includes(namespaceOf(type)))) {
    throw new Refusal('invalid_message', '`events` is not a list of event types of these namespaces');
  }
  const forbidden = namespaces.find((name) => access(role, name) === undefined);
  if (forbidden !== undefined) {
    const code = role === PUBLIC ? 'unauthorized' : 'forbidden';
    throw new Refusal(code, `${role} may not subscribe to ${forbidden}`);
  }
  return new Map(
    namespaces.map((name) => {
      const named = events.filter((type) => namespaceOf(type) === name);
      return [name, named.length > 0 ? new Set(named) : null];
    }),
  );
}

/** The namespaces an `unsubscribe` names. */
export function readNamespaces(data) {
  const { namespaces } = data;
  if (!Array.isArray(namespaces) || !namespaces.every((name) => NAMESPACES.has(name))) {
    throw new Refusal('invalid_message', '`namespaces` is not a list of namespaces');
  }
  return namespaces;
}

export function typesOf(namespace) {
  return [...NAMESPACES_BY_TYPE].filter(([, name]) => name === namespace).map(([type]) => type);
}
