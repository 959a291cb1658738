//! Roles, namespaces and event types as the contract states them: written down here a second time
//! on purpose, so that the server's own table is held against it.

/// What a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sees everything.
    Admin,
    /// Sees all but system notices.
    Manager,
    /// Sees all but payments and system notices.
    Staff,
    /// Sees products, and its own orders and payments.
    Customer,
    /// Sees products.
    Guest,
    /// Has no token; sees products.
    Public,
}

impl Role {
    /// The name in tokens and targets.
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

    /// The namespaces it may subscribe to.
    pub fn namespaces(self) -> &'static [Namespace] {
        use Namespace::{Customers, Inventory, Orders, Payments, Products, System};
        match self {
            Role::Admin => &[Orders, Customers, Products, Inventory, Payments, System],
            Role::Manager => &[Orders, Customers, Products, Inventory, Payments],
            Role::Staff => &[Orders, Customers, Products, Inventory],
            Role::Customer => &[Orders, Products, Payments],
            Role::Guest | Role::Public => &[Products],
        }
    }

    /// Whether, of what it may see in `namespace`, it is shown only its own.
    pub fn only_own(self, namespace: Namespace) -> bool {
        self == Role::Customer && namespace != Namespace::Products
    }
}

/// What event types are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// All of them.
    pub const ALL: [Namespace; 6] = [
        Namespace::Orders,
        Namespace::Customers,
        Namespace::Products,
        Namespace::Inventory,
        Namespace::Payments,
        Namespace::System,
    ];

    /// The types in it.
    fn types(self) -> Interest {
        use Kind::*;
        match self {
            Namespace::Orders => {
                const { Interest::of_kinds(&[OrderCreated, OrderUpdated, OrderStatusChanged]) }
            }
            Namespace::Customers => {
                const { Interest::of_kinds(&[CustomerActivity, CustomerAddedToCart]) }
            }
            Namespace::Products => {
                const { Interest::of_kinds(&[ProductPriceChanged, ProductUpdated]) }
            }
            Namespace::Inventory => {
                const { Interest::of_kinds(&[InventoryUpdated, InventoryLowStock]) }
            }
            Namespace::Payments => const { Interest::of_kinds(&[PaymentReceived, PaymentFailed]) },
            Namespace::System => const { Interest::of_kinds(&[SystemNotification, SystemAlert]) },
        }
    }

    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Namespace::Orders => "orders",
            Namespace::Customers => "customers",
            Namespace::Products => "products",
            Namespace::Inventory => "inventory",
            Namespace::Payments => "payments",
            Namespace::System => "system",
        }
    }
}

/// The event types that are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `order:created`
    OrderCreated,
    /// `order:updated`
    OrderUpdated,
    /// `order:status_changed`
    OrderStatusChanged,
    /// `customer:activity`
    CustomerActivity,
    /// `customer:added_to_cart`
    CustomerAddedToCart,
    /// `inventory:updated`
    InventoryUpdated,
    /// `inventory:low_stock`
    InventoryLowStock,
    /// `product:price_changed`
    ProductPriceChanged,
    /// `product:updated`
    ProductUpdated,
    /// `payment:received`
    PaymentReceived,
    /// `payment:failed`
    PaymentFailed,
    /// `system:notification`
    SystemNotification,
    /// `system:alert`
    SystemAlert,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 13] = [
        Kind::OrderCreated,
        Kind::OrderUpdated,
        Kind::OrderStatusChanged,
        Kind::CustomerActivity,
        Kind::CustomerAddedToCart,
        Kind::InventoryUpdated,
        Kind::InventoryLowStock,
        Kind::ProductPriceChanged,
        Kind::ProductUpdated,
        Kind::PaymentReceived,
        Kind::PaymentFailed,
        Kind::SystemNotification,
        Kind::SystemAlert,
    ];

    /// The name in events.
    pub fn name(self) -> &'static str {
        match self {
            Kind::OrderCreated => "order:created",
            Kind::OrderUpdated => "order:updated",
            Kind::OrderStatusChanged => "order:status_changed",
            Kind::CustomerActivity => "customer:activity",
            Kind::CustomerAddedToCart => "customer:added_to_cart",
            Kind::InventoryUpdated => "inventory:updated",
            Kind::InventoryLowStock => "inventory:low_stock",
            Kind::ProductPriceChanged => "product:price_changed",
            Kind::ProductUpdated => "product:updated",
            Kind::PaymentReceived => "payment:received",
            Kind::PaymentFailed => "payment:failed",
            Kind::SystemNotification => "system:notification",
            Kind::SystemAlert => "system:alert",
        }
    }

    /// The namespace it belongs to.
    pub fn namespace(self) -> Namespace {
        match self {
            Kind::OrderCreated | Kind::OrderUpdated | Kind::OrderStatusChanged => Namespace::Orders,
            Kind::CustomerActivity | Kind::CustomerAddedToCart => Namespace::Customers,
            Kind::InventoryUpdated | Kind::InventoryLowStock => Namespace::Inventory,
            Kind::ProductPriceChanged | Kind::ProductUpdated => Namespace::Products,
            Kind::PaymentReceived | Kind::PaymentFailed => Namespace::Payments,
            Kind::SystemNotification | Kind::SystemAlert => Namespace::System,
        }
    }
}

/// A set of event types: what a connection subscribes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest(u32);

impl Interest {
    /// All types of these namespaces.
    pub fn of(namespaces: &[Namespace]) -> Self {
        let all = |set, namespace: &Namespace| set | namespace.types().0;
        Self(namespaces.iter().fold(0, all))
    }

    /// These types.
    pub const fn of_kinds(kinds: &[Kind]) -> Self {
        let mut set = 0;
        let mut index = 0;
        while index < kinds.len() {
            set |= 1 << kinds[index] as u32;
            index += 1;
        }
        Self(set)
    }

    /// Whether `kind` is among them.
    #[inline]
    pub fn has(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u32 != 0
    }

    /// The namespaces that any of them belong to.
    pub fn namespaces(self) -> Vec<Namespace> {
        let is_touched = |namespace: &Namespace| self.0 & namespace.types().0 != 0;
        Namespace::ALL.into_iter().filter(is_touched).collect()
    }

    /// The types to name in a subscription so that these namespaces are narrowed to this set; empty
    /// if nothing is narrowed.
    pub fn filter(self) -> Vec<Kind> {
        let is_narrowed = |namespace: Namespace| namespace.types().0 & !self.0 != 0;
        Kind::ALL
            .into_iter()
            .filter(|kind| self.has(*kind) && is_narrowed(kind.namespace()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_in_its_namespace_and_in_no_other() {
        for kind in Kind::ALL {
            for namespace in Namespace::ALL {
                let is_in = namespace.types().has(kind);
                assert_eq!(is_in, kind.namespace() == namespace, "{kind:?}");
            }
        }
    }

    #[test]
    fn only_what_is_narrowed_is_named() {
        let whole = Interest::of(&[Namespace::Orders, Namespace::Products]);
        assert_eq!(whole.namespaces(), [Namespace::Orders, Namespace::Products]);
        assert!(whole.filter().is_empty());
        let mixed = Interest::of_kinds(&[
            Kind::OrderCreated,
            Kind::ProductPriceChanged,
            Kind::ProductUpdated,
        ]);
        assert_eq!(mixed.filter(), [Kind::OrderCreated]);
    }
}
