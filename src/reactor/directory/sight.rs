//! Who may see a frame, decided once for all: CONTRACT section 2 as two sets of roles and a list of
//! names.
//!
//! [`Reach`] is what the table and the targets of a frame come to. The planner turns it round, from
//! frames to connections, through its index; [`View`] asks it for one connection, which is how the
//! past is replayed. Pure.

use super::{Directory, NONE};
use crate::access::{AccessTable, NamespaceMask, Role, RoleMask, TypeMask};
use crate::event::{Block, Frame, Name};

/// Whom a frame is for, exclusions aside.
pub struct Reach<'a> {
    /// Roles that see it whoever they are.
    pub everyone: RoleMask,
    /// Roles that see it if they are among `names`.
    pub named: RoleMask,
    /// The users that the frame names as its owners or its only receivers.
    pub names: &'a [Name],
}

impl<'a> Reach<'a> {
    /// What the access table and the frame's targets say together.
    pub fn of(access: &AccessTable, block: &'a Block, frame: &Frame) -> Self {
        let all = access.roles_all(frame.kind).intersect(frame.roles);
        let own = access.roles_own(frame.kind).intersect(frame.roles);
        if frame.users_narrow {
            // Whom the emitter names is an owner, too.
            Self {
                everyone: RoleMask::EMPTY,
                named: all.union(own),
                names: block.users(frame),
            }
        } else {
            Self {
                everyone: all,
                named: own,
                names: block.owners(frame),
            }
        }
    }
}

/// What one connection sees, as its token and its subscriptions are now.
pub struct View<'a> {
    access: &'a AccessTable,
    role: Role,
    subscribed: NamespaceMask,
    visible: TypeMask,
    interest: TypeMask,
    user: Option<(&'a str, u64)>,
    session: Option<(&'a str, u64)>,
}

impl Directory {
    /// What connection `key` sees, held back or not.
    pub fn view(&self, key: u32) -> View<'_> {
        let seat = &self.seats[key as usize];
        View {
            access: &self.access,
            role: seat.role,
            subscribed: seat.subscribed,
            visible: self.access.visible_types(seat.role),
            interest: self.visible(seat),
            user: (seat.user != NONE).then(|| self.users.hashed(seat.user)),
            session: (seat.session != NONE).then(|| self.sessions.hashed(seat.session)),
        }
    }
}

/// The first rule by which a connection does not see a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// The access table gives its role nothing of the namespace.
    Role,
    /// It is not subscribed to the namespace.
    NotSubscribed,
    /// It is, but only to other types: `events`.
    Events,
    /// `to.roles` (or `targetRoles`) lack its role.
    Roles,
    /// `to.userIds` lack its user.
    UserIds,
    /// Its role sees its own alone, and it is no owner.
    Own,
    /// `to.excludeUserIds` has its user.
    ExcludeUserIds,
    /// `to.excludeSessionId` is its session.
    ExcludeSessionId,
}

impl Hidden {
    /// What it is called in an answer to an operator.
    pub fn word(self) -> &'static str {
        match self {
            Hidden::Role => "role",
            Hidden::NotSubscribed => "not_subscribed",
            Hidden::Events => "events",
            Hidden::Roles => "roles",
            Hidden::UserIds => "user_ids",
            Hidden::Own => "own",
            Hidden::ExcludeUserIds => "exclude_user_ids",
            Hidden::ExcludeSessionId => "exclude_session_id",
        }
    }
}

impl View<'_> {
    /// The types it is subscribed to and its role may see: all, or its own.
    pub fn interest(&self) -> TypeMask {
        self.interest
    }

    /// The types its role may see, all or its own, subscribed to or not.
    pub fn visible(&self) -> TypeMask {
        self.visible
    }

    /// Whether it is subscribed to this frame and may see it.
    #[inline]
    pub fn sees(&self, block: &Block, frame: &Frame) -> bool {
        self.interest.contains(frame.kind) && self.may_see(block, frame)
    }

    /// Whether it may see this frame, subscribed to it or not.
    #[inline]
    pub fn may_see(&self, block: &Block, frame: &Frame) -> bool {
        self.judge_target(block, frame).is_ok()
    }

    /// Whether it sees this frame, or by which rule it does not.
    ///
    /// # Errors
    /// The first of the rules that says no.
    pub fn judge(&self, block: &Block, frame: &Frame) -> Result<(), Hidden> {
        if self.interest.contains(frame.kind) {
            return self.judge_target(block, frame);
        }
        Err(if !self.visible.contains(frame.kind) {
            Hidden::Role
        } else if self.subscribed.contains(frame.kind.namespace()) {
            Hidden::Events
        } else {
            Hidden::NotSubscribed
        })
    }

    // A replay asks this of every frame of history, and wants no reason: inlined, none is looked for.
    #[inline(always)]
    fn judge_target(&self, block: &Block, frame: &Frame) -> Result<(), Hidden> {
        let reach = Reach::of(self.access, block, frame);
        let session = block.session(frame).map_or(&[][..], std::slice::from_ref);
        let is_meant = reach.everyone.contains(self.role)
            || (reach.named.contains(self.role) && bears(self.user, block, reach.names));
        if !is_meant {
            Err(self.unmeant_by(frame))
        } else if bears(self.user, block, block.excluded(frame)) {
            Err(Hidden::ExcludeUserIds)
        } else if bears(self.session, block, session) {
            Err(Hidden::ExcludeSessionId)
        } else {
            Ok(())
        }
    }

    /// Which part of a reach leaves it out that does.
    fn unmeant_by(&self, frame: &Frame) -> Hidden {
        if !self.visible.contains(frame.kind) {
            Hidden::Role
        } else if !frame.roles.contains(self.role) {
            Hidden::Roles
        } else if frame.users_narrow {
            Hidden::UserIds
        } else {
            Hidden::Own
        }
    }
}

fn bears(own: Option<(&str, u64)>, block: &Block, names: &[Name]) -> bool {
    own.is_some_and(|(text, hash)| {
        names
            .iter()
            .any(|name| name.hash == hash && block.text(name) == text)
    })
}
