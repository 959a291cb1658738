//! A shop's day: who is connected, what happens, whom it concerns.
//!
//! The shares of roles are those of the founding document's example of statistics; a customer has
//! now and then a second tab open. Event `n` and connection `k` are drawn by a hash of their
//! numbers, so that both sides of the run know them without keeping them.

use super::orders::put_number_field;
use super::roles::{Interest, Kind, Namespace, Role};
use super::{Member, put_filler, session_name, user_name};

/// Shares of the roles among connections, in thousandths: of 245 connections 5 admins, 20 staff and
/// 205 customers are said there; the rest are divided.
const ROLES: [(Role, u64); 6] = [
    (Role::Admin, 20),
    (Role::Manager, 10),
    (Role::Staff, 72),
    (Role::Customer, 837),
    (Role::Guest, 21),
    (Role::Public, 40),
];

/// Shares of the types among events, in hundredths.
const KINDS: [(Kind, u64); 13] = [
    (Kind::OrderCreated, 20),
    (Kind::OrderUpdated, 5),
    (Kind::OrderStatusChanged, 20),
    (Kind::CustomerActivity, 15),
    (Kind::CustomerAddedToCart, 5),
    (Kind::InventoryUpdated, 12),
    (Kind::InventoryLowStock, 2),
    (Kind::ProductPriceChanged, 5),
    (Kind::ProductUpdated, 2),
    (Kind::PaymentReceived, 8),
    (Kind::PaymentFailed, 2),
    (Kind::SystemNotification, 3),
    (Kind::SystemAlert, 1),
];

/// Shares of the roles' combinations in `to.roles`.
const ROLE_TARGETS: [&[Role]; 4] = [
    &[Role::Admin, Role::Manager],
    &[Role::Staff],
    &[Role::Staff, Role::Customer],
    &[Role::Admin, Role::Customer, Role::Guest],
];

/// What happens in the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinds {
    /// All types, sizes and targets.
    Day,
    /// Orders only, each for the staff and its customer.
    Orders,
}

/// A shop with so many connections.
#[derive(Debug, Clone)]
pub struct Shop {
    run: String,
    connections: u32,
    kinds: Kinds,
}

/// Event `n`, as far as it decides who sees it.
#[derive(Debug, Clone, Copy)]
struct Happening {
    kind: Kind,
    /// Number of the customer named in `data.customerId`.
    customer: u32,
    target: Target,
    hash: u64,
}

/// What stands in `to`, or in `targetRoles`.
#[derive(Debug, Clone, Copy)]
enum Target {
    Everyone,
    Roles(&'static [Role]),
    Users([u32; 2]),
    /// One more owner.
    Owner(u32),
    ExceptUser(u32),
    ExceptSession(u32),
}

impl Shop {
    /// A shop with so many connections, whose events carry the name of the run.
    pub fn new(run: &str, connections: u32, kinds: Kinds) -> Self {
        Self {
            run: run.to_string(),
            connections: connections.max(1),
            kinds,
        }
    }

    /// The user behind connection `slot`.
    pub fn member(&self, slot: u32) -> Member {
        let hash = mix(u64::from(slot) ^ 0x6D65_6D62_6572);
        let role = draw(&ROLES, hash);
        let is_second_tab = role == Role::Customer && hash >> 32 & 7 == 0;
        let first_tab = slot.saturating_sub(1);
        let shares_user =
            is_second_tab && draw(&ROLES, mix(u64::from(first_tab) ^ 0x6D65_6D62_6572)) == role;
        Member {
            role,
            user: if shares_user { first_tab } else { slot },
            session: slot,
            interest: self.interest(role, hash >> 40),
        }
    }

    /// Most subscribe to all they may see, some to less.
    fn interest(&self, role: Role, hash: u64) -> Interest {
        let all = Interest::of(role.namespaces());
        if self.kinds != Kinds::Day {
            return all;
        }
        match (role, hash & 7) {
            (Role::Staff, 0 | 1) => Interest::of(&[Namespace::Orders]),
            (Role::Staff, 2) => Interest::of(&[Namespace::Inventory, Namespace::Products]),
            (Role::Customer, 0 | 1) => {
                Interest::of_kinds(&[Kind::OrderStatusChanged, Kind::ProductPriceChanged])
            }
            (Role::Guest | Role::Public, 0) => Interest::of_kinds(&[Kind::ProductPriceChanged]),
            _ => all,
        }
    }

    /// Whether `member` must receive event `number`: the contract's section 2.
    pub fn sees(&self, member: &Member, number: u32) -> bool {
        let Happening {
            kind,
            customer,
            target,
            ..
        } = self.happening(number);
        let namespace = kind.namespace();
        if !member.interest.has(kind) || !member.role.namespaces().contains(&namespace) {
            return false;
        }
        let is_owner = match target {
            _ if kind.names_customer() && customer == member.user => true,
            Target::Users(users) => users.contains(&member.user),
            Target::Owner(owner) => owner == member.user,
            _ => false,
        };
        let is_meant = match target {
            Target::Everyone | Target::Owner(_) => true,
            Target::Roles(roles) => roles.contains(&member.role),
            // A public connection has no user, whatever its number here.
            Target::Users(users) => member.role != Role::Public && users.contains(&member.user),
            Target::ExceptUser(user) => member.role == Role::Public || user != member.user,
            Target::ExceptSession(session) => {
                member.role == Role::Public || session != member.session
            }
        };
        is_meant && (is_owner || !member.role.only_own(namespace))
    }

