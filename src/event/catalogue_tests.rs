//! Tests of the catalogue: that it is the contract's, and whole.

use super::*;

#[test]
fn names_lead_back_to_their_types() {
    for (number, kind) in EventType::ALL.into_iter().enumerate() {
        assert_eq!(kind as usize, number);
        assert_eq!(EventType::from_name(kind.name()), Some(kind));
    }
    for name in [
        "",
        "order",
        "order:create",
        "order:createdd",
        "Order:created",
        "order:creates",
    ] {
        assert_eq!(EventType::from_name(name), None, "{name}");
    }
}

#[test]
fn there_are_23_types_and_a_mask_holds_them() {
    assert_eq!(EventType::ALL.len(), 23);
    let union = Namespace::ALL
        .into_iter()
        .fold(TypeMask::default(), |all, one| all.union(types_of(one)));
    assert_eq!(union.0, (1 << 23) - 1);
}

#[test]
fn namespace_is_the_plural_of_the_first_word() {
    for kind in EventType::ALL {
        let word = kind.name().split(':').next().unwrap_or_default();
        let expected = match word {
            "inventory" | "system" => word.to_owned(),
            _ => format!("{word}s"),
        };
        assert_eq!(kind.namespace().name(), expected);
    }
}

#[test]
fn fields_are_named_once_a_type() {
    for kind in EventType::ALL {
        let fields = kind.fields();
        assert!(!fields.is_empty() && fields.len() <= MAX_FIELDS);
        for (i, field) in fields.iter().enumerate() {
            assert!(fields[..i].iter().all(|other| other.name != field.name));
        }
    }
}

#[test]
fn differences_are_judged_relatively() {
    assert!(Difference::holds(7.0, 10.0, -3.0));
    assert!(Difference::holds(0.3, 0.1, 0.2));
    assert!(Difference::holds(0.0, 0.0, 0.0));
    assert!(Difference::holds(1e308, -1e307, 1.1e308));
    assert!(!Difference::holds(7.0, 10.0, 3.0));
    assert!(!Difference::holds(10.0, 10.0, 1e-6));
    assert!(!Difference::holds(f64::MAX, -f64::MAX, f64::MAX));
}

/// The contract's table of section 3, written a second time on purpose: a rule that changes in the
/// catalogue alone has to be noticed.
const CONTRACT: &str = "
order:created | orderId id, customerId id, customerName text, total >=0, status order-status, channel text
order:updated | orderId id, customerId? id, changes object
order:status_changed | orderId id, customerId id, customerName text, oldStatus order-status, newStatus order-status, timestamp time
order:deleted | orderId id, customerId? id
customer:activity | customerId id, customerName? text, action viewing/cart_add/cart_remove/checkout_start/checkout_complete, productId? id, productName? text, timestamp time
customer:viewing_product | customerId id, productId id, productName text, duration? >=0
customer:added_to_cart | customerId id, productId id, productName text, quantity integer>=1
customer:online | customerId id, isOnline true, lastSeen time
customer:offline | customerId id, isOnline false, lastSeen time
inventory:updated | productId id, productName text, sku text, oldStock number, newStock number, difference number, reason? sale/restock/adjustment/return
inventory:low_stock | productId id, productName text, sku text, currentStock number, threshold number, severity low/critical
inventory:out_of_stock | productId id, productName text, sku text
inventory:restocked | productId id, productName text, sku text, newStock number, addedQuantity number
product:price_changed | productId id, productName text, sku text, oldPrice >=0, newPrice >=0, changePercentage number
product:created | productId id, productName text, category text, price >=0
product:updated | productId id, changes object
product:deleted | productId id
payment:received | paymentId id, orderId id, customerId id, amount >=0, method text, status success/pending/failed
payment:failed | paymentId id, orderId id, customerId id, amount >=0, reason text, retryable boolean
payment:refunded | paymentId id, orderId id, customerId id, amount >=0, reason? text
system:notification | title text, message text, severity info/warning/error/success, targetRoles? roles, actionUrl? url
system:alert | title text, message text, severity info/warning/error/success, targetRoles? roles
system:maintenance | message text, scheduledAt? time, duration? >=0
";

fn word(rule: Rule) -> String {
    match rule {
        Rule::Id => "id".to_owned(),
        Rule::Text => "text".to_owned(),
        Rule::Number => "number".to_owned(),
        Rule::NonNegative => ">=0".to_owned(),
        Rule::PositiveInteger => "integer>=1".to_owned(),
        Rule::Timestamp => "time".to_owned(),
        Rule::Boolean => "boolean".to_owned(),
        Rule::Constant(value) => value.to_string(),
        Rule::Object => "object".to_owned(),
        Rule::OneOf(words) => words.join("/"),
        Rule::OrderStatus => "order-status".to_owned(),
        Rule::Roles => "roles".to_owned(),
        Rule::ActionUrl => "url".to_owned(),
    }
}

#[test]
fn the_catalogue_is_the_contracts() {
    let written = EventType::ALL.map(|kind| {
        let fields = kind.fields().iter().map(|field| {
            let mark = if field.required { "" } else { "?" };
            format!("{}{mark} {}", field.name, word(field.rule))
        });
        format!(
            "{} | {}",
            kind.name(),
            fields.collect::<Vec<_>>().join(", ")
        )
    });
    let contract: Vec<&str> = CONTRACT.trim().lines().collect();
    assert_eq!(written.as_slice(), contract);
    assert_eq!(
        ORDER_STATUSES.join(" "),
        "pending processing shipped delivered cancelled"
    );
    let publishable = PUBLISHABLE.map(EventType::name).join(" ");
    assert_eq!(
        publishable,
        "customer:activity customer:viewing_product customer:added_to_cart"
    );
}
