// The rooms that stand for the access table and for targets.
//
// A subscriber is in a room of its role for what it subscribed to (the namespace, or single types where it asked for
// these), for events that all of the role may see, and in one of its role and user, for those that only it may. For one
// event a connection is in at most one of the rooms it goes to.

import { access, PUBLIC, ROLES, subjectsOf } from '../shared/contract.mjs';

const ROLES_AND_PUBLIC = [...ROLES, PUBLIC];

/** Rooms of a connection for as long as it lives: what excludes name. */
export function identityRooms({ user, session }) {
  return [...(user === null ? [] : [userRoom(user)]), ...(session === null ? [] : [sessionRoom(session)])];
}

/** Rooms of a connection that is subscribed to a set of types. */
export function subscriptionRooms({ role, user }, types) {
  return subjectsOf(types).flatMap((subject) => [roleRoom(subject, role), ...(user === null ? [] : [personalRoom(subject, role, user)])]);
}

/** Rooms an event goes to, of those that `existing` has. */
export function audienceRooms({ name, namespace }, { roles = ROLES_AND_PUBLIC, users, owners }, existing) {
  const rooms = [];
  const add = (room) => existing.has(room) && rooms.push(room);
  for (const role of roles) {
    const grant = access(role, namespace);
    if (grant === undefined) {
      continue;
    }
    for (const subject of [namespace, name]) {
      if (grant === 'all' && users === undefined) {
        add(roleRoom(subject, role));
      } else {
        // Whom `users` names owns the event, too.
        (users ?? owners).forEach((user) => add(personalRoom(subject, role, user)));
      }
    }
  }
  return rooms;
}

export function excludedRooms({ excludedUsers, excludedSession }) {
  const users = excludedUsers.map(userRoom);
  return excludedSession === undefined ? users : [...users, sessionRoom(excludedSession)];
}

const userRoom = (user) => `user ${user}`;
const sessionRoom = (session) => `session ${session}`;
const roleRoom = (subject, role) => `${subject} ${role}`;
const personalRoom = (subject, role, user) => `${subject} ${role} ${user}`;
