//! Whom an event is for: the `to` of a line, with what `data` adds to it.
//!
//! Filled by the parser, one object used again for every line; read by the block builder and by
//! the router.

use super::json::{Document, Keys};
use super::refusal::{Code, Refusal, shortened};
use super::rules::{ID_CHARS_MAX, is_id, roles};
use crate::access::{Role, RoleMask};

/// Whom an event is for, beyond what the access table says.
#[derive(Clone, Debug)]
pub struct Targets {
    /// Roles that may get it: `to.roles` ∩ `data.targetRoles`, each all roles if absent.
    pub roles: RoleMask,
    /// Whether only [`users`](Targets::users) may get it, because `to.userIds` was given.
    pub users_narrow: bool,
    text: String,
    /// Ends of the names in `text`, in the order: owners, users (owners too), excluded, session.
    ends: Vec<u32>,
    users_start: usize,
    owners_end: usize,
    excluded_end: usize,
}

impl Default for Targets {
    fn default() -> Targets {
        Targets {
            roles: RoleMask::ALL,
            users_narrow: false,
            text: String::new(),
            ends: Vec::new(),
            users_start: 0,
            owners_end: 0,
            excluded_end: 0,
        }
    }
}

impl Targets {
    /// Users that own the event: `to.owners`, `data.customerId` and `to.userIds`. A user who is
    /// named in more than one of them is listed as often.
    pub fn owners(&self) -> impl Iterator<Item = &str> {
        self.names(0, self.owners_end)
    }

    /// The users of `to.userIds`.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.names(self.users_start, self.owners_end)
    }

    /// The users of `to.excludeUserIds`.
    pub fn excluded(&self) -> impl Iterator<Item = &str> {
        self.names(self.owners_end, self.excluded_end)
    }

    /// The session of `to.excludeSessionId`.
    pub fn session(&self) -> Option<&str> {
        self.names(self.excluded_end, self.ends.len()).next()
    }

    /// Every name, in the order owners, users, excluded, session; the parts are told by
    /// [`bounds`](Targets::bounds).
    pub(super) fn all_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names(0, self.ends.len())
    }

    /// Where users start, owners end and excluded end in [`all_names`](Targets::all_names).
    pub(super) fn bounds(&self) -> [usize; 3] {
        [self.users_start, self.owners_end, self.excluded_end]
    }

    /// Takes what `to` (the index of its value, where the line has one) and `data` say. Answers
    /// whether the keys of `to` are distinct.
    ///
    /// `customer` is `data.customerId`, `data_roles` is `data.targetRoles`.
    pub(super) fn fill(
        &mut self,
        document: Document<'_, '_>,
        to: Option<usize>,
        customer: Option<&str>,
        data_roles: Option<RoleMask>,
    ) -> Result<Keys, Refusal> {
        self.text.clear();
        self.ends.clear();
        let to = match to {
            Some(at) => To::read(document, at)?,
            None => To::default(),
        };

        self.roles = data_roles.unwrap_or(RoleMask::ALL);
        if let Some(at) = to.roles {
            let named = roles(document, at).ok_or_else(|| refuse_roles(document, at))?;
            self.roles = self.roles.intersect(named);
        }
        if let Some(at) = to.owners {
            self.push_list(document, at, "to.owners", Empty::Refused)?;
        }
        if let Some(customer) = customer {
            self.push(customer);
        }
        self.users_start = self.ends.len();
        self.users_narrow = to.user_ids.is_some();
        if let Some(at) = to.user_ids {
            self.push_list(document, at, "to.userIds", Empty::Refused)?;
        }
        self.owners_end = self.ends.len();
        if let Some(at) = to.exclude_user_ids {
            self.push_list(document, at, "to.excludeUserIds", Empty::Nobody)?;
        }
        self.excluded_end = self.ends.len();
        if let Some(at) = to.exclude_session_id {
            match document.string(at).filter(|id| is_id(id)) {
                Some(session) => self.push(session),
                None => {
                    return Err(refuse(
                        "to.excludeSessionId",
                        &format!(
                            "must be a string of 1 to {ID_CHARS_MAX} characters, none of them a control character"
                        ),
                    ));
                }
            }
        }
        Ok(to.keys)
    }

    fn push_list(
        &mut self,
        document: Document<'_, '_>,
        at: usize,
        field: &str,
        empty: Empty,
    ) -> Result<(), Refusal> {
        let elements = document
            .elements(at)
            .ok_or_else(|| refuse(field, "must be a list of ids"))?;
        if elements.len() == 0 && empty == Empty::Refused {
            return Err(refuse(
                field,
                "is an empty list: name somebody, or leave the field out",
            ));
        }
        for element in elements {
            match document.string(element).filter(|id| is_id(id)) {
                Some(id) => self.push(id),
                None => {
                    return Err(refuse(
                        field,
                        &format!(
                            "must list ids, strings of 1 to {ID_CHARS_MAX} characters, none of them a control character"
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, name: &str) {
        self.text.push_str(name);
        // Names are parts of one line, which is far below 4 GiB.
        self.ends.push(self.text.len() as u32);
    }

    fn names(&self, from: usize, to: usize) -> impl ExactSizeIterator<Item = &str> {
        (from..to).map(|number| {
            let start = match number {
                0 => 0,
                _ => self.ends[number - 1] as usize,
            };
            &self.text[start..self.ends[number] as usize]
        })
    }
}

/// What an empty list means: a typo must never become a broadcast.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    Refused,
    Nobody,
}

/// The indexes of the values that `to` has.
struct To {
    keys: Keys,
    roles: Option<usize>,
    user_ids: Option<usize>,
    owners: Option<usize>,
    exclude_user_ids: Option<usize>,
    exclude_session_id: Option<usize>,
}

impl Default for To {
    fn default() -> To {
        To {
            keys: Keys::Distinct,
            roles: None,
            user_ids: None,
            owners: None,
            exclude_user_ids: None,
            exclude_session_id: None,
        }
    }
}

impl To {
    fn read(document: Document<'_, '_>, at: usize) -> Result<To, Refusal> {
        if !matches!(document.node(at), simd_json::Node::Object { .. }) {
            return Err(refuse("to", "must be an object, or be left out"));
        }
        let mut to = To::default();
        for (name, value) in document.members(at) {
            let slot = match name {
                "roles" => &mut to.roles,
                "userIds" => &mut to.user_ids,
                "owners" => &mut to.owners,
                "excludeUserIds" => &mut to.exclude_user_ids,
                "excludeSessionId" => &mut to.exclude_session_id,
                unknown => {
                    return Err(refuse(
                        &format!("to.{}", shortened(unknown)),
                        "is unknown: roles, userIds, owners, excludeUserIds and excludeSessionId are allowed",
                    ));
                }
            };
            if slot.replace(value).is_some() {
                to.keys = Keys::Unchecked;
            }
        }
        Ok(to)
    }
}

fn refuse_roles(document: Document<'_, '_>, at: usize) -> Refusal {
    let names = Role::IN_TOKENS.map(Role::name).join(", ");
    let unknown = document
        .elements(at)
        .into_iter()
        .flatten()
        .filter_map(|element| document.string(element))
        .find(|name| Role::from_token(name).is_none());
    match unknown {
        Some(name) => refuse(
            "to.roles",
            &format!(
                "names the unknown role \"{}\": {names} are allowed",
                shortened(name)
            ),
        ),
        None => refuse(
            "to.roles",
            &format!("must be a non-empty list of roles out of {names}"),
        ),
    }
}

fn refuse(field: &str, fault: &str) -> Refusal {
    Refusal::field(Code::InvalidTarget, field, fault)
}
