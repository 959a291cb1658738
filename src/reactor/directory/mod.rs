//! Who is here and wants what: the reactor's index from an event to connections.
//!
//! Owned by a reactor, keyed by its slab keys. Pure: no socket, no clock. Every connection has a
//! **seat**; seats of the same role and interest form a **class**, so that a broadcast is decided
//! once a class; users and sessions have their own index for owned, named and excluded ones.
//! [`plan`] turns a turn's blocks into what each class and each single connection gets.

mod known;
mod names;
mod plan;
mod sight;

use hashbrown::HashMap;

use crate::access::{AccessTable, Namespace, NamespaceMask, Role, TypeMask};
use crate::auth::Identity;
use crate::event::{NameHasher, types_of};
pub use known::{Before, Known};
use names::Names;
pub use plan::{Plan, Slice};
pub use sight::{Hidden, View};

/// Stands for "no class", "no user", "no session", "not touched".
const NONE: u32 = u32::MAX;

/// What the directory knows of one connection.
#[derive(Clone)]
pub struct Seat {
    role: Role,
    subscribed: NamespaceMask,
    /// The past is being replayed to it: the plan passes it over.
    held: bool,
    /// The event types it asked for, whether it may see them or not.
    wanted: TypeMask,
    /// Those of them it may see, all or its own, and is to be sent as they come.
    interest: TypeMask,
    class: u32,
    class_position: u32,
    user: u32,
    session: u32,
    /// Its place among the plan's touched ones, during a turn.
    touched: u32,
}

struct Class {
    role: Role,
    interest: TypeMask,
    members: Vec<u32>,
    /// The frames of this turn that all members get.
    frames: Vec<u32>,
}

/// The index.
pub struct Directory {
    access: AccessTable,
    hasher: NameHasher,
    seats: Vec<Seat>,
    /// By the same keys; apart from the seats, which every event looks at.
    known: Vec<Known>,
    classes: Vec<Class>,
    class_index: HashMap<(Role, TypeMask), u32>,
    /// Classes without members, to be used again.
    free_classes: Vec<u32>,
    users: Names,
    sessions: Names,
}

/// What a change of identity means to others.
#[derive(Debug, PartialEq, Eq)]
pub struct Identified {
    /// Namespaces the new role may not see and that were dropped.
    pub dropped: NamespaceMask,
    /// The customer's first connection on this reactor, or the last one that counted.
    pub presence: Option<PresenceChange>,
}

/// A customer's first or last connection on this reactor.
#[derive(Debug, PartialEq, Eq)]
pub enum PresenceChange {
    /// The first opened.
    Arrived(Box<str>),
    /// The last closed.
    Left(Box<str>),
}

impl Directory {
    /// An empty directory under this access table.
    pub fn new(access: AccessTable, hasher: NameHasher) -> Self {
        Self {
            access,
            seats: Vec::new(),
            known: Vec::new(),
            classes: Vec::new(),
            class_index: HashMap::new(),
            free_classes: Vec::new(),
            users: Names::new(hasher.clone()),
            sessions: Names::new(hasher.clone()),
            hasher,
        }
    }

    /// Gives connection `key` a seat: public, subscribed to nothing.
    pub fn enter(&mut self, key: u32) {
        let seat = Seat {
            role: Role::Public,
            subscribed: NamespaceMask::default(),
            held: false,
            wanted: TypeMask::default(),
            interest: TypeMask::default(),
            class: NONE,
            class_position: 0,
            user: NONE,
            session: NONE,
            touched: NONE,
        };
        let index = key as usize;
        if index >= self.seats.len() {
            self.seats.resize(index + 1, seat.clone());
            self.known.resize(index + 1, Known::default());
        }
        self.seats[index] = seat;
        self.known[index] = Known::default();
    }

    /// From where on it is known what the connection was sent.
    pub fn known(&self, key: u32) -> Known {
        self.known[key as usize]
    }

    /// What it was sent is known from here on.
    pub fn know(&mut self, key: u32, known: Known) {
        self.known[key as usize] = known;
    }

    /// Takes the seat away.
    pub fn leave(&mut self, key: u32) -> Option<PresenceChange> {
        self.leave_class(key);
        let presence = self.uncount_customer(key);
        let seat = &mut self.seats[key as usize];
        let (user, session) = (seat.user, seat.session);
        (seat.user, seat.session) = (NONE, NONE);
        (seat.subscribed, seat.wanted) = (NamespaceMask::default(), TypeMask::default());
        seat.held = false;
        if user != NONE {
            self.users.leave(user, key);
        }
        if session != NONE {
            self.sessions.leave(session, key);
        }
        presence
    }

