//! Who is connected, and who of them gets an event.
//!
//! Connections that see exactly the same (same role, same types) form a group: an event for everybody costs one look at each
//! group. The frames of one chunk are gathered, then each connection is handed them in one piece, through one queue: so the
//! order is the same for everybody. A connection that gets more than its group, or less, has a list of its own for the rest of
//! the chunk, begun with what the group has had so far.

use std::collections::HashMap;
use std::mem;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::ws::Utf8Bytes;
use slab::Slab;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use crate::audience::Audience;
use crate::contract::{Access, EventType, Role, Types};

/// The most that may wait for one connection that does not read.
const OUTBOX_LIMIT: usize = 16 * 1024 * 1024;

/// What a connection's task is to send.
pub enum Outgoing {
    Frames(Arc<Batch>),
    Ping,
}

/// Frames that are sent by one write.
pub struct Batch {
    pub frames: Vec<Utf8Bytes>,
    pub bytes: usize,
}

impl Batch {
    fn new(frames: Vec<Utf8Bytes>) -> Arc<Self> {
        let bytes = frames.iter().map(|frame| frame.len()).sum();
        Arc::new(Self { frames, bytes })
    }
}

/// How far a connection is behind.
#[derive(Default)]
pub struct Backlog {
    pub waiting: AtomicUsize,
    pub overflow: Notify,
}

/// Who a connection is, once it has shown its token.
pub struct Identity {
    pub user: String,
    pub role: Role,
    pub session: Option<String>,
}

type ConnectionKey = usize;
type GroupKey = usize;

struct Connection {
    identity: Option<Identity>,
    subscribed: Types,
    group: GroupKey,
    /// Where it stands among the group's members.
    place: usize,
    outbox: UnboundedSender<Outgoing>,
    backlog: Arc<Backlog>,
    /// The frames of this chunk, where they are not its group's.
    own_frames: Option<Vec<Utf8Bytes>>,
}

impl Connection {
    fn role(&self) -> Role {
        self.identity
            .as_ref()
            .map_or(Role::Public, |identity| identity.role)
    }

    fn send(&self, batch: Arc<Batch>) {
        let waiting = self
            .backlog
            .waiting
            .fetch_add(batch.bytes, Ordering::Relaxed)
            + batch.bytes;
        if waiting > OUTBOX_LIMIT {
            self.backlog.overflow.notify_one();
        } else if self.outbox.send(Outgoing::Frames(batch)).is_err() {
            // Its task has ended, and will take it out of the hub.
        }
    }
}

struct Group {
    role: Role,
    subscribed: Types,
    members: Vec<ConnectionKey>,
    /// The frames of this chunk.
    frames: Vec<Utf8Bytes>,
    /// Members that have a list of their own in this chunk.
    apart: Vec<ConnectionKey>,
}

/// The connections, in groups.
#[derive(Default)]
pub struct Hub {
    connections: Slab<Connection>,
    groups: Slab<Group>,
    groups_by_view: HashMap<(Role, Types), GroupKey>,
    by_user: HashMap<String, Vec<ConnectionKey>>,
    by_session: HashMap<String, Vec<ConnectionKey>>,
}

impl Hub {
    pub fn add(
        &mut self,
        outbox: UnboundedSender<Outgoing>,
        backlog: Arc<Backlog>,
    ) -> ConnectionKey {
        let key = self.connections.insert(Connection {
            identity: None,
            subscribed: 0,
            group: 0,
            place: 0,
            outbox,
            backlog,
            own_frames: None,
        });
        self.join_group(key);
        key
    }

    pub fn remove(&mut self, key: ConnectionKey) {
        self.forget_identity(key);
        self.leave_group(key);
        self.connections.remove(key);
    }

    pub fn role(&self, key: ConnectionKey) -> Role {
        self.connections[key].role()
    }

    pub fn user(&self, key: ConnectionKey) -> Option<&str> {
        self.connections[key]
            .identity
            .as_ref()
            .map(|identity| identity.user.as_str())
    }

    pub fn subscribed(&self, key: ConnectionKey) -> Types {
        self.connections[key].subscribed
    }

    /// The connection has shown who it is; what its role may not see any more, it is no longer subscribed to.
    pub fn identify(&mut self, key: ConnectionKey, identity: Identity) {
        self.forget_identity(key);
        self.by_user
            .entry(identity.user.clone())
            .or_default()
            .push(key);
        if let Some(session) = &identity.session {
            self.by_session
                .entry(session.clone())
                .or_default()
                .push(key);
        }
        let visible = !identity.role.types_with(Access::None);
        self.connections[key].identity = Some(identity);
        self.subscribe(key, self.connections[key].subscribed & visible);
    }

    /// Replaces what the connection is subscribed to.
    pub fn subscribe(&mut self, key: ConnectionKey, types: Types) {
        self.leave_group(key);
        self.connections[key].subscribed = types;
        self.join_group(key);
    }

    /// Sends one frame to one connection, after all that it has been handed before.
    pub fn answer(&self, key: ConnectionKey, frame: Utf8Bytes) {
        self.connections[key].send(Batch::new(vec![frame]));
    }

