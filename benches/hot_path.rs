//! Wall time of the two halves of an event's path: a line to its frame, a block to its receivers.
//!
//! `make bench` prints it. Times are for comparing two runs on one machine, not for quoting.

use std::sync::Arc;
use std::time::Instant;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

use shopwire::access::{AccessTable, Namespace, NamespaceMask, Role, TypeMask};
use shopwire::auth::Identity;
use shopwire::event::{Block, BlockBuilder, Epoch, Line, NameHasher, Parser, Rules};
use shopwire::reactor::directory::{Directory, Plan};

const MAX_MESSAGE: usize = 1 << 20;
const EVENTS: usize = 100;

fn main() {
    divan::main();
}

fn parser() -> Parser {
    Parser::new(Rules {
        order_statuses: Vec::new(),
        max_message: MAX_MESSAGE,
    })
}

fn order(number: usize) -> Vec<u8> {
    format!(
        r#"{{"type":"order:created","data":{{"orderId":"ord-{number}","customerId":"cus-{}","customerName":"Ada Lovelace","total":129.95,"status":"pending","channel":"web","note":"leave it with the neighbour at number twelve, please"}},"key":"ord-{number}-created"}}"#,
        number % 1000
    )
    .into_bytes()
}

fn product(number: usize) -> Vec<u8> {
    format!(
        r#"{{"type":"product:price_changed","data":{{"productId":"pro-{number}","productName":"Teapot","sku":"TP-1","oldPrice":20,"newPrice":18,"changePercentage":-10}}}}"#
    )
    .into_bytes()
}

fn block(hasher: &NameHasher, line: impl Fn(usize) -> Vec<u8>) -> Arc<Block> {
    let mut parser = parser();
    let mut builder = BlockBuilder::new(Epoch(1), hasher.clone(), MAX_MESSAGE);
    for number in 0..EVENTS {
        push(&mut parser, &mut builder, &line(number), number as u64 + 1);
    }
    builder.finish(Instant::now(), 0)
}

fn push(parser: &mut Parser, builder: &mut BlockBuilder, line: &[u8], id: u64) {
    let Ok(Line::Event(event)) = parser.parse(line) else {
        panic!("the bench's own line was refused")
    };
    assert!(builder.push(&event, id, 1_700_000_000_000).is_ok());
}

/// Parse, validate and lay out a batch of orders.
#[divan::bench]
fn lines_to_a_block(bencher: Bencher<'_, '_>) {
    let lines: Vec<_> = (0..EVENTS).map(order).collect();
    let mut parser = parser();
    let mut builder = BlockBuilder::new(Epoch(1), NameHasher::default(), MAX_MESSAGE);
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        for (line, id) in lines.iter().zip(1..) {
            push(&mut parser, &mut builder, black_box(line), id);
        }
        builder.finish(Instant::now(), 0)
    });
}

fn customers(connections: u32) -> (Directory, NameHasher) {
    let hasher = NameHasher::default();
    let mut directory = Directory::new(AccessTable::default(), hasher.clone());
    let mut namespaces = NamespaceMask::default();
    namespaces.insert(Namespace::Orders);
    namespaces.insert(Namespace::Products);
    for key in 0..connections {
        directory.enter(key);
        let identity = Identity {
            user: format!("cus-{key}"),
            role: Role::Customer,
            session: None,
            expires_at: u64::MAX,
        };
        directory.identify(key, &identity);
        directory.subscribe(key, namespaces, TypeMask::default());
    }
    (directory, hasher)
}

fn plan_a_block(bencher: Bencher<'_, '_>, connections: u32, line: impl Fn(usize) -> Vec<u8>) {
    let (mut directory, hasher) = customers(connections);
    let blocks = [block(&hasher, line)];
    let mut plan = Plan::default();
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        directory.plan(black_box(&blocks), &mut plan);
        black_box((plan.classes().len(), plan.touched()));
        directory.clear(&mut plan);
    });
}

/// Every customer gets every event: decided once for their class.
#[divan::bench(args = [10, 1000, 10_000])]
fn plan_a_broadcast(bencher: Bencher<'_, '_>, connections: u32) {
    plan_a_block(bencher, connections, product);
}

/// Each event is one customer's own.
#[divan::bench(args = [10, 1000, 10_000])]
fn plan_own_events(bencher: Bencher<'_, '_>, connections: u32) {
    plan_a_block(bencher, connections, order);
}
