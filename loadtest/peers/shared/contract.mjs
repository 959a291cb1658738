// What all peers know of the contract: the event types, who may see which namespace, and how an event's audience is named.

const CATALOGUE = {
  orders: ['order:created', 'order:updated', 'order:status_changed', 'order:deleted'],
  customers: ['customer:activity', 'customer:viewing_product', 'customer:added_to_cart', 'customer:online', 'customer:offline'],
  products: ['product:price_changed', 'product:created', 'product:updated', 'product:deleted'],
  inventory: ['inventory:updated', 'inventory:low_stock', 'inventory:out_of_stock', 'inventory:restocked'],
  payments: ['payment:received', 'payment:failed', 'payment:refunded'],
  system: ['system:notification', 'system:alert', 'system:maintenance'],
};

/** Each event type by its name: its namespace, and the bit it has in a set of types. */
const TYPES = new Map(
  Object.entries(CATALOGUE)
    .flatMap(([namespace, names]) => names.map((name) => ({ name, namespace })))
    .map((type, place) => [type.name, { ...type, bit: 1 << place }]),
);

/** Each namespace with the set of its types. */
const NAMESPACES = new Map(Object.entries(CATALOGUE).map(([namespace, names]) => [namespace, setOf(names)]));

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

/** The event type of this name, or undefined. */
export function typeNamed(name) {
  return TYPES.get(name);
}

/** 'all', 'own', or undefined where the role sees nothing of the namespace. */
export function access(role, namespace) {
  return ACCESS[role][namespace];
}

/** The set of types that the role may see, all of them or its own. */
export function visibleTo(role) {
  return Object.keys(ACCESS[role]).reduce((types, namespace) => types | NAMESPACES.get(namespace), 0);
}

/** The names of the types in a set. */
export function namesOf(types) {
  return [...TYPES.values()].filter(({ bit }) => types & bit).map(({ name }) => name);
}

/** The namespaces that a set of types has types of. */
export function namespacesOf(types) {
  const names = [];
  for (const [namespace, all] of NAMESPACES) {
    if (types & all) {
      names.push(namespace);
    }
  }
  return names;
}

/** A set of types in the fewest words: names of whole namespaces, and of single types where it has not all of one. */
export function subjectsOf(types) {
  return [...NAMESPACES].flatMap(([namespace, all]) => ((types & all) === all ? [namespace] : namesOf(types & all)));
}

function setOf(names) {
  return names.reduce((types, name) => types | TYPES.get(name).bit, 0);
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

const TARGET_FIELDS = new Set(['roles', 'userIds', 'owners', 'excludeUserIds', 'excludeSessionId']);

/**
 * Who an event is for, within what the access table allows.
 *
 * `roles` and `users` narrow where they are there; `owners` are those whom `own` lets see it.
 * A mistake is refused: a typo must never become a broadcast.
 */
export function readAudience(type, to, data) {
  const audience =
    to === undefined ? { roles: undefined, users: undefined, owners: [], excludedUsers: [], excludedSession: undefined } : readTarget(to);
  if (typeof data.customerId === 'string' && !audience.owners.includes(data.customerId)) {
    audience.owners.push(data.customerId);
  }
  if (data.targetRoles !== undefined && type.namespace === 'system') {
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
 * The set of types that a connection of `role` is subscribed to after a `subscribe`, with `subscribed` what it was before.
 * All or nothing: throws a Refusal that says why `role` gets none of it.
 */
export function subscribe(role, subscribed, { namespaces, events = [] }) {
  checkNamespaces(namespaces);
  if (namespaces.length === 0) {
    throw new Refusal('invalid_message', '`namespaces` is empty');
  }
  if (!Array.isArray(events) || !events.every((name) => namespaces.includes(typeNamed(name)?.namespace))) {
    throw new Refusal('invalid_message', '`events` is not a list of event types of these namespaces');
  }
  const forbidden = namespaces.find((name) => access(role, name) === undefined);
  if (forbidden !== undefined) {
    const code = role === PUBLIC ? 'unauthorized' : 'forbidden';
    throw new Refusal(code, `${role} may not subscribe to ${forbidden}`);
  }
  const named = setOf(events);
  return namespaces.reduce((types, name) => {
    const all = NAMESPACES.get(name);
    return (types & ~all) | (named & all || all);
  }, subscribed);
}

/** The set of types that a connection is still subscribed to after an `unsubscribe`. */
export function unsubscribe(subscribed, { namespaces }) {
  checkNamespaces(namespaces);
  return namespaces.reduce((types, name) => types & ~NAMESPACES.get(name), subscribed);
}

function checkNamespaces(namespaces) {
  if (!Array.isArray(namespaces) || !namespaces.every((name) => NAMESPACES.has(name))) {
    throw new Refusal('invalid_message', '`namespaces` is not a list of namespaces');
  }
}
