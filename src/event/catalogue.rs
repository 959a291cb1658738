//! The event catalogue: the one table of the 23 event types, their namespaces and payload rules.
//!
//! Everything that speaks of event types reads it here: the parser validates by it, `/api/ws/info`
//! lists it, and the JSON Schema, TypeScript and AsyncAPI documents of [`crate::schema`] are made
//! from it. So rules are data, not code; `rules` judges values by them.

use crate::access::{Namespace, TypeMask};

/// One field of an event's `data`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Field {
    /// Its name in `data`.
    pub name: &'static str,
    /// What it means, with its unit where the rule does not say it: no period at the end.
    pub about: &'static str,
    /// What its value has to be.
    pub rule: Rule,
    /// Whether an event without it is refused; `null` is a value, not an absence.
    pub required: bool,
}

/// What a field's value has to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// A string of 1 to 128 Unicode scalar values, no control characters.
    Id,
    /// A string of at most 4096 bytes of UTF-8, may be empty.
    Text,
    /// A finite number.
    Number,
    /// A finite number, zero or more.
    NonNegative,
    /// A number without a fraction, one or more.
    PositiveInteger,
    /// Milliseconds since 1970: a number without a fraction, 0 to 2^53 − 1.
    Timestamp,
    /// true or false.
    Boolean,
    /// Exactly this boolean.
    Constant(bool),
    /// A JSON object of any content.
    Object,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// One of [`ORDER_STATUSES`] or of the configuration's own.
    OrderStatus,
    /// A non-empty list of the roles that a token can carry.
    Roles,
    /// A path on the shop's own host, or an absolute http or https URL.
    ActionUrl,
}

/// The order statuses every shop has; `[orders] statuses` of the configuration adds to them.
pub const ORDER_STATUSES: [&str; 5] =
    ["pending", "processing", "shipped", "delivered", "cancelled"];

/// The types a customer's browser may publish about that customer itself.
pub const PUBLISHABLE: [EventType; 3] = [
    EventType::CustomerActivity,
    EventType::CustomerViewingProduct,
    EventType::CustomerAddedToCart,
];

/// The types of which a waiting event may give way to a newer one of the same product, where a client
/// asks for conflation: what they tell is out of date with the next.
const GIVING_WAY: [EventType; 2] = [EventType::InventoryUpdated, EventType::ProductPriceChanged];

/// The most fields that any type has: what a table by field position needs.
pub const MAX_FIELDS: usize = {
    let mut most = 0;
    let mut i = 0;
    while i < CATALOGUE.len() {
        if CATALOGUE[i].fields.len() > most {
            most = CATALOGUE[i].fields.len();
        }
        i += 1;
    }
    most
};

/// The one rule between fields: `difference` of `inventory:updated` is `newStock - oldStock`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The type it holds for.
    pub kind: EventType,
    /// The field that has to be the difference.
    pub field: &'static str,
    /// What is subtracted from.
    pub minuend: &'static str,
    /// What is subtracted.
    pub subtrahend: &'static str,
}

/// See [`Difference`].
pub const DIFFERENCE: Difference = Difference {
    kind: EventType::InventoryUpdated,
    field: "difference",
    minuend: "newStock",
    subtrahend: "oldStock",
};

impl Difference {
    /// How far, relative to the largest of the three numbers, `difference` may be off: emitters
    /// compute it in binary floating point.
    const TOLERANCE: f64 = 1e-9;

    /// Whether `difference` is `minuend − subtrahend`, as near as floating point lets it be.
    pub fn holds(minuend: f64, subtrahend: f64, difference: f64) -> bool {
        // Halved first, so that the difference of two huge finite numbers stays finite.
        let (minuend, subtrahend, difference) = (minuend / 2.0, subtrahend / 2.0, difference / 2.0);
        let scale = minuend.abs().max(subtrahend.abs()).max(difference.abs());
        let off = (minuend - subtrahend) - difference;
        // An overflow to infinity compares as "off", which it is.
        off.abs() <= scale * Self::TOLERANCE
    }
}

const SEVERITIES: Rule = Rule::OneOf(&["info", "warning", "error", "success"]);

const fn must(name: &'static str, rule: Rule, about: &'static str) -> Field {
    Field {
        name,
        about,
        rule,
        required: true,
    }
}

const fn may(name: &'static str, rule: Rule, about: &'static str) -> Field {
    Field {
        name,
        about,
        rule,
        required: false,
    }
}

