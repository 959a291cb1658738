//! Who may see what: roles, namespaces and the table between them.
//!
//! Owns the contract's access table, its default and its compiled form: bit masks of event types
//! and of roles, so that one event costs the reactors a few array look-ups and no decision is made
//! twice. Configuration changes rows, `event` names roles and namespaces while parsing, the router
//! and the reactors read the compiled views. Pure: no sockets, no clock.

mod masks;

use serde::{Deserialize, Serialize};

use crate::event::catalogue::{EventType, types_of};
pub use masks::{NamespaceMask, RoleMask, TypeMask};

/// What a connection is, from its token; `Public` is a connection without one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum Role {
    /// Runs the shop's systems.
    Admin,
    /// Runs the shop.
    Manager,
    /// Works in the shop.
    Staff,
    /// Buys in the shop, signed in.
    Customer,
    /// Looks around with a guest token.
    Guest,
    /// No token at all.
    Public,
}

impl Role {
    /// Every role, in the order of the contract's table.
    pub const ALL: [Role; 6] = [
        Role::Admin,
        Role::Manager,
        Role::Staff,
        Role::Customer,
        Role::Guest,
        Role::Public,
    ];
    /// The roles a token (and `to.roles`, `data.targetRoles`) can name.
    pub const IN_TOKENS: [Role; 5] = [
        Role::Admin,
        Role::Manager,
        Role::Staff,
        Role::Customer,
        Role::Guest,
    ];

    /// The name used in tokens, events, configuration and statistics.
    pub fn name(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Manager => "manager",
            Role::Staff => "staff",
            Role::Customer => "customer",
            Role::Guest => "guest",
            Role::Public => "public",
        }
    }

    /// Whether it is one of those who run the shop and work in it.
    pub fn is_back_office(self) -> bool {
        matches!(self, Role::Admin | Role::Manager | Role::Staff)
    }

    /// The role of that name that a token may carry; never `Public`, which is the absence of a token.
    pub fn from_token(name: &str) -> Option<Role> {
        Role::IN_TOKENS.into_iter().find(|role| role.name() == name)
    }
}

/// What a client subscribes to: a family of event types.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Namespace {
    /// `order:…`
    Orders,
    /// `customer:…`
    Customers,
    /// `product:…`
    Products,
    /// `inventory:…`
    Inventory,
    /// `payment:…`
    Payments,
    /// `system:…`
    System,
}

impl Namespace {
    /// Every namespace, in the order of the contract's table.
    pub const ALL: [Namespace; 6] = [
        Namespace::Orders,
        Namespace::Customers,
        Namespace::Products,
        Namespace::Inventory,
        Namespace::Payments,
        Namespace::System,
    ];

    /// The name on the wire and in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Namespace::Orders => "orders",
            Namespace::Customers => "customers",
            Namespace::Products => "products",
            Namespace::Inventory => "inventory",
            Namespace::Payments => "payments",
            Namespace::System => "system",
        }
    }

    /// The namespace of that exact name.
    pub fn parse(name: &str) -> Option<Namespace> {
        Namespace::ALL
            .into_iter()
            .find(|namespace| namespace.name() == name)
    }
}

/// What a role may see of a namespace.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Access {
    /// Nothing; no event widens this.
    #[default]
    None,
    /// Events the user is an owner of.
    Own,
    /// Every event.
    All,
}

impl Access {
    /// Every degree.
    pub const EACH: [Access; 3] = [Access::None, Access::Own, Access::All];

    /// The name in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Access::None => "none",
            Access::Own => "own",
            Access::All => "all",
        }
    }

    /// The access of that exact name.
    pub fn parse(name: &str) -> Option<Access> {
        Access::EACH
            .into_iter()
            .find(|access| access.name() == name)
    }
}

/// The access table, role × namespace, with its compiled views.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessTable {
    cells: [[Access; Role::ALL.len()]; Namespace::ALL.len()],
    all_types: [TypeMask; Role::ALL.len()],
    own_types: [TypeMask; Role::ALL.len()],
    roles_all: [RoleMask; EventType::ALL.len()],
    roles_own: [RoleMask; EventType::ALL.len()],
}

