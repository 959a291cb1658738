//! The event catalogue once more, written from the contract: every type with a golden example of each of its fields. The
//! tests derive from it what must be accepted and what must be refused.

use serde_json::{Map, Value, json};

/// The rule of a field.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    Id,
    Text,
    Status,
    Number,
    NotNegative,
    AtLeastOne,
    Time,
    OneOf(&'static [&'static str]),
    Is(bool),
    Flag,
    Object,
    Difference,
    Roles,
    Url,
}

use Rule::{
    AtLeastOne, Difference, Flag, Id, Is, NotNegative, Number, Object, OneOf, Roles, Status, Text,
    Time, Url,
};

/// A field: its name, its rule, whether it must be there, and a good value as JSON.
pub type Field = (&'static str, Rule, bool, &'static str);

/// A type and its fields.
pub type Example = (&'static str, &'static [Field]);

const REQUIRED: bool = true;
const OPTIONAL: bool = false;

const ACTIONS: Rule = OneOf(&[
    "viewing",
    "cart_add",
    "cart_remove",
    "checkout_start",
    "checkout_complete",
]);
const SEVERITIES: Rule = OneOf(&["info", "warning", "error", "success"]);

const ORDER: Field = ("orderId", Id, REQUIRED, r#""o-1""#);
const CUSTOMER: Field = ("customerId", Id, REQUIRED, r#""c-1""#);
const CUSTOMER_NAME: Field = ("customerName", Text, REQUIRED, r#""Zoë Müller""#);
const PRODUCT: Field = ("productId", Id, REQUIRED, r#""p-1""#);
const PRODUCT_NAME: Field = ("productName", Text, REQUIRED, r#""Lamp \"Luna\"""#);
const SKU: Field = ("sku", Text, REQUIRED, r#""LMP-1""#);
const PAYMENT: Field = ("paymentId", Id, REQUIRED, r#""pay-1""#);
const AMOUNT: Field = ("amount", NotNegative, REQUIRED, "19.90");
const TIMESTAMP: Field = ("timestamp", Time, REQUIRED, "1700000000000");
const CHANGES: Field = (
    "changes",
    Object,
    REQUIRED,
    r#"{"note":"gift","lines":[1,{"n":null}]}"#,
);
const LAST_SEEN: Field = ("lastSeen", Time, REQUIRED, "1700000000001");
const TITLE: Field = ("title", Text, REQUIRED, r#""Stock count""#);
const MESSAGE: Field = (
    "message",
    Text,
    REQUIRED,
    r#""It starts at <b>ten</b> & ends \u2028 soon""#,
);
const SEVERITY: Field = ("severity", SEVERITIES, REQUIRED, r#""warning""#);
const TARGET_ROLES: Field = ("targetRoles", Roles, OPTIONAL, r#"["admin","staff"]"#);
const DURATION: Field = ("duration", NotNegative, OPTIONAL, "1500.5");

/// All 23 types.
pub const EXAMPLES: [Example; 23] = [
    (
        "order:created",
        &[
            ORDER,
            CUSTOMER,
            CUSTOMER_NAME,
            ("total", NotNegative, REQUIRED, "99.50"),
            ("status", Status, REQUIRED, r#""pending""#),
            ("channel", Text, REQUIRED, r#""web""#),
        ],
    ),
    (
        "order:updated",
        &[ORDER, ("customerId", Id, OPTIONAL, r#""c-1""#), CHANGES],
    ),
    (
        "order:status_changed",
        &[
            ORDER,
            CUSTOMER,
            CUSTOMER_NAME,
            ("oldStatus", Status, REQUIRED, r#""processing""#),
            ("newStatus", Status, REQUIRED, r#""shipped""#),
            TIMESTAMP,
        ],
    ),
    (
        "order:deleted",
        &[ORDER, ("customerId", Id, OPTIONAL, r#""c-1""#)],
    ),
    (
        "customer:activity",
        &[
            CUSTOMER,
            ("customerName", Text, OPTIONAL, r#""Zoë""#),
            ("action", ACTIONS, REQUIRED, r#""cart_add""#),
            ("productId", Id, OPTIONAL, r#""p-1""#),
            ("productName", Text, OPTIONAL, r#""Lamp""#),
            TIMESTAMP,
        ],
    ),
    (
        "customer:viewing_product",
        &[CUSTOMER, PRODUCT, PRODUCT_NAME, DURATION],
    ),
    (
        "customer:added_to_cart",
        &[
            CUSTOMER,
            PRODUCT,
            PRODUCT_NAME,
            ("quantity", AtLeastOne, REQUIRED, "2"),
        ],
    ),
    (
        "customer:online",
        &[
            CUSTOMER,
            ("isOnline", Is(true), REQUIRED, "true"),
            LAST_SEEN,
        ],
    ),
    (
        "customer:offline",
        &[
            CUSTOMER,
            ("isOnline", Is(false), REQUIRED, "false"),
            LAST_SEEN,
        ],
    ),
    (
        "inventory:updated",
        &[
            PRODUCT,
            PRODUCT_NAME,
            SKU,
            ("oldStock", Number, REQUIRED, "10"),
            ("newStock", Number, REQUIRED, "7"),
            ("difference", Difference, REQUIRED, "-3"),
            (
                "reason",
                OneOf(&["sale", "restock", "adjustment", "return"]),
                OPTIONAL,
                r#""sale""#,
            ),
        ],
    ),
    (
        "inventory:low_stock",
        &[
            PRODUCT,
            PRODUCT_NAME,
            SKU,
            ("currentStock", Number, REQUIRED, "2"),
            ("threshold", Number, REQUIRED, "5"),
            (
                "severity",
                OneOf(&["low", "critical"]),
                REQUIRED,
                r#""critical""#,
            ),
        ],
    ),
    ("inventory:out_of_stock", &[PRODUCT, PRODUCT_NAME, SKU]),
    (
        "inventory:restocked",
        &[
            PRODUCT,
            PRODUCT_NAME,
            SKU,
            ("newStock", Number, REQUIRED, "107"),
            ("addedQuantity", Number, REQUIRED, "100"),
        ],
    ),
    (
        "product:price_changed",
        &[
            PRODUCT,
            PRODUCT_NAME,
            SKU,
            ("oldPrice", NotNegative, REQUIRED, "20"),
            ("newPrice", NotNegative, REQUIRED, "15"),
            ("changePercentage", Number, REQUIRED, "-25"),
        ],
    ),
    (
        "product:created",
        &[
            PRODUCT,
            PRODUCT_NAME,
            ("category", Text, REQUIRED, r#""lamps""#),
            ("price", NotNegative, REQUIRED, "15.0"),
        ],
    ),
    ("product:updated", &[PRODUCT, CHANGES]),
    ("product:deleted", &[PRODUCT]),
    (
        "payment:received",
        &[
            PAYMENT,
            ORDER,
            CUSTOMER,
            AMOUNT,
            ("method", Text, REQUIRED, r#""card""#),
            (
                "status",
                OneOf(&["success", "pending", "failed"]),
                REQUIRED,
                r#""success""#,
            ),
        ],
    ),
    (
        "payment:failed",
        &[
            PAYMENT,
            ORDER,
            CUSTOMER,
            AMOUNT,
            ("reason", Text, REQUIRED, r#""declined""#),
            ("retryable", Flag, REQUIRED, "true"),
        ],
    ),
    (
        "payment:refunded",
        &[
            PAYMENT,
            ORDER,
            CUSTOMER,
            AMOUNT,
            ("reason", Text, OPTIONAL, r#""broken""#),
        ],
    ),
    (
        "system:notification",
        &[
            TITLE,
            MESSAGE,
            SEVERITY,
            TARGET_ROLES,
            ("actionUrl", Url, OPTIONAL, r#""/admin/stock?a=1&b=2""#),
        ],
    ),
    ("system:alert", &[TITLE, MESSAGE, SEVERITY, TARGET_ROLES]),
    (
        "system:maintenance",
        &[
            MESSAGE,
            ("scheduledAt", Time, OPTIONAL, "1700000000002"),
            DURATION,
        ],
    ),
];

/// The golden data of a type, all fields.
pub fn data_of(kind: &str) -> Map<String, Value> {
    let (_, fields) = EXAMPLES.iter().find(|(name, _)| *name == kind).unwrap();
    fields
        .iter()
        .map(|(name, _, _, value)| ((*name).to_owned(), serde_json::from_str(value).unwrap()))
        .collect()
}

/// An event of a type with its golden data.
pub fn event(kind: &str) -> Value {
    json!({"type": kind, "data": data_of(kind)})
}

/// The same, about this customer (for types that have one).
pub fn about(kind: &str, customer: &str) -> Value {
    let mut event = event(kind);
    event["data"]["customerId"] = customer.into();
    event
}

/// An event as a line, one field's value put in as it stands (or left out), so that JSON no library would write can be sent.
pub fn line_with(kind: &str, field: &str, value: Option<&str>) -> String {
    let (_, fields) = EXAMPLES.iter().find(|(name, _)| *name == kind).unwrap();
    let parts: Vec<String> = fields
        .iter()
        .filter_map(|(name, _, _, golden)| {
            let value = if *name == field { value? } else { golden };
            Some(format!("\"{name}\":{value}"))
        })
        .collect();
    format!("{{\"type\":\"{kind}\",\"data\":{{{}}}}}", parts.join(","))
}

impl Rule {
    /// Values this rule refuses, as JSON.
    pub fn refuses(self) -> Vec<String> {
        let quoted = |n: usize| format!("\"{}\"", "x".repeat(n));
        let owned = |list: &[&str]| {
            list.iter()
                .map(|&value| value.to_owned())
                .collect::<Vec<_>>()
        };
        let mut values = owned(&["null", "[[]]"]);
        values.extend(match self {
            Id => [
                owned(&[
                    "7",
                    "true",
                    "{}",
                    r#""""#,
                    r#""a\u0000b""#,
                    r#""a\nb""#,
                    r#""\u007f""#,
                    r#""\u0085""#,
                ]),
                vec![quoted(129)],
            ]
            .concat(),
            Text => [
                owned(&["7", "true", "{}"]),
                vec![quoted(4097), format!("\"{}\"", "é".repeat(2049))],
            ]
            .concat(),
            Status => owned(&["7", r#""""#, r#""lost""#, r#""Pending""#, r#""pending ""#]),
            Number => owned(&[r#""1""#, "true", "{}"]),
            NotNegative => owned(&[r#""1""#, "true", "{}", "-1", "-0.01", "-1e-9"]),
            AtLeastOne => owned(&[r#""1""#, "true", "0", "-1", "1.5", "0.999"]),
            Time => owned(&[r#""1""#, "true", "-1", "1.5", "9007199254740992", "1e300"]),
            OneOf(names) => {
                let shouted = format!("\"{}\"", names[0].to_uppercase());
                [owned(&["7", r#""""#, r#""nope""#]), vec![shouted]].concat()
            }
            Is(value) => [owned(&["0", "1", r#""true""#]), vec![(!value).to_string()]].concat(),
            Flag => owned(&["0", "1", r#""true""#, "{}"]),
            Object => owned(&["7", r#""x""#, "[]", "true"]),
            Difference => owned(&[r#""-3""#, "true", "3", "-2", "-3.0001", "0"]),
            Roles => owned(&[
                r#""admin""#,
                "[]",
                "{}",
                r#"["king"]"#,
                r#"["admin",7]"#,
                r#"["Admin"]"#,
                r#"[null]"#,
            ]),
            Url => owned(&[
                "7",
                r#""""#,
                r#""orders""#,
                r#""//evil.example""#,
                r#""/\\evil.example""#,
                r#"" /orders""#,
                r#""javascript:alert(1)""#,
                r#""JAVASCRIPT:alert(1)""#,
                r#""data:text/html,x""#,
                r#""ftp://shop.example/""#,
                r#""https://""#,
                r#""http:///path""#,
                r#""https:shop.example""#,
                r#""/a\nb""#,
                r#""/a\u0000""#,
                r#""\t/a""#,
            ]),
        });
        values
    }

    /// Values at the edge that this rule still takes, as JSON.
    pub fn takes(self) -> Vec<String> {
        let quoted = |part: &str, n: usize| format!("\"{}\"", part.repeat(n));
        let owned = |list: &[&str]| {
            list.iter()
                .map(|&value| value.to_owned())
                .collect::<Vec<_>>()
        };
        match self {
            Id => vec![
                quoted("x", 1),
                quoted("x", 128),
                quoted("😀", 128),
                quoted(r"\u00e9", 128),
                quoted(r"\ud83d\ude00", 128),
                quoted(" ", 1),
            ],
            Text => vec![
                quoted("", 0),
                quoted("x", 4096),
                quoted("é", 2048),
                quoted(r"\u0041", 4096),
                quoted(r"\u0000", 1),
            ],
            Status => owned(&[
                r#""pending""#,
                r#""processing""#,
                r#""shipped""#,
                r#""delivered""#,
                r#""cancelled""#,
                r#""\u0070ending""#,
            ]),
            Number => owned(&["0", "-7.5", "1e-7", "123456789012345678901234567890"]),
            NotNegative => owned(&["0", "0.0", "1E2", "123456789.123456789", "1e308"]),
            AtLeastOne => owned(&["1", "2.0", "1e3", "4294967296"]),
            Time => owned(&["0", "9007199254740991", "2.0"]),
            OneOf(names) => names.iter().map(|name| format!("\"{name}\"")).collect(),
            Is(value) => vec![value.to_string()],
            Flag => owned(&["true", "false"]),
            Object => owned(&["{}", r#"{"a":{"b":[]}}"#]),
            Difference => owned(&["-3.0", "-3.0000000001", "-30e-1"]),
            Roles => owned(&[
                r#"["admin"]"#,
                r#"["admin","manager","staff","customer","guest"]"#,
            ]),
            Url => owned(&[
                r#""/""#,
                r#""/orders/1""#,
                r#""https://shop.example""#,
                r#""http://shop.example:8080/a?b#c""#,
            ]),
        }
    }
}
