//! Sets of roles, of namespaces and of event types, a bit each. Inlined: loops over history and connections ask them of
//! every frame.

use serde::{Deserialize, Serialize};

use super::{Namespace, Role};
use crate::event::catalogue::EventType;

/// A set of roles.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct RoleMask(u8);

impl RoleMask {
    /// No role.
    pub const EMPTY: RoleMask = RoleMask(0);
    /// Every role, public included.
    pub const ALL: RoleMask = RoleMask((1 << Role::ALL.len()) - 1);

    /// Whether `role` is in the set.
    #[inline]
    pub fn contains(self, role: Role) -> bool {
        self.0 & (1 << role as u8) != 0
    }

    /// Adds `role`.
    #[inline]
    pub fn insert(&mut self, role: Role) {
        self.0 |= 1 << role as u8;
    }

    /// The roles in both sets.
    #[must_use]
    #[inline]
    pub fn intersect(self, other: RoleMask) -> RoleMask {
        RoleMask(self.0 & other.0)
    }

    /// The roles in either set.
    #[must_use]
    #[inline]
    pub fn union(self, other: RoleMask) -> RoleMask {
        RoleMask(self.0 | other.0)
    }

    /// Whether no role is in the set.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set as bits, the first of [`Role::ALL`] in the lowest.
    #[inline]
    pub fn bits(self) -> u8 {
        self.0
    }
}

/// A set of namespaces.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct NamespaceMask(u8);

impl NamespaceMask {
    /// Every namespace.
    pub const ALL: NamespaceMask = NamespaceMask((1 << Namespace::ALL.len()) - 1);

    /// This namespace alone.
    pub const fn only(namespace: Namespace) -> NamespaceMask {
        NamespaceMask(1 << namespace as u8)
    }

    /// Whether `namespace` is in the set.
    #[inline]
    pub fn contains(self, namespace: Namespace) -> bool {
        self.0 & (1 << namespace as u8) != 0
    }

    /// Adds `namespace`.
    #[inline]
    pub fn insert(&mut self, namespace: Namespace) {
        self.0 |= 1 << namespace as u8;
    }

    /// Takes `namespace` out.
    #[inline]
    pub fn remove(&mut self, namespace: Namespace) {
        self.0 &= !(1 << namespace as u8);
    }

    /// The namespaces in either set.
    #[must_use]
    #[inline]
    pub fn union(self, other: NamespaceMask) -> NamespaceMask {
        NamespaceMask(self.0 | other.0)
    }

    /// Whether no namespace is in the set.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The namespaces in the set, in the order of [`Namespace::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Namespace> {
        Namespace::ALL
            .into_iter()
            .filter(move |&namespace| self.contains(namespace))
    }
}

/// A set of event types: bit `n` is the type with the number `n`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct TypeMask(pub u32);

impl TypeMask {
    /// All of them.
    pub const ALL: TypeMask = TypeMask(((1_u64 << EventType::ALL.len()) - 1) as u32);

    /// Whether `kind` is in the set.
    #[inline]
    pub fn contains(self, kind: EventType) -> bool {
        self.0 & (1 << kind as u32) != 0
    }

    /// Adds `kind`.
    #[inline]
    pub fn insert(&mut self, kind: EventType) {
        self.0 |= 1 << kind as u32;
    }

    /// The types in either set.
    #[must_use]
    #[inline]
    pub fn union(self, other: TypeMask) -> TypeMask {
        TypeMask(self.0 | other.0)
    }

    /// The types in both sets.
    #[must_use]
    #[inline]
    pub fn intersect(self, other: TypeMask) -> TypeMask {
        TypeMask(self.0 & other.0)
    }

    /// The types of this set that `other` does not have.
    #[must_use]
    #[inline]
    pub fn without(self, other: TypeMask) -> TypeMask {
        TypeMask(self.0 & !other.0)
    }

    /// Whether no type is in the set.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}