    pub fn ping_all(&self) {
        for (_, connection) in &self.connections {
            // One whose task has ended is about to be removed.
            connection.outbox.send(Outgoing::Ping).unwrap_or_default();
        }
    }

    /// Puts an event's frame on the list of everybody who gets it; `frame` is made when the first of them is found.
    pub fn deliver(
        &mut self,
        event_type: EventType,
        audience: &Audience,
        frame: &impl Deref<Target = Utf8Bytes>,
    ) {
        let excluded = self.excluded(audience);
        if audience.users.is_none() {
            self.deliver_to_groups(event_type, audience, &excluded, frame);
        }
        for user in audience.users.as_ref().unwrap_or(&audience.owners) {
            for key in self.by_user.get(user).cloned().unwrap_or_default() {
                let connection = &self.connections[key];
                let access = connection.role().access(event_type.namespace);
                // Whom `users` names owns the event, too; where nobody is named, `all` has been served by its group.
                let granted =
                    access == Access::Own || (access == Access::All && audience.users.is_some());
                if granted
                    && connection.subscribed & event_type.bit != 0
                    && connection.role().bit() & audience.roles != 0
                    && !excluded.contains(&key)
                {
                    self.own_frames(key).push((**frame).clone());
                }
            }
        }
    }

    /// Hands everybody what the chunk has gathered for them.
    pub fn flush(&mut self) {
        let mut apart = Vec::new();
        for (_, group) in &mut self.groups {
            if !group.frames.is_empty() {
                let batch = Batch::new(mem::take(&mut group.frames));
                for key in &group.members {
                    let connection = &self.connections[*key];
                    if connection.own_frames.is_none() {
                        connection.send(Arc::clone(&batch));
                    }
                }
            }
            apart.append(&mut group.apart);
        }
        for key in apart {
            let connection = &mut self.connections[key];
            let frames = connection.own_frames.take().unwrap_or_default();
            if !frames.is_empty() {
                connection.send(Batch::new(frames));
            }
        }
    }

    fn deliver_to_groups(
        &mut self,
        event_type: EventType,
        audience: &Audience,
        excluded: &[ConnectionKey],
        frame: &impl Deref<Target = Utf8Bytes>,
    ) {
        for key in excluded {
            self.own_frames(*key);
        }
        for (_, group) in &mut self.groups {
            let gets_it = group.subscribed & event_type.bit != 0
                && group.role.bit() & audience.roles != 0
                && group.role.access(event_type.namespace) == Access::All;
            if gets_it {
                group.frames.push((**frame).clone());
                for key in group.apart.iter().filter(|key| !excluded.contains(key)) {
                    if let Some(frames) = &mut self.connections[*key].own_frames {
                        frames.push((**frame).clone());
                    }
                }
            }
        }
    }

    fn excluded(&self, audience: &Audience) -> Vec<ConnectionKey> {
        let session = audience
            .excluded_session
            .iter()
            .filter_map(|session| self.by_session.get(session));
        let users = audience
            .excluded_users
            .iter()
            .filter_map(|user| self.by_user.get(user));
        session.chain(users).flatten().copied().collect()
    }

    fn own_frames(&mut self, key: ConnectionKey) -> &mut Vec<Utf8Bytes> {
        let connection = &mut self.connections[key];
        let group = &mut self.groups[connection.group];
        connection.own_frames.get_or_insert_with(|| {
            group.apart.push(key);
            group.frames.clone()
        })
    }

    fn join_group(&mut self, key: ConnectionKey) {
        let connection = &mut self.connections[key];
        let (role, subscribed) = (connection.role(), connection.subscribed);
        let groups = &mut self.groups;
        connection.group = *self
            .groups_by_view
            .entry((role, subscribed))
            .or_insert_with(|| {
                groups.insert(Group {
                    role,
                    subscribed,
                    members: Vec::new(),
                    frames: Vec::new(),
                    apart: Vec::new(),
                })
            });
        let members = &mut self.groups[connection.group].members;
        connection.place = members.len();
        members.push(key);
    }

    fn leave_group(&mut self, key: ConnectionKey) {
        let (group_key, place) = (self.connections[key].group, self.connections[key].place);
        let group = &mut self.groups[group_key];
        group.members.swap_remove(place);
        if let Some(moved) = group.members.get(place) {
            self.connections[*moved].place = place;
        } else if group.members.is_empty() {
            self.groups_by_view.remove(&(group.role, group.subscribed));
            self.groups.remove(group_key);
        }
    }

    fn forget_identity(&mut self, key: ConnectionKey) {
        if let Some(identity) = self.connections[key].identity.take() {
            remove_from(&mut self.by_user, &identity.user, key);
            if let Some(session) = &identity.session {
                remove_from(&mut self.by_session, session, key);
            }
        }
    }
}

fn remove_from(lists: &mut HashMap<String, Vec<ConnectionKey>>, name: &str, key: ConnectionKey) {
    if let Some(list) = lists.get_mut(name) {
        list.retain(|other| *other != key);
        if list.is_empty() {
            lists.remove(name);
        }
    }
}