impl Default for AccessTable {
    /// The contract's table.
    fn default() -> AccessTable {
        use Access::{All, None, Own};
        let mut table = AccessTable {
            // Columns: admin, manager, staff, customer, guest, public.
            cells: [
                [All, All, All, Own, None, None],    // orders
                [All, All, All, None, None, None],   // customers
                [All, All, All, All, All, All],      // products
                [All, All, All, None, None, None],   // inventory
                [All, All, None, Own, None, None],   // payments
                [All, None, None, None, None, None], // system
            ],
            all_types: Default::default(),
            own_types: Default::default(),
            roles_all: Default::default(),
            roles_own: Default::default(),
        };
        table.compile();
        table
    }
}

impl AccessTable {
    /// What `role` may see of `namespace`.
    pub fn get(&self, role: Role, namespace: Namespace) -> Access {
        self.cells[namespace as usize][role as usize]
    }

    /// The first role of the back office that may see something of `namespace`.
    pub fn back_office_for(&self, namespace: Namespace) -> Option<Role> {
        Role::ALL
            .into_iter()
            .filter(|role| role.is_back_office())
            .find(|role| self.get(*role, namespace) != Access::None)
    }

    /// Replaces the row of `namespace` whole: a role that `row` leaves out may see nothing of it.
    ///
    /// # Errors
    /// A sentence, if a role that has no user of its own (guest, public) is given `own`, or a role
    /// is named twice. The table is unchanged then.
    pub fn set_row(&mut self, namespace: Namespace, row: &[(Role, Access)]) -> Result<(), String> {
        let mut cells = [Access::None; Role::ALL.len()];
        let mut named = RoleMask::EMPTY;
        for &(role, access) in row {
            if access == Access::Own && matches!(role, Role::Guest | Role::Public) {
                return Err(format!(
                    "\"own\" is not possible for {}, which has no user of its own: use \"all\" or \"none\"",
                    role.name()
                ));
            }
            if named.contains(role) {
                return Err(format!("{} is named twice", role.name()));
            }
            named.insert(role);
            cells[role as usize] = access;
        }
        self.cells[namespace as usize] = cells;
        self.compile();
        Ok(())
    }

    /// The types of which `role` may see every event.
    pub fn all_types(&self, role: Role) -> TypeMask {
        self.all_types[role as usize]
    }

    /// The types of which `role` may see the events its user owns.
    pub fn own_types(&self, role: Role) -> TypeMask {
        self.own_types[role as usize]
    }

    /// The types of which `role` may see at least some events.
    pub fn visible_types(&self, role: Role) -> TypeMask {
        self.all_types(role).union(self.own_types(role))
    }

    /// The roles that may see every event of type `kind`.
    pub fn roles_all(&self, kind: EventType) -> RoleMask {
        self.roles_all[kind as usize]
    }

    /// The roles that may see the events of type `kind` that their user owns.
    pub fn roles_own(&self, kind: EventType) -> RoleMask {
        self.roles_own[kind as usize]
    }

    /// Whether a token of some role opens at least a part of `namespace`: it decides if a public
    /// connection that asks for it is told `unauthorized` or `forbidden`.
    pub fn openable_by_token(&self, namespace: Namespace) -> bool {
        Role::IN_TOKENS
            .into_iter()
            .any(|role| self.get(role, namespace) != Access::None)
    }

