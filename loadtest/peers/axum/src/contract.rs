//! What the peer knows of the contract: the event types, the roles, and who may see which namespace.

use serde::{Deserialize, Serialize};

/// Namespaces with their event types; a type's number is its place in this order.
const CATALOGUE: [(&str, &[&str]); 6] = [
    (
        "orders",
        &[
            "order:created",
            "order:updated",
            "order:status_changed",
            "order:deleted",
        ],
    ),
    (
        "customers",
        &[
            "customer:activity",
            "customer:viewing_product",
            "customer:added_to_cart",
            "customer:online",
            "customer:offline",
        ],
    ),
    (
        "products",
        &[
            "product:price_changed",
            "product:created",
            "product:updated",
            "product:deleted",
        ],
    ),
    (
        "inventory",
        &[
            "inventory:updated",
            "inventory:low_stock",
            "inventory:out_of_stock",
            "inventory:restocked",
        ],
    ),
    (
        "payments",
        &["payment:received", "payment:failed", "payment:refunded"],
    ),
    (
        "system",
        &["system:notification", "system:alert", "system:maintenance"],
    ),
];

/// A set of event types, one bit each.
pub type Types = u32;

/// One event type.
#[derive(Clone, Copy)]
pub struct EventType {
    pub name: &'static str,
    pub namespace: Namespace,
    pub bit: Types,
}

impl EventType {
    pub fn named(name: &str) -> Option<Self> {
        all_types().find(|event_type| event_type.name == name)
    }
}

fn all_types() -> impl Iterator<Item = EventType> {
    CATALOGUE
        .iter()
        .enumerate()
        .flat_map(|(namespace, (_, names))| {
            names.iter().map(move |name| (Namespace(namespace), *name))
        })
        .enumerate()
        .map(|(place, (namespace, name))| EventType {
            name,
            namespace,
            bit: 1 << place,
        })
}

/// One namespace, by its place in the catalogue.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Namespace(usize);

impl Namespace {
    pub fn named(name: &str) -> Option<Self> {
        CATALOGUE
            .iter()
            .position(|(namespace, _)| *namespace == name)
            .map(Self)
    }

    pub fn all() -> impl Iterator<Item = Self> {
        (0..CATALOGUE.len()).map(Self)
    }

    pub fn name(self) -> &'static str {
        CATALOGUE[self.0].0
    }

    pub fn types(self) -> Types {
        all_types()
            .filter(|event_type| event_type.namespace == self)
            .fold(0, |types, event_type| types | event_type.bit)
    }
}

/// Whose eyes a connection has. A token carries any but `Public`, which is a connection without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Admin,
    Manager,
    Staff,
    Customer,
    Guest,
    #[serde(skip)]
    Public,
}

impl Role {
    pub fn bit(self) -> Roles {
        1 << self as u8
    }

    pub fn access(self, namespace: Namespace) -> Access {
        use Access::{All, None, Own};
        // The columns are the catalogue's namespaces.
        let row = match self {
            Self::Admin => [All, All, All, All, All, All],
            Self::Manager => [All, All, All, All, All, None],
            Self::Staff => [All, All, All, All, None, None],
            Self::Customer => [Own, None, All, None, Own, None],
            Self::Guest | Self::Public => [None, None, All, None, None, None],
        };
        row[namespace.0]
    }

    /// The types that the role sees as `access` says.
    pub fn types_with(self, access: Access) -> Types {
        Namespace::all()
            .filter(|namespace| self.access(*namespace) == access)
            .fold(0, |types, namespace| types | namespace.types())
    }
}

/// A set of roles, one bit each.
pub type Roles = u8;

/// What the access table says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    All,
    Own,
    None,
}

/// A refusal that is told to the sender: `code` is one of the contract's, the rest is for people.
#[derive(Debug)]
pub struct Refusal {
    pub code: &'static str,
    pub message: String,
}

impl Refusal {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// The contract's rule for users, sessions, and every other id.
pub fn is_id(text: &str) -> bool {
    !text.is_empty() && text.chars().take(129).count() <= 128 && !text.chars().any(char::is_control)
}
