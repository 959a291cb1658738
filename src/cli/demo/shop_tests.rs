#![allow(clippy::unwrap_used)]

use std::collections::{BTreeSet, HashMap};

use super::*;
use crate::event::{Line, Parser, Rules};

const NOW: u64 = 1_700_000_000_000;

fn events(seed: u64, count: u64) -> Vec<Event> {
    let mut shop = Shop::open(seed, 42);
    (0..count).map(|at| shop.next(NOW + at * 300)).collect()
}

#[test]
fn the_catalogue_takes_every_event() {
    let mut parser = Parser::new(Rules {
        order_statuses: Vec::new(),
        max_message: 1 << 20,
    });
    for seed in 0..20 {
        for event in events(seed, 2_000) {
            let line = json!({"type": event.kind.name(), "data": event.data}).to_string();
            match parser.parse(line.as_bytes()) {
                Ok(Line::Event(_)) => {}
                other => panic!("{line}: {other:?}"),
            }
        }
    }
}

#[test]
fn everything_happens_soon_enough_to_be_seen() {
    let seen: BTreeSet<&str> = events(7, 1_500)
        .iter()
        .map(|each| each.kind.name())
        .collect();
    for kind in [
        "order:created",
        "order:status_changed",
        "customer:activity",
        "customer:viewing_product",
        "customer:added_to_cart",
        "inventory:updated",
        "inventory:low_stock",
        "inventory:out_of_stock",
        "inventory:restocked",
        "product:price_changed",
        "payment:received",
        "payment:failed",
        "payment:refunded",
        "system:notification",
    ] {
        assert!(seen.contains(kind), "{kind} never happens");
    }
}

#[test]
fn the_same_seed_plays_the_same_shop() {
    let told = |seed| format!("{:?}", events(seed, 500));
    assert_eq!(told(1), told(1));
    assert_ne!(told(1), told(2));
}

#[test]
fn the_books_fit_together() {
    let mut stock: HashMap<String, i64> = HashMap::new();
    let mut status: HashMap<String, String> = HashMap::new();
    let mut paid: BTreeSet<String> = BTreeSet::new();
    for Event { kind, data, .. } in events(3, 5_000) {
        let text = |name: &str| data[name].as_str().unwrap().to_owned();
        match kind {
            EventType::InventoryUpdated => {
                let (old, new) = (data["oldStock"].as_i64(), data["newStock"].as_i64());
                let before = stock.insert(text("productId"), new.unwrap());
                assert!(before.is_none() || before == old, "{data}");
            }
            EventType::OrderCreated => {
                assert!(status.insert(text("orderId"), "pending".into()).is_none());
            }
            EventType::OrderStatusChanged => {
                let before = status.insert(text("orderId"), text("newStatus"));
                assert_eq!(before, Some(text("oldStatus")));
                let is_cancelled = text("newStatus") == "cancelled";
                assert!(is_cancelled || paid.contains(&text("orderId")), "{data}");
            }
            EventType::PaymentReceived => {
                assert!(paid.insert(text("orderId")), "paid twice: {data}");
            }
            _ => {}
        }
    }
}