    /// The connection's role.
    pub fn role(&self, key: u32) -> Role {
        self.seats[key as usize].role
    }

    /// The connection's user, once it has authenticated.
    pub fn user(&self, key: u32) -> Option<&str> {
        let user = self.seats[key as usize].user;
        (user != NONE).then(|| self.users.text(user))
    }

    /// The connection's session, if its token named one.
    pub fn session(&self, key: u32) -> Option<&str> {
        let session = self.seats[key as usize].session;
        (session != NONE).then(|| self.sessions.text(session))
    }

    /// Subscribes the connection as it was in another process, but for namespaces that its role may
    /// not see here.
    pub fn go_on(&mut self, key: u32, subscribed: NamespaceMask, wanted: TypeMask) {
        let visible = self.access.visible_types(self.seats[key as usize].role);
        let seat = &mut self.seats[key as usize];
        for namespace in subscribed.iter() {
            let types = types_of(namespace);
            if !visible.intersect(types).is_empty() {
                seat.subscribed.insert(namespace);
                seat.wanted = seat.wanted.union(wanted.intersect(types));
            }
        }
        self.reclassify(key);
    }

    /// What the connection is subscribed to.
    pub fn subscribed(&self, key: u32) -> NamespaceMask {
        self.seats[key as usize].subscribed
    }

    /// The event types the connection asked for, whether it may see them or not.
    pub fn wanted(&self, key: u32) -> TypeMask {
        self.seats[key as usize].wanted
    }

    /// Whether the connection is held back.
    pub fn is_held(&self, key: u32) -> bool {
        self.seats[key as usize].held
    }

    /// Holds the connection back: no plan has it any more until it is released.
    pub fn hold(&mut self, key: u32) {
        self.seats[key as usize].held = true;
        self.reclassify(key);
    }

    /// Lets the connection into the plans again.
    pub fn release(&mut self, key: u32) {
        self.seats[key as usize].held = false;
        self.reclassify(key);
    }

    /// What the role may see of a namespace.
    pub fn access(&self) -> &AccessTable {
        &self.access
    }

    /// The connections of a user.
    pub fn of_user(&self, user: &str) -> &[u32] {
        let found = self.users.find(user, self.hasher.hash(user));
        found.map_or(&[], |name| self.users.members(name))
    }

    /// How many connections of a user have a customer's role now.
    pub fn customers_of(&self, user: &str) -> usize {
        let found = self.users.find(user, self.hasher.hash(user));
        found.map_or(0, |name| self.users.customers(name) as usize)
    }

    /// The connections of a session.
    pub fn of_session(&self, session: &str) -> &[u32] {
        let found = self.sessions.find(session, self.hasher.hash(session));
        found.map_or(&[], |name| self.sessions.members(name))
    }

    /// The connection showed a token that was accepted: the first one, or a refresh.
    pub fn identify(&mut self, key: u32, identity: &Identity) -> Identified {
        let was_customer = self.is_customer(key);
        if self.seats[key as usize].user == NONE {
            self.seats[key as usize].user = self.users.join(&identity.user, key);
        }
        self.change_session(key, identity.session.as_deref());
        let presence = match (was_customer, identity.role == Role::Customer) {
            (false, true) => self.count_customer(key),
            (true, false) => self.uncount_customer(key),
            _ => None,
        };
        self.seats[key as usize].role = identity.role;
        let dropped = self.drop_hidden(key);
        Identified { dropped, presence }
    }

    /// From now on this table says who may see what. Each connection is to be looked at again by
    /// [`Directory::drop_hidden`].
    pub fn set_access(&mut self, access: AccessTable) {
        self.access = access;
    }

    /// Ends what the connection is subscribed to and may not see, and has it sent of the rest what it may.
    /// Returns the namespaces that were dropped.
    pub fn drop_hidden(&mut self, key: u32) -> NamespaceMask {
        let seat = &self.seats[key as usize];
        let visible = self.access.visible_types(seat.role);
        let mut dropped = NamespaceMask::default();
        for namespace in seat.subscribed.iter() {
            if visible.intersect(types_of(namespace)).is_empty() {
                dropped.insert(namespace);
            }
        }
        self.unsubscribe(key, dropped);
        dropped
    }

