//! The reference: who may see what, written from the contract as plainly as possible. Slow and obvious on purpose.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What a role may see of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sees {
    All,
    Own,
    None,
}

use Sees::{All, None as No, Own};

pub const ROLES: [&str; 6] = ["admin", "manager", "staff", "customer", "guest", "public"];

/// The contract's access table: a row a namespace, its columns in the order of `ROLES`.
#[rustfmt::skip]
pub const TABLE: [(&str, [Sees; 6]); 6] = [
    //             admin manager staff customer guest public
    ("orders",    [All,  All,    All,  Own,     No,   No ]),
    ("customers", [All,  All,    All,  No,      No,   No ]),
    ("products",  [All,  All,    All,  All,     All,  All]),
    ("inventory", [All,  All,    All,  No,      No,   No ]),
    ("payments",  [All,  All,    No,   Own,     No,   No ]),
    ("system",    [All,  No,     No,   No,      No,   No ]),
];

pub fn table(role: &str, namespace: &str) -> Sees {
    let column = ROLES.iter().position(|&name| name == role).unwrap();
    let (_, row) = TABLE.iter().find(|(name, _)| *name == namespace).unwrap();
    row[column]
}

/// The namespaces a role may subscribe to.
pub fn open_to(role: &str) -> Vec<&'static str> {
    TABLE
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| table(role, name) != No)
        .collect()
}

/// The namespace of an event type: the plural of its first word.
pub fn namespace_of(event_type: &str) -> &'static str {
    match event_type.split(':').next().unwrap() {
        "order" => "orders",
        "customer" => "customers",
        "product" => "products",
        "inventory" => "inventory",
        "payment" => "payments",
        "system" => "system",
        other => panic!("no namespace for {other}"),
    }
}

/// What the model knows of a connection.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// None for a public connection.
    pub user: Option<String>,
    pub role: &'static str,
    pub session: Option<String>,
    /// Namespace to the types it is narrowed to; None: all of them.
    pub subscriptions: BTreeMap<String, Option<BTreeSet<String>>>,
}

impl Viewer {
    /// The contract's section 2, sentence by sentence.
    pub fn receives(&self, event: &Value) -> bool {
        let kind = event["type"].as_str().unwrap();
        let namespace = namespace_of(kind);
        let subscribed = match self.subscriptions.get(namespace) {
            Some(Some(types)) => types.contains(kind),
            Some(None) => true,
            None => false,
        };
        let to = &event["to"];
        let names_me = |list: &Value| self.user.as_ref().is_some_and(|user| holds(list, user));
        let owner = names_me(&to["owners"])
            || names_me(&to["userIds"])
            || (self.user.is_some()
                && event["data"]["customerId"].as_str() == self.user.as_deref());
        let allowed = match table(self.role, namespace) {
            All => true,
            Own => owner,
            No => false,
        };
        let target_roles = &event["data"]["targetRoles"];
        subscribed
            && allowed
            && (to["roles"].is_null() || holds(&to["roles"], self.role))
            && (target_roles.is_null() || holds(target_roles, self.role))
            && (to["userIds"].is_null() || names_me(&to["userIds"]))
            && !names_me(&to["excludeUserIds"])
            && !(self.session.is_some()
                && to["excludeSessionId"].as_str() == self.session.as_deref())
    }
}

fn holds(list: &Value, name: &str) -> bool {
    list.as_array()
        .is_some_and(|list| list.iter().any(|entry| entry.as_str() == Some(name)))
}
