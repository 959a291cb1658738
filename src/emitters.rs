//! Which users of this machine may do what on the ingest socket.
//!
//! Owns the rules: without an `[emitters]` table whoever can open the socket may emit, and the server's
//! own user and root may command; with one, the users that it names may do what it says, and others, but
//! for those two, nothing. `config` reads the table, the router asks for each emitter. Pure: who somebody
//! is the kernel says (SO_PEERCRED, unix(7)), and the caller passes it in.

use crate::access::{Namespace, NamespaceMask};
use crate::limits;

/// A user's number, as the kernel counts them.
pub type UserId = u32;

/// A `ctl` command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verb {
    /// `stats`
    Stats,
    /// `drain`
    Drain,
    /// `reload`
    Reload,
    /// `disconnect`
    Disconnect,
    /// `revoke`
    Revoke,
    /// `log-level`
    LogLevel,
    /// `connections`
    Connections,
    /// `history`
    History,
    /// `access`
    Access,
    /// `tap`
    Tap,
    /// `why`
    Why,
}

impl Verb {
    /// Every command.
    pub const ALL: [Verb; 11] = [
        Verb::Stats,
        Verb::Drain,
        Verb::Reload,
        Verb::Disconnect,
        Verb::Revoke,
        Verb::LogLevel,
        Verb::Connections,
        Verb::History,
        Verb::Access,
        Verb::Tap,
        Verb::Why,
    ];

    /// The name on the wire and in configuration.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Stats => "stats",
            Verb::Drain => "drain",
            Verb::Reload => "reload",
            Verb::Disconnect => "disconnect",
            Verb::Revoke => "revoke",
            Verb::LogLevel => "log-level",
            Verb::Connections => "connections",
            Verb::History => "history",
            Verb::Access => "access",
            Verb::Tap => "tap",
            Verb::Why => "why",
        }
    }

    /// The command of that exact name.
    pub fn parse(name: &str) -> Option<Verb> {
        Verb::ALL.into_iter().find(|verb| verb.name() == name)
    }
}

/// A set of commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verbs(u16);

impl Verbs {
    /// Every command.
    pub const ALL: Verbs = Verbs((1 << Verb::ALL.len()) - 1);

    /// Adds `verb`.
    pub fn insert(&mut self, verb: Verb) {
        self.0 |= 1 << verb as u8;
    }

    /// Whether `verb` is in the set.
    pub fn contains(self, verb: Verb) -> bool {
        self.0 & (1 << verb as u8) != 0
    }
}

/// What somebody may do on the ingest socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// The namespaces whose events he may emit.
    pub namespaces: NamespaceMask,
    /// The commands he may give.
    pub verbs: Verbs,
}

impl Rights {
    /// Everything.
    pub const ALL: Rights = Rights {
        namespaces: NamespaceMask::ALL,
        verbs: Verbs::ALL,
    };
    /// What the server's own canary emits, whatever the table says of the server's user.
    pub const CANARY: Rights = Rights {
        namespaces: NamespaceMask::only(Namespace::System),
        verbs: Verbs(0),
    };
    /// Every event, and no command.
    pub const EVENTS: Rights = Rights {
        namespaces: NamespaceMask::ALL,
        verbs: Verbs(0),
    };
}

/// The table `[emitters]`: a row a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emitters(Vec<(UserId, Rights)>);

impl Emitters {
    /// Adds a row. False: this user has one already.
    pub fn insert(&mut self, user: UserId, rights: Rights) -> bool {
        let is_new = self.0.iter().all(|(other, _)| *other != user);
        if is_new {
            self.0.push((user, rights));
        }
        is_new
    }

    fn row(&self, user: UserId) -> Option<Rights> {
        let row = self.0.iter().find(|(other, _)| *other == user);
        row.map(|(_, rights)| *rights)
    }
}

/// With how many emitters connected one more of this user is let in, and a sentence for one who is not; `own`
/// is the server's user. However many API routes leave their connections open, an operator still gets in, and
/// root where they run as the server's user.
pub fn places(user: Option<UserId>, own: UserId) -> (usize, String) {
    let (kept, whose) = match user {
        Some(0) => (0, None),
        Some(user) if user == own => (limits::EMITTERS_OF_ROOT, Some("root")),
        _ => (
            limits::EMITTERS_OF_OPERATORS,
            Some("root and the server's own user"),
        ),
    };
    let places = limits::EMITTERS_MAX - kept;
    let sentence = match whose {
        None => format!("{places} emitters are connected, the most there may be"),
        Some(whose) => format!(
            "{places} emitters are connected, and the last {kept} places are kept for {whose}; connections \
             that are not needed any more should be closed"
        ),
    };
    (places, sentence)
}

/// What the user at the other end may do, under this table if there is one; `own` is the server's user.
/// `None`: the kernel did not say who it is.
pub fn rights(table: Option<&Emitters>, user: Option<UserId>, own: UserId) -> Rights {
    let is_operator = user.is_some_and(|user| user == own || user == 0);
    let otherwise = match (is_operator, table) {
        (true, _) => Rights::ALL,
        (false, None) => Rights::EVENTS,
        (false, Some(_)) => Rights::default(),
    };
    let row = table.zip(user).and_then(|(table, user)| table.row(user));
    row.unwrap_or(otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: UserId = 100;

    #[test]
    fn without_a_table_all_may_emit_and_two_may_command() {
        for (user, expected) in [
            (Some(OWN), Rights::ALL),
            (Some(0), Rights::ALL),
            (Some(33), Rights::EVENTS),
            (None, Rights::EVENTS),
        ] {
            assert_eq!(rights(None, user, OWN), expected, "{user:?}");
        }
    }

    #[test]
    fn an_operator_finds_a_place_when_others_have_all_of_theirs() {
        let places = |user| places(user, OWN).0;
        assert_eq!((places(Some(33)), places(None)), (1008, 1008));
        assert_eq!((places(Some(OWN)), places(Some(0))), (1016, 1024));
        let (_, sentence) = super::places(Some(33), OWN);
        assert!(sentence.contains("last 16 places are kept for root and"));
        // Where the server is root's, there is nobody above it.
        assert_eq!(super::places(Some(0), 0).0, 1024);
    }

    #[test]
    fn a_table_says_all_but_for_the_servers_own_user_and_root() {
        let mut orders = Rights::default();
        orders.namespaces.insert(Namespace::Orders);
        orders.verbs.insert(Verb::Stats);
        let mut table = Emitters::default();
        assert!(table.insert(33, orders));
        assert!(!table.insert(33, Rights::ALL), "one row a user");
        let of = |user| rights(Some(&table), user, OWN);
        assert_eq!(of(Some(33)), orders);
        assert!(orders.verbs.contains(Verb::Stats) && !orders.verbs.contains(Verb::Drain));
        assert_eq!(of(Some(34)), Rights::default());
        assert_eq!(of(None), Rights::default());
        assert_eq!((of(Some(OWN)), of(Some(0))), (Rights::ALL, Rights::ALL));
        // Unless it names them, too: API routes often run as the server's user.
        assert!(table.insert(OWN, Rights::EVENTS));
        assert_eq!(rights(Some(&table), Some(OWN), OWN), Rights::EVENTS);
    }
}