    fn compile(&mut self) {
        self.all_types = Default::default();
        self.own_types = Default::default();
        self.roles_all = Default::default();
        self.roles_own = Default::default();
        for namespace in Namespace::ALL {
            for role in Role::ALL {
                let (types, roles) = match self.get(role, namespace) {
                    Access::None => continue,
                    Access::Own => (&mut self.own_types, &mut self.roles_own),
                    Access::All => (&mut self.all_types, &mut self.roles_all),
                };
                let of_namespace = types_of(namespace);
                let mask = &mut types[role as usize];
                *mask = mask.union(of_namespace);
                for kind in EventType::ALL {
                    if of_namespace.contains(kind) {
                        roles[kind as usize].insert(role);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn default_table_is_the_contracts() {
        let rows = [
            (Namespace::Orders, "all all all own - -"),
            (Namespace::Customers, "all all all - - -"),
            (Namespace::Products, "all all all all all all"),
            (Namespace::Inventory, "all all all - - -"),
            (Namespace::Payments, "all all - own - -"),
            (Namespace::System, "all - - - - -"),
        ];
        let table = AccessTable::default();
        for (namespace, row) in rows {
            for (role, cell) in Role::ALL.into_iter().zip(row.split(' ')) {
                let expected = match cell {
                    "all" => Access::All,
                    "own" => Access::Own,
                    _ => Access::None,
                };
                assert_eq!(
                    table.get(role, namespace),
                    expected,
                    "{role:?} {namespace:?}"
                );
            }
        }
    }

    fn views_agree(table: &AccessTable) {
        for kind in EventType::ALL {
            for role in Role::ALL {
                let access = table.get(role, kind.namespace());
                let all = access == Access::All;
                let own = access == Access::Own;
                assert_eq!(table.all_types(role).contains(kind), all);
                assert_eq!(table.own_types(role).contains(kind), own);
                assert_eq!(table.visible_types(role).contains(kind), all || own);
                assert_eq!(table.roles_all(kind).contains(role), all);
                assert_eq!(table.roles_own(kind).contains(role), own);
            }
        }
    }

    #[test]
    fn compiled_views_say_what_the_cells_say() {
        let mut table = AccessTable::default();
        views_agree(&table);
        table
            .set_row(
                Namespace::Orders,
                &[(Role::Public, Access::All), (Role::Staff, Access::Own)],
            )
            .unwrap();
        views_agree(&table);
    }

    #[test]
    fn a_row_is_replaced_whole() {
        let mut table = AccessTable::default();
        table
            .set_row(Namespace::Products, &[(Role::Customer, Access::Own)])
            .unwrap();
        assert_eq!(table.get(Role::Customer, Namespace::Products), Access::Own);
        assert_eq!(table.get(Role::Admin, Namespace::Products), Access::None);
        assert_eq!(table.get(Role::Admin, Namespace::Orders), Access::All);
        assert!(table.all_types(Role::Public).is_empty());
    }

    #[test]
    fn own_needs_a_user() {
        for role in [Role::Guest, Role::Public] {
            let mut table = AccessTable::default();
            let refusal = table
                .set_row(Namespace::Orders, &[(role, Access::Own)])
                .unwrap_err();
            assert!(refusal.contains(role.name()), "{refusal}");
            assert_eq!(table, AccessTable::default());
        }
        let mut table = AccessTable::default();
        let twice = [(Role::Staff, Access::All), (Role::Staff, Access::None)];
        assert!(table.set_row(Namespace::Orders, &twice).is_err());
    }

    #[test]
    fn tokens_never_name_public() {
        assert_eq!(Role::from_token("public"), None);
        assert_eq!(Role::from_token("Admin"), None);
        for role in Role::IN_TOKENS {
            assert_eq!(Role::from_token(role.name()), Some(role));
        }
    }

    #[test]
    fn openable_by_token_ignores_the_public_column() {
        let mut table = AccessTable::default();
        assert!(
            Namespace::ALL
                .into_iter()
                .all(|n| table.openable_by_token(n))
        );
        table
            .set_row(Namespace::System, &[(Role::Public, Access::All)])
            .unwrap();
        assert!(!table.openable_by_token(Namespace::System));
        table
            .set_row(Namespace::System, &[(Role::Guest, Access::All)])
            .unwrap();
        assert!(table.openable_by_token(Namespace::System));
    }

    #[test]
    fn masks_are_sets() {
        let mut roles = RoleMask::EMPTY;
        assert!(roles.is_empty());
        roles.insert(Role::Guest);
        assert!(roles.contains(Role::Guest) && !roles.contains(Role::Public));
        assert!(
            Role::ALL
                .into_iter()
                .all(|role| RoleMask::ALL.contains(role))
        );
        assert_eq!(RoleMask::ALL.intersect(roles), roles);

        let mut namespaces = NamespaceMask::default();
        namespaces.insert(Namespace::System);
        namespaces.insert(Namespace::Orders);
        let listed: Vec<_> = namespaces.iter().collect();
        assert_eq!(listed, [Namespace::Orders, Namespace::System]);
        namespaces.remove(Namespace::Orders);
        assert!(!namespaces.contains(Namespace::Orders) && !namespaces.is_empty());
        assert_eq!(NamespaceMask::default().union(namespaces), namespaces);

        let mut types = TypeMask::default();
        types.insert(EventType::SystemMaintenance);
        assert!(types.contains(EventType::SystemMaintenance));
        assert!(types.without(types).is_empty());
        assert_eq!(types.intersect(types).union(TypeMask(1)).0, types.0 | 1);
    }

    #[test]
    fn namespace_names_parse_back() {
        for namespace in Namespace::ALL {
            assert_eq!(Namespace::parse(namespace.name()), Some(namespace));
        }
        assert_eq!(Namespace::parse("order"), None);
    }
}
