//! Which settings a reload puts into force.

use super::*;
use crate::access::{Access, Namespace, Role};

const OLD: &str = r#"
message-rate = 100
workers = 2
allowed-origins = ["https://shop.example"]
"#;

#[test]
fn what_can_change_does_and_all_else_is_told() {
    let old = file(OLD).resolve().unwrap();
    let new = r#"
message-rate = 50
workers = 3
allowed-origins = ["https://shop.example"]
trusted-proxies = ["10.0.0.0/8"]
jwt-issuer = "shop"
[access]
orders = { admin = "all" }
[orders]
statuses = ["on_hold"]
"#;
    let renewed = old.renewed(file(new).resolve().unwrap());
    assert_eq!(
        renewed.changed,
        ["jwt-issuer", "message-rate", "trusted-proxies", "access"]
    );
    assert_eq!(renewed.waiting, ["workers", "orders.statuses"]);
    assert_eq!(renewed.read, Vec::<&str>::new(), "the secret is no file");
    let config = renewed.config;
    assert_eq!((config.message_rate, config.workers), (50, 2));
    assert_eq!(config.jwt.issuer.as_deref(), Some("shop"));
    assert_eq!(
        config.access.get(Role::Staff, Namespace::Orders),
        Access::None
    );
    assert!(config.order_statuses.is_empty());

    let same = config.renewed(file(new).resolve().unwrap());
    assert_eq!(same.changed, Vec::<&str>::new(), "it is in force already");
    assert_eq!(same.waiting, ["workers", "orders.statuses"]);
    let back = config.renewed(file(OLD).resolve().unwrap());
    assert_eq!(back.waiting, Vec::<&str>::new(), "nothing waits any more");
    assert_eq!(back.config.message_rate, 100);
}

#[test]
fn keys_are_new_but_for_a_secret_that_was_made_up() {
    let secret = file_with(SECRET.as_bytes());
    let from_file = || Given {
        no_secret: true,
        ..flag("jwt-secret-file", path_of(&secret))
    };
    let old = from_file().resolve().unwrap();
    std::fs::write(secret.path(), "the next secret of 32 bytes, no less").unwrap();
    let renewed = old.renewed(from_file().resolve().unwrap());
    assert_eq!(renewed.read, ["jwt-secret-file"]);
    assert_ne!(renewed.config.jwt.secrets, old.jwt.secrets);

    let made_up = || {
        let dev = Given {
            dev: true,
            no_secret: true,
            ..Given::default()
        };
        dev.resolve().unwrap()
    };
    let old = made_up();
    let renewed = old.renewed(made_up());
    assert_eq!(renewed.config.jwt.secrets, old.jwt.secrets);
    assert_eq!(renewed.read, Vec::<&str>::new());
}