struct Entry {
    name: &'static str,
    about: &'static str,
    namespace: Namespace,
    fields: &'static [Field],
    customer_field: Option<usize>,
    roles_field: Option<usize>,
}

/// The position of the field called `name`.
const fn position(fields: &[Field], name: &str) -> Option<usize> {
    let mut i = 0;
    while i < fields.len() {
        if equal(fields[i].name.as_bytes(), name.as_bytes()) {
            return Some(i);
        }
        i += 1;
    }
    None
}

/// `==`, which constants cannot use yet.
const fn equal(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

/// Declares [`EventType`] and its table together, so that no type is without its entry and the
/// numbers of both agree. A type's comment is also what other languages are told of it.
macro_rules! catalogue {
    ($($(#[doc = $about:literal])* $kind:ident, $name:literal, $namespace:ident, [$($field:expr),* $(,)?];)*) => {
        /// The type of an event. Its number is its bit in a [`TypeMask`].
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum EventType { $($(#[doc = $about])* $kind),* }

        impl EventType {
            /// Every type, in catalogue order.
            pub const ALL: [EventType; CATALOGUE.len()] = [$(EventType::$kind),*];
        }

        static CATALOGUE: [Entry; [$($name),*].len()] = [$(Entry {
            name: $name,
            about: concat!($($about),*),
            namespace: Namespace::$namespace,
            fields: &[$($field),*],
            customer_field: position(&[$($field),*], "customerId"),
            roles_field: position(&[$($field),*], "targetRoles"),
        }),*];
    };
}

catalogue! {
    /// A customer placed an order.
    OrderCreated, "order:created", Orders, [
        must("orderId", Rule::Id, "The order's id"),
        must("customerId", Rule::Id, "The id of the customer, who owns the event"),
        must("customerName", Rule::Text, "The customer's name"),
        must("total", Rule::NonNegative, "What the order costs, in the shop's currency"),
        must("status", Rule::OrderStatus, "The status it begins with"),
        must("channel", Rule::Text, "Where it was placed, such as web"),
    ];
    /// An order's content changed.
    OrderUpdated, "order:updated", Orders, [
        must("orderId", Rule::Id, "The order's id"),
        may("customerId", Rule::Id, "The id of the customer, who owns the event"),
        must("changes", Rule::Object, "The fields that changed, with their new values"),
    ];
    /// An order moved on.
    OrderStatusChanged, "order:status_changed", Orders, [
        must("orderId", Rule::Id, "The order's id"),
        must("customerId", Rule::Id, "The id of the customer, who owns the event"),
        must("customerName", Rule::Text, "The customer's name"),
        must("oldStatus", Rule::OrderStatus, "The status it had"),
        must("newStatus", Rule::OrderStatus, "The status it has now"),
        must("timestamp", Rule::Timestamp, "When it moved on"),
    ];
    /// An order was removed.
    OrderDeleted, "order:deleted", Orders, [
        must("orderId", Rule::Id, "The order's id"),
        may("customerId", Rule::Id, "The id of the customer, who owns the event"),
    ];
    /// A customer did something in the shop.
    CustomerActivity, "customer:activity", Customers, [
        must("customerId", Rule::Id, "The id of the customer, who owns the event"),
        may("customerName", Rule::Text, "The customer's name"),
        must("action", Rule::OneOf(&[
            "viewing", "cart_add", "cart_remove", "checkout_start", "checkout_complete",
        ]), "What the customer did"),
        may("productId", Rule::Id, "The id of the product it was about"),
        may("productName", Rule::Text, "The name of the product it was about"),
        must("timestamp", Rule::Timestamp, "When it happened"),
    ];
    /// A customer looks at a product.
    CustomerViewingProduct, "customer:viewing_product", Customers, [
        must("customerId", Rule::Id, "The id of the customer, who owns the event"),
        must("productId", Rule::Id, "The product's id"),
        must("productName", Rule::Text, "The product's name"),
        may("duration", Rule::NonNegative, "How long the customer has looked at it, in ms"),
    ];
    /// A customer put a product into the cart.
    CustomerAddedToCart, "customer:added_to_cart", Customers, [
        must("customerId", Rule::Id, "The id of the customer, who owns the event"),
        must("productId", Rule::Id, "The product's id"),
        must("productName", Rule::Text, "The product's name"),
        must("quantity", Rule::PositiveInteger, "How many were put into the cart"),
    ];
    /// A customer's first connection opened.
    CustomerOnline, "customer:online", Customers, [
        must("customerId", Rule::Id, "The id of the customer, who owns the event"),
        must("isOnline", Rule::Constant(true), "That the customer is here"),
        must("lastSeen", Rule::Timestamp, "When the customer was last seen"),
    ];
    /// A customer's last connection closed.
    CustomerOffline, "customer:offline", Customers, [
        must("customerId", Rule::Id, "The id of the customer, who owns the event"),
        must("isOnline", Rule::Constant(false), "That the customer is gone"),
        must("lastSeen", Rule::Timestamp, "When the customer was last seen"),
    ];
    /// A product's stock changed.
    InventoryUpdated, "inventory:updated", Inventory, [
        must("productId", Rule::Id, "The product's id"),
        must("productName", Rule::Text, "The product's name"),
        must("sku", Rule::Text, "The product's stock keeping unit"),
        must("oldStock", Rule::Number, "How many there were"),
        must("newStock", Rule::Number, "How many there are now"),
        must("difference", Rule::Number, "newStock - oldStock"),
        may("reason", Rule::OneOf(&["sale", "restock", "adjustment", "return"]), "Why it changed"),
    ];
    /// A product's stock fell below its threshold.
    InventoryLowStock, "inventory:low_stock", Inventory, [
        must("productId", Rule::Id, "The product's id"),
        must("productName", Rule::Text, "The product's name"),
        must("sku", Rule::Text, "The product's stock keeping unit"),
        must("currentStock", Rule::Number, "How many are left"),
        must("threshold", Rule::Number, "The stock below which it counts as low"),
        must("severity", Rule::OneOf(&["low", "critical"]), "How urgent it is"),
    ];
    /// A product is sold out.
    InventoryOutOfStock, "inventory:out_of_stock", Inventory, [
        must("productId", Rule::Id, "The product's id"),
        must("productName", Rule::Text, "The product's name"),
        must("sku", Rule::Text, "The product's stock keeping unit"),
    ];
    /// A product came back into stock.
    InventoryRestocked, "inventory:restocked", Inventory, [
        must("productId", Rule::Id, "The product's id"),
        must("productName", Rule::Text, "The product's name"),
        must("sku", Rule::Text, "The product's stock keeping unit"),
        must("newStock", Rule::Number, "How many there are now"),
        must("addedQuantity", Rule::Number, "How many were added"),
    ];
    /// A product's price changed.
    ProductPriceChanged, "product:price_changed", Products, [
        must("productId", Rule::Id, "The product's id"),
        must("productName", Rule::Text, "The product's name"),
        must("sku", Rule::Text, "The product's stock keeping unit"),
        must("oldPrice", Rule::NonNegative, "What it cost, in the shop's currency"),
        must("newPrice", Rule::NonNegative, "What it costs now, in the shop's currency"),
        must("changePercentage", Rule::Number, "The change in percent of the old price, below 0 if it fell"),
    ];
    /// A product is new in the shop.
    ProductCreated, "product:created", Products, [
        must("productId", Rule::Id, "The product's id"),
        must("productName", Rule::Text, "The product's name"),
        must("category", Rule::Text, "What kind of product it is"),
        must("price", Rule::NonNegative, "What it costs, in the shop's currency"),
    ];
    /// A product's description changed.
    ProductUpdated, "product:updated", Products, [
        must("productId", Rule::Id, "The product's id"),
        must("changes", Rule::Object, "The fields that changed, with their new values"),
    ];
    /// A product left the shop.
    ProductDeleted, "product:deleted", Products, [
        must("productId", Rule::Id, "The product's id"),
    ];
    /// A payment came in.
    PaymentReceived, "payment:received", Payments, [
        must("paymentId", Rule::Id, "The payment's id"),
        must("orderId", Rule::Id, "The order's id"),
        must("customerId", Rule::Id, "The id of the customer, who owns the event"),
        must("amount", Rule::NonNegative, "How much, in the shop's currency"),
        must("method", Rule::Text, "How it was paid, such as card"),
        must("status", Rule::OneOf(&["success", "pending", "failed"]), "How it went"),
    ];
    /// A payment did not come in.
    PaymentFailed, "payment:failed", Payments, [
        must("paymentId", Rule::Id, "The payment's id"),
        must("orderId", Rule::Id, "The order's id"),
        must("customerId", Rule::Id, "The id of the customer, who owns the event"),
        must("amount", Rule::NonNegative, "How much, in the shop's currency"),
        must("reason", Rule::Text, "Why it did not come in"),
        must("retryable", Rule::Boolean, "Whether it may work when tried again"),
    ];
    /// A payment was given back.
    PaymentRefunded, "payment:refunded", Payments, [
        must("paymentId", Rule::Id, "The payment's id"),
        must("orderId", Rule::Id, "The order's id"),
        must("customerId", Rule::Id, "The id of the customer, who owns the event"),
        must("amount", Rule::NonNegative, "How much, in the shop's currency"),
        may("reason", Rule::Text, "Why it was given back"),
    ];
    /// A message for people.
    SystemNotification, "system:notification", System, [
        must("title", Rule::Text, "The headline"),
        must("message", Rule::Text, "The text"),
        must("severity", SEVERITIES, "What kind of message it is"),
        may("targetRoles", Rule::Roles, "The roles that may get it, as to.roles has it; where both are given, those in both"),
        may("actionUrl", Rule::ActionUrl, "Where a click on it leads"),
    ];
    /// A message that something is wrong.
    SystemAlert, "system:alert", System, [
        must("title", Rule::Text, "The headline"),
        must("message", Rule::Text, "The text"),
        must("severity", SEVERITIES, "What kind of message it is"),
        may("targetRoles", Rule::Roles, "The roles that may get it, as to.roles has it; where both are given, those in both"),
    ];
    /// The shop will be worked on.
    SystemMaintenance, "system:maintenance", System, [
        must("message", Rule::Text, "The text"),
        may("scheduledAt", Rule::Timestamp, "When it begins"),
        may("duration", Rule::NonNegative, "How long it will take, in ms"),
    ];
}

impl EventType {
    /// The name on the wire, `order:created`.
    pub fn name(self) -> &'static str {
        CATALOGUE[self as usize].name
    }

    /// What its events say, as one sentence.
    pub fn about(self) -> &'static str {
        CATALOGUE[self as usize].about.trim_start()
    }

    /// The type of that exact name. One table look-up and one comparison: the parser asks for
    /// every line.
    pub fn from_name(name: &str) -> Option<EventType> {
        let bytes = name.as_bytes();
        if bytes.len() < SHORTEST_NAME {
            return None;
        }
        let kind = *EventType::ALL.get(usize::from(BY_SLOT[slot(bytes)]))?;
        (kind.name() == name).then_some(kind)
    }

    /// Whether a customer's browser may publish it about that customer itself.
    pub fn is_publishable(self) -> bool {
        PUBLISHABLE.contains(&self)
    }

    /// Whether a waiting event may give way to a newer one of the same `data.productId`.
    pub fn gives_way(self) -> bool {
        GIVING_WAY.contains(&self)
    }

    /// The namespace it belongs to.
    pub fn namespace(self) -> Namespace {
        CATALOGUE[self as usize].namespace
    }

    /// The fields of its `data` that have rules; other fields are passed on unread.
    pub fn fields(self) -> &'static [Field] {
        CATALOGUE[self as usize].fields
    }

    /// The position of `customerId`, the owner, among its fields.
    pub fn customer_field(self) -> Option<usize> {
        CATALOGUE[self as usize].customer_field
    }

    /// The position of `targetRoles` among its fields.
    pub fn roles_field(self) -> Option<usize> {
        CATALOGUE[self as usize].roles_field
    }
}

/// The event types of `namespace`.
pub fn types_of(namespace: Namespace) -> TypeMask {
    let mut mask = TypeMask::default();
    for kind in EventType::ALL {
        if kind.namespace() == namespace {
            mask.insert(kind);
        }
    }
    mask
}

const SLOTS: usize = 64;
const EMPTY_SLOT: u8 = u8::MAX;
const SHORTEST_NAME: usize = 12;

/// A perfect hash over the names; compiling fails if a new name breaks it, and then other factors
/// have to be found.
const fn slot(name: &[u8]) -> usize {
    (name.len() + name[0] as usize + 3 * name[name.len() - 6] as usize) % SLOTS
}

/// For each slot the number of the type whose name hashes to it.
static BY_SLOT: [u8; SLOTS] = {
    let mut slots = [EMPTY_SLOT; SLOTS];
    let mut i = 0;
    while i < CATALOGUE.len() {
        let name = CATALOGUE[i].name.as_bytes();
        assert!(
            name.len() >= SHORTEST_NAME,
            "a name is shorter than from_name takes"
        );
        let slot = slot(name);
        assert!(slots[slot] == EMPTY_SLOT, "two type names share a slot");
        slots[slot] = i as u8;
        i += 1;
    }
    slots
};

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