    /// Subscribes to `namespaces`, narrowed to `events` where those name types of a namespace.
    /// The caller has checked that the role may see each of them.
    pub fn subscribe(&mut self, key: u32, namespaces: NamespaceMask, events: TypeMask) {
        let seat = &mut self.seats[key as usize];
        for namespace in namespaces.iter() {
            let types = types_of(namespace);
            let named = events.intersect(types);
            let wanted = if named.is_empty() { types } else { named };
            seat.wanted = seat.wanted.without(types).union(wanted);
            seat.subscribed.insert(namespace);
        }
        self.reclassify(key);
    }

    /// Ends the subscription to `namespaces`; those not subscribed to are passed over.
    pub fn unsubscribe(&mut self, key: u32, namespaces: NamespaceMask) {
        let seat = &mut self.seats[key as usize];
        for namespace in namespaces.iter() {
            seat.wanted = seat.wanted.without(types_of(namespace));
            seat.subscribed.remove(namespace);
        }
        self.reclassify(key);
    }

    fn is_customer(&self, key: u32) -> bool {
        let seat = &self.seats[key as usize];
        seat.user != NONE && seat.role == Role::Customer
    }

    fn count_customer(&mut self, key: u32) -> Option<PresenceChange> {
        let user = self.seats[key as usize].user;
        self.users
            .add_customer(user)
            .then(|| PresenceChange::Arrived(self.users.text(user).into()))
    }

    fn uncount_customer(&mut self, key: u32) -> Option<PresenceChange> {
        if !self.is_customer(key) {
            return None;
        }
        let user = self.seats[key as usize].user;
        self.users
            .remove_customer(user)
            .then(|| PresenceChange::Left(self.users.text(user).into()))
    }

    fn change_session(&mut self, key: u32, session: Option<&str>) {
        let old = self.seats[key as usize].session;
        if old != NONE {
            if session == Some(self.sessions.text(old)) {
                return;
            }
            self.sessions.leave(old, key);
        }
        self.seats[key as usize].session =
            session.map_or(NONE, |session| self.sessions.join(session, key));
    }

    /// The types that a seat asked for and its role may see.
    fn visible(&self, seat: &Seat) -> TypeMask {
        seat.wanted.intersect(self.access.visible_types(seat.role))
    }

    /// Moves the connection to the class that its role and wishes put it in.
    fn reclassify(&mut self, key: u32) {
        let seat = &self.seats[key as usize];
        let (role, interest) = (seat.role, self.visible(seat));
        let interest = if seat.held {
            TypeMask::default()
        } else {
            interest
        };
        self.leave_class(key);
        self.seats[key as usize].interest = interest;
        if interest.is_empty() {
            return;
        }
        let class = self.class_of(role, interest);
        let members = &mut self.classes[class as usize].members;
        let seat = &mut self.seats[key as usize];
        seat.class = class;
        seat.class_position = members.len() as u32;
        members.push(key);
    }

    fn class_of(&mut self, role: Role, interest: TypeMask) -> u32 {
        if let Some(&class) = self.class_index.get(&(role, interest)) {
            return class;
        }
        let class = Class {
            role,
            interest,
            members: Vec::new(),
            frames: Vec::new(),
        };
        let number = if let Some(free) = self.free_classes.pop() {
            self.classes[free as usize] = class;
            free
        } else {
            self.classes.push(class);
            self.classes.len() as u32 - 1
        };
        self.class_index.insert((role, interest), number);
        number
    }

    fn leave_class(&mut self, key: u32) {
        let seat = &mut self.seats[key as usize];
        let (number, position) = (seat.class, seat.class_position as usize);
        if number == NONE {
            return;
        }
        seat.class = NONE;
        seat.interest = TypeMask::default();
        let class = &mut self.classes[number as usize];
        class.members.swap_remove(position);
        if let Some(&moved) = class.members.get(position) {
            self.seats[moved as usize].class_position = position as u32;
        }
        if class.members.is_empty() {
            self.class_index.remove(&(class.role, class.interest));
            self.free_classes.push(number);
        }
    }
}

/// Whether a subscription to `namespace` is allowed to `role`, and if not, whether a token would
/// open it.
pub fn may_subscribe(
    access: &AccessTable,
    role: Role,
    namespace: Namespace,
) -> Result<(), Refused> {
    if access.get(role, namespace) != crate::access::Access::None {
        return Ok(());
    }
    if role == Role::Public && access.openable_by_token(namespace) {
        return Err(Refused::Unauthorized);
    }
    Err(Refused::Forbidden)
}

/// Why a subscription is not allowed.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// The role may never see it.
    Forbidden,
    /// A token could open it.
    Unauthorized,
}

#[cfg(test)]
pub(super) mod tests;
