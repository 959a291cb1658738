// Who is connected, and who of them gets an event.
//
// Connections that see exactly the same (same role, same subscription) form a group, so that an event for everybody costs one
// look at each group and nothing for each connection; who is meant by name is found by name.

import { access, namespaceOf, PUBLIC, typesOf } from './contract.mjs';

const NOBODY = new Set();

/** Connections of one role with one subscription. */
export class Group {
  static #count = 0;

  members = new Set();
  role;
  /** For each event type subscribed to, what the access table says: 'all' or 'own'. */
  grants = new Map();
  /** What the hub finds it by. */
  key;
  /** Also the name of the group's topic where the peer has topics. */
  name = `group-${(Group.#count += 1)}`;

  constructor(role, types, key) {
    this.role = role;
    this.key = key;
    for (const type of types) {
      this.grants.set(type, access(role, namespaceOf(type)));
    }
  }
}

/** A connection as the hub sees it; public until it has shown who it is. */
export class Connection {
  user = null;
  role = PUBLIC;
  session = null;
  /** Namespace to the set of its types that are subscribed to, null for all of them. */
  subscription = new Map();
  group = null;
  /** What the peer sends by. */
  link;

  constructor(id, link) {
    this.id = id;
    this.link = link;
  }
}

export class Hub {
  #groups = new Map();
  #sharing = new Map();
  #byUser = new Map();
  #bySession = new Map();

  /** Puts the connection where its role and subscription belong; to be called after each change of them. */
  regroup(connection) {
    if (connection.group !== null) {
      this.#leaveGroup(connection);
    }
    connection.group = this.#groupFor(connection);
    connection.group.members.add(connection);
  }

  /** The connection has shown who it is. */
  identify(connection, { user, role, session }) {
    this.#forget(connection);
    Object.assign(connection, { user, role, session });
    addTo(this.#byUser, user, connection);
    if (session !== null) {
      addTo(this.#bySession, session, connection);
    }
    for (const namespace of connection.subscription.keys()) {
      if (access(role, namespace) === undefined) {
        connection.subscription.delete(namespace);
      }
    }
    this.regroup(connection);
  }

  remove(connection) {
    this.#forget(connection);
    this.#leaveGroup(connection);
  }

  /**
   * Finds the receivers of an event. `toGroup(group, without)` is called for each group that gets it, but for the connections
   * in the set `without`; `toOne(connection)` for each one that gets it by itself. Nobody is told twice.
   */
  route(type, audience, toGroup, toOne) {
    const { roles, users, owners } = audience;
    const excluded = this.#excluded(audience);
    if (users === undefined) {
      for (const group of this.#sharing.get(type) ?? NOBODY) {
        if (roles === undefined || roles.includes(group.role)) {
          toGroup(group, excluded);
        }
      }
    }
    for (const user of users ?? owners) {
      for (const connection of this.#byUser.get(user) ?? NOBODY) {
        const grant = connection.group.grants.get(type);
        // Whom `users` names owns the event, too; where nobody is named, `all` has been served by its group.
        const granted = users === undefined ? grant === 'own' : grant !== undefined;
        if (granted && (roles === undefined || roles.includes(connection.role)) && !excluded.has(connection)) {
          toOne(connection);
        }
      }
    }
  }

  #groupFor({ role, subscription }) {
    const types = [...subscription].flatMap(([namespace, some]) => [...(some ?? typesOf(namespace))]).sort();
    const key = `${role} ${types}`;
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = new Group(role, types, key);
      this.#groups.set(key, group);
      for (const [type, grant] of group.grants) {
        if (grant === 'all') {
          addTo(this.#sharing, type, group);
        }
      }
    }
    return group;
  }

  #excluded({ excludedUsers, excludedSession }) {
    const session = excludedSession === undefined ? NOBODY : (this.#bySession.get(excludedSession) ?? NOBODY);
    if (excludedUsers.length === 0) {
      return session;
    }
    return new Set([...session, ...excludedUsers.flatMap((user) => [...(this.#byUser.get(user) ?? NOBODY)])]);
  }

  #forget(connection) {
    removeFrom(this.#byUser, connection.user, connection);
    removeFrom(this.#bySession, connection.session, connection);
  }

  #leaveGroup(connection) {
    const { group } = connection;
    group.members.delete(connection);
    if (group.members.size === 0) {
      this.#groups.delete(group.key);
      for (const type of group.grants.keys()) {
        removeFrom(this.#sharing, type, group);
      }
    }
  }
}

function addTo(sets, key, value) {
  const set = sets.get(key);
  if (set === undefined) {
    sets.set(key, new Set([value]));
  } else {
    set.add(value);
  }
}

function removeFrom(sets, key, value) {
  const set = sets.get(key);
  if (set?.delete(value) && set.size === 0) {
    sets.delete(key);
  }
}
