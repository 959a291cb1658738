//! Who may see a frame, decided once for all: CONTRACT section 2 as two sets of roles and a list of
//! names.
//!
//! [`Reach`] is what the table and the targets of a frame come to. The planner turns it round, from
//! frames to connections, through its index; [`View`] asks it for one connection, which is how the
//! past is replayed. Pure.

use super::{Directory, NONE};
use crate::access::{AccessTable, Role, RoleMask, TypeMask};
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
            visible: self.access.visible_types(seat.role),
            interest: self.visible(seat),
            user: (seat.user != NONE).then(|| self.users.hashed(seat.user)),
            session: (seat.session != NONE).then(|| self.sessions.hashed(seat.session)),
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
    pub fn sees(&self, block: &Block, frame: &Frame) -> bool {
        self.interest.contains(frame.kind) && self.may_see(block, frame)
    }

    /// Whether it may see this frame, subscribed to it or not.
    pub fn may_see(&self, block: &Block, frame: &Frame) -> bool {
        let reach = Reach::of(self.access, block, frame);
        let session = block.session(frame).map_or(&[][..], std::slice::from_ref);
        let is_meant = reach.everyone.contains(self.role)
            || (reach.named.contains(self.role) && bears(self.user, block, reach.names));
        is_meant
            && !bears(self.user, block, block.excluded(frame))
            && !bears(self.session, block, session)
    }
}

fn bears(own: Option<(&str, u64)>, block: &Block, names: &[Name]) -> bool {
    own.is_some_and(|(text, hash)| {
        names
            .iter()
            .any(|name| name.hash == hash && block.text(name) == text)
    })
}
