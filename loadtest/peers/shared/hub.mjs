// Who is connected, and who of them gets an event.
//
// Connections that see exactly the same (same role, same subscription) form a group, so that an event for everybody costs one
// look at each group and nothing for each connection; who is meant by name is found by name.

import { access, namesOf, PUBLIC, typeNamed, visibleTo } from './contract.mjs';

const NOBODY = new Set();

/** Connections of one role that are subscribed to the same types. */
export class Group {
  static #count = 0;

  members = new Set();
  role;
  types;
  /** See `Batch`: frames for all members but those in `apart`, which have frames of their own. */
  frames = [];
  apart = [];
  /** For a peer that has topics: the one of the group. */
  name = `group-${(Group.#count += 1)}`;

  constructor(role, types) {
    this.role = role;
    this.types = types;
  }

  /** Calls `send(connection)` for each member that is not in `apart`. */
  eachTogether(send) {
    for (const connection of this.members) {
      if (connection.frames === null) {
        send(connection);
      }
    }
  }
}

/** A connection as the hub sees it; public until it has shown who it is, and in no group until it is subscribed. */
export class Connection {
  user = null;
  role = PUBLIC;
  session = null;
  /** The set of types that it is subscribed to. */
  subscribed = 0;
  group = null;
  /** See `Batch`; null where it gets what its group gets. */
  frames = null;
  /** What the peer sends by. */
  link = null;
}

export class Hub {
  #groups = new Map();
  #sharing = new Map();
  #byUser = new Map();
  #bySession = new Map();

  /** Replaces what the connection is subscribed to. */
  subscribe(connection, types) {
    connection.subscribed = types;
    this.#regroup(connection);
  }

  /** The connection has shown who it is; what its role may not see any more, it is no longer subscribed to. */
  identify(connection, { user, role, session }) {
    this.#forget(connection);
    connection.user = user;
    connection.role = role;
    connection.session = session;
    addTo(this.#byUser, user, connection);
    if (session !== null) {
      addTo(this.#bySession, session, connection);
    }
    connection.subscribed &= visibleTo(role);
    this.#regroup(connection);
  }

  remove(connection) {
    this.#forget(connection);
    if (connection.group !== null) {
      this.#leaveGroup(connection);
    }
  }

  /**
   * Finds the receivers of an event. `toGroup(group, without)` is called for each group that gets it, but for the connections
   * in the set `without`; `toOne(connection)` for each one that gets it by itself. Nobody is told twice.
   */
  route(type, audience, toGroup, toOne) {
    const { roles, users, owners } = audience;
    const excluded = this.#excluded(audience);
    if (users === undefined) {
      for (const group of this.#sharing.get(type.name) ?? NOBODY) {
        if (roles === undefined || roles.includes(group.role)) {
          toGroup(group, excluded);
        }
      }
    }
    for (const user of users ?? owners) {
      for (const connection of this.#byUser.get(user) ?? NOBODY) {
        // Whom `users` names owns the event, too; where nobody is named, `all` has been served by its group.
        const granted = (connection.subscribed & type.bit) !== 0 && (users !== undefined || access(connection.role, type.namespace) === 'own');
        if (granted && (roles === undefined || roles.includes(connection.role)) && !excluded.has(connection)) {
          toOne(connection);
        }
      }
    }
  }

  #regroup(connection) {
    const { group, role, subscribed } = connection;
    if (group?.role === role && group.types === subscribed) {
      return;
    }
    if (group !== null) {
      this.#leaveGroup(connection);
    }
    if (subscribed !== 0) {
      connection.group = this.#groupFor(role, subscribed);
      connection.group.members.add(connection);
    }
  }

  #groupFor(role, types) {
    const key = keyOf(role, types);
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = new Group(role, types);
      this.#groups.set(key, group);
      for (const type of sharedBy(group)) {
        addTo(this.#sharing, type, group);
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
    connection.group = null;
    group.members.delete(connection);
    if (group.members.size === 0) {
      this.#groups.delete(keyOf(group.role, group.types));
      for (const type of sharedBy(group)) {
        removeFrom(this.#sharing, type, group);
      }
    }
  }
}

function keyOf(role, types) {
  return `${role} ${types}`;
}

/** The names of the types of which each member of the group sees all events. */
function sharedBy({ role, types }) {
  return namesOf(types).filter((name) => access(role, typeNamed(name).namespace) === 'all');
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