    /// Appends event `number` as a line.
    pub fn put_line(&self, number: u32, out: &mut Vec<u8>) {
        let event = self.happening(number);
        out.extend_from_slice(br#"{"type":""#);
        out.extend_from_slice(event.kind.name().as_bytes());
        out.extend_from_slice(br#"","data":{"#);
        put_number_field(&self.run, number, out);
        event.put_fields(number, out);
        if self.kinds == Kinds::Day {
            out.extend_from_slice(br#","note":""#);
            put_filler(event.filler(), out);
            out.push(b'"');
        }
        out.push(b'}');
        event.put_target(out);
        out.extend_from_slice(b"}\n");
    }

    fn happening(&self, number: u32) -> Happening {
        let hash = mix(u64::from(number) ^ 0x6576_656E_7400);
        let kind = match self.kinds {
            Kinds::Day => draw(&KINDS, hash),
            Kinds::Orders => Kind::OrderCreated,
        };
        let customer = self.some_user(hash >> 8);
        let target = match self.kinds {
            Kinds::Day => self.target(kind, customer, mix(hash)),
            Kinds::Orders => Target::Everyone,
        };
        Happening {
            kind,
            customer,
            target,
            hash,
        }
    }

    fn target(&self, kind: Kind, customer: u32, hash: u64) -> Target {
        let someone = self.some_user(hash >> 16);
        match hash % 100 {
            0..3 => Target::Roles(ROLE_TARGETS[(hash >> 8) as usize % ROLE_TARGETS.len()]),
            3..5 => Target::Users([customer, someone]),
            5..7 => Target::Owner(someone),
            7..9 => Target::ExceptUser(someone),
            9..11 => Target::ExceptSession(someone),
            11..40 if kind.namespace() == Namespace::System => Target::Roles(ROLE_TARGETS[0]),
            _ => Target::Everyone,
        }
    }

    /// A connection's user, so that there is somebody to see what is somebody's own.
    fn some_user(&self, hash: u64) -> u32 {
        (mix(hash) % u64::from(self.connections)) as u32
    }
}

impl Kind {
    /// Whether `data.customerId` makes a customer the owner.
    fn names_customer(self) -> bool {
        matches!(
            self.namespace(),
            Namespace::Orders | Namespace::Customers | Namespace::Payments
        )
    }
}

impl Happening {
    /// Notes are short mostly, some long, and one in twenty very long.
    fn filler(&self) -> usize {
        let drawn = (self.hash >> 20) as usize;
        match drawn % 20 {
            0 => 1000 + drawn % 7000,
            1..=5 => 200 + drawn % 800,
            _ => drawn % 200,
        }
    }

    fn put_fields(&self, number: u32, out: &mut Vec<u8>) {
        let customer = user_name(self.customer);
        let amount = 1 + self.hash % 500;
        let product = format!(
            r#""productId":"prod-{}","productName":"Teapot <{}>","sku":"TP-{0}""#,
            self.hash % 977,
            self.hash % 7
        );
        let payment = format!(
            r#""paymentId":"pay-{number}","orderId":"ord-{number}","customerId":"{customer}","amount":{amount}.5"#
        );
        let fields = match self.kind {
            Kind::OrderCreated => format!(
                r#""orderId":"ord-{number}","customerId":"{customer}","customerName":"Ada Example","total":{amount}.95,"status":"pending","channel":"web""#
            ),
            Kind::OrderUpdated => format!(
                r#""orderId":"ord-{number}","customerId":"{customer}","changes":{{"total":{amount}}}"#
            ),
            Kind::OrderStatusChanged => format!(
                r#""orderId":"ord-{number}","customerId":"{customer}","customerName":"Žofie & Søn","oldStatus":"pending","newStatus":"shipped","timestamp":1700000000000"#
            ),
            Kind::CustomerActivity => format!(
                r#""customerId":"{customer}","action":"viewing","productId":"prod-{amount}","timestamp":1700000000000"#
            ),
            Kind::CustomerAddedToCart => format!(
                r#""customerId":"{customer}","productId":"prod-{amount}","productName":"Teapot","quantity":2"#
            ),
            Kind::InventoryUpdated => format!(
                r#"{product},"oldStock":{},"newStock":{amount},"difference":-3,"reason":"sale""#,
                amount + 3
            ),
            Kind::InventoryLowStock => {
                format!(r#"{product},"currentStock":2,"threshold":5,"severity":"low""#)
            }
            Kind::ProductPriceChanged => {
                format!(r#"{product},"oldPrice":20,"newPrice":18,"changePercentage":-10"#)
            }
            Kind::ProductUpdated => {
                format!(r#""productId":"prod-{amount}","changes":{{"category":"pots"}}"#)
            }
            Kind::PaymentReceived => format!(r#"{payment},"method":"card","status":"success""#),
            Kind::PaymentFailed => {
                format!(r#"{payment},"reason":"insufficient funds","retryable":true"#)
            }
            Kind::SystemNotification | Kind::SystemAlert => {
                r#""title":"Backup","message":"The backup is late","severity":"warning""#.into()
            }
        };
        out.push(b',');
        out.extend_from_slice(fields.as_bytes());
        if let (Namespace::System, Target::Roles(roles)) = (self.kind.namespace(), self.target) {
            out.extend_from_slice(br#","targetRoles":"#);
            put_names(roles.iter().map(|role| role.name()), out);
        }
    }

    fn put_target(&self, out: &mut Vec<u8>) {
        let mut put = |field: &str, names: &[String]| {
            out.extend_from_slice(br#","to":{""#);
            out.extend_from_slice(field.as_bytes());
            out.extend_from_slice(br#"":"#);
            put_names(names.iter().map(String::as_str), out);
            out.push(b'}');
        };
        match self.target {
            Target::Everyone => {}
            // System notices say it in their data.
            Target::Roles(_) if self.kind.namespace() == Namespace::System => {}
            Target::Roles(roles) => {
                let names: Vec<String> = roles.iter().map(|role| role.name().into()).collect();
                put("roles", &names);
            }
            Target::Users(users) => put("userIds", &users.map(user_name)),
            Target::Owner(owner) => put("owners", &[user_name(owner)]),
            Target::ExceptUser(user) => put("excludeUserIds", &[user_name(user)]),
            Target::ExceptSession(session) => {
                let session = session_name(session);
                out.extend_from_slice(br#","to":{"excludeSessionId":""#);
                out.extend_from_slice(session.as_bytes());
                out.extend_from_slice(br#""}"#);
            }
        }
    }
}

fn put_names<'a>(names: impl Iterator<Item = &'a str>, out: &mut Vec<u8>) {
    let mut opening = b'[';
    for name in names {
        out.push(opening);
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.push(b'"');
        opening = b',';
    }
    out.push(b']');
}

/// The item whose share `hash` falls into.
fn draw<T: Copy>(shares: &[(T, u64)], hash: u64) -> T {
    let total: u64 = shares.iter().map(|(_, share)| share).sum();
    let mut left = hash % total;
    for &(item, share) in shares {
        if left < share {
            return item;
        }
        left -= share;
    }
    shares[0].0
}

/// A number that looks random and always the same for the same `n` (the finaliser of SplitMix64).
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn every_line_is_json_of_its_type_and_every_kind_and_target_happens() {
        let shop = Shop::new("run", 500, Kinds::Day);
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        for number in 0..5000 {
            let mut out = Vec::new();
            shop.put_line(number, &mut out);
            assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
            let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert!(line["data"]["seq"].as_str().unwrap().starts_with("run-"));
            let keys = |value: &serde_json::Value| -> Vec<String> {
                value.as_object().map_or_else(Vec::new, |fields| {
                    fields.keys().map(String::clone).collect()
                })
            };
            *seen
                .entry(line["type"].as_str().unwrap().into())
                .or_default() += 1;
            for key in keys(&line["to"]) {
                *seen.entry(format!("to.{key}")).or_default() += 1;
            }
            if line["data"].get("targetRoles").is_some() {
                *seen.entry("targetRoles".into()).or_default() += 1;
            }
        }
        let kinds = Kind::ALL.iter().map(|kind| kind.name());
        let targets = [
            "to.roles",
            "to.userIds",
            "to.owners",
            "to.excludeUserIds",
            "to.excludeSessionId",
            "targetRoles",
        ];
        for name in kinds.chain(targets) {
            assert!(seen.contains_key(name), "{name} never happens");
        }
    }

    #[test]
    fn orders_reach_the_staff_and_their_customer_only() {
        let shop = Shop::new("run", 1000, Kinds::Orders);
        for number in 0..50 {
            let owner = shop.happening(number).customer;
            for slot in 0..1000 {
                let member = shop.member(slot);
                let expected = match member.role {
                    Role::Admin | Role::Manager | Role::Staff => true,
                    Role::Customer => member.user == owner,
                    Role::Guest | Role::Public => false,
                };
                assert_eq!(shop.sees(&member, number), expected);
            }
        }
    }

    #[test]
    fn roles_come_in_their_shares() {
        let shop = Shop::new("run", 10_000, Kinds::Day);
        let customers = (0..10_000)
            .filter(|&slot| shop.member(slot).role == Role::Customer)
            .count();
        assert!((8_000..8_700).contains(&customers), "{customers}");
    }
}
