//! From a block to its receivers: who gets which frames, and the bytes that each of them is sent.
//!
//! All connections are customers of their own who subscribe to orders, of which they see their
//! own, and to products, of which they see all. A block has a hundred events.

use std::hint::black_box;
use std::sync::Arc;

use shopwire::access::{AccessTable, Namespace, NamespaceMask, Role, TypeMask};
use shopwire::auth::Identity;
use shopwire::event::{Block, NameHasher};
use shopwire::reactor::directory::{Directory, Plan, Slice};
use shopwire::reactor::lay_out;

use super::{Work, events, lines};

const EVENTS: usize = 100;

/// Matches a block of events that every connection gets: decided once for the class.
pub fn broadcast(connections: usize) -> Work {
    let mut audience = Audience::new(connections, lines::price);
    let matched = audience.plan();
    assert_eq!((matched.classes, matched.touched), (1, 0));
    audience.into_plan_work()
}

/// Matches a block of events that are each one customer's own.
pub fn own(connections: usize) -> Work {
    let mut audience = Audience::new(connections, |number| {
        lines::order(number, customer_of(number, connections))
    });
    let matched = audience.plan();
    assert_eq!(matched.classes, 0);
    assert_eq!(matched.touched, EVENTS.min(connections));
    audience.into_plan_work()
}

/// Assembles what a class is sent when every second event is not for it: one batch, laid out once,
/// for all its members.
pub fn class_batch(connections: usize) -> Work {
    let audience = Audience::new(connections, |number| match number % 2 {
        0 => lines::price(number),
        _ => lines::stock(number),
    });
    audience.into_assembly_work(connections * EVENTS / 2)
}

/// Assembles what touched connections are sent: their class's frames and their own, merged in
/// order, as slices.
pub fn touched_batches(connections: usize) -> Work {
    let audience = Audience::new(connections, |number| match number % 2 {
        0 => lines::price(number),
        _ => lines::order(number, customer_of(number, connections)),
    });
    // Every connection gets every price, and somebody gets each order.
    audience.into_assembly_work(connections * EVENTS / 2 + EVENTS / 2)
}

/// Spreads owners over the connections; 97 is prime to their numbers.
fn customer_of(number: usize, connections: usize) -> usize {
    number * 97 % connections
}

struct Audience {
    directory: Directory,
    blocks: [Arc<Block>; 1],
    plan: Plan,
}

/// How far a plan reaches.
struct Matched {
    classes: usize,
    touched: usize,
}

impl Audience {
    fn new(connections: usize, line: impl Fn(usize) -> String) -> Audience {
        let lines: Vec<_> = (0..EVENTS).map(line).collect();
        Audience {
            directory: customers(connections),
            blocks: [events::block(&lines)],
            plan: Plan::default(),
        }
    }

    fn plan(&mut self) -> Matched {
        self.directory.plan(black_box(&self.blocks), &mut self.plan);
        let matched = Matched {
            classes: self.plan.classes().len(),
            touched: self.plan.touched(),
        };
        self.directory.clear(&mut self.plan);
        matched
    }

    fn into_plan_work(mut self) -> Work {
        Box::new(move || {
            black_box(self.plan());
        })
    }

    /// The work of assembling one plan's batches, which must come to so many deliveries.
    fn into_assembly_work(mut self, deliveries: usize) -> Work {
        self.directory.plan(&self.blocks, &mut self.plan);
        let mut scratch = Scratch::default();
        let assembled = self.assemble(&mut scratch);
        assert_eq!(assembled.deliveries, deliveries);
        assert!(assembled.bytes > deliveries * 100);
        Box::new(move || {
            black_box(self.assemble(&mut scratch));
        })
    }

    /// What the reactor's fan-out does, up to the write to each socket.
    fn assemble(&self, scratch: &mut Scratch) -> Assembled {
        let Audience {
            directory,
            blocks,
            plan,
        } = black_box(self);
        let mut assembled = Assembled::default();
        for &class in plan.classes() {
            let (members, frames) = directory.class(class);
            plan.slices(blocks, frames, &mut scratch.slices);
            let (bytes, range) = lay_out(blocks, &scratch.slices);
            let batch = &bytes[range];
            for &key in members {
                if !directory.is_touched(key) {
                    assembled.deliveries += frames.len();
                    assembled.bytes += black_box(batch).len();
                }
            }
        }
        for index in 0..plan.touched() {
            directory.touched(plan, index, &mut scratch.frames);
            plan.slices(blocks, &scratch.frames, &mut scratch.slices);
            assembled.deliveries += scratch.frames.len();
            for slice in black_box(&scratch.slices) {
                assembled.bytes += (slice.end - slice.start) as usize;
            }
        }
        assembled
    }
}

/// Buffers that are used again, as the reactor's are.
#[derive(Default)]
struct Scratch {
    slices: Vec<Slice>,
    frames: Vec<u32>,
}

/// What all connections together are sent.
#[derive(Default)]
struct Assembled {
    deliveries: usize,
    bytes: usize,
}

/// So many customers, `cus-0` and on, each with the connection of its number.
pub fn customers(connections: usize) -> Directory {
    let mut directory = Directory::new(AccessTable::default(), NameHasher::fixed());
    let mut namespaces = NamespaceMask::default();
    namespaces.insert(Namespace::Orders);
    namespaces.insert(Namespace::Products);
    for (key, number) in (0..).zip(0..connections) {
        directory.enter(key);
        let identity = Identity {
            user: format!("cus-{number}"),
            role: Role::Customer,
            session: None,
            issued_at: None,
            expires_at: u64::MAX,
        };
        directory.identify(key, &identity);
        directory.subscribe(key, namespaces, TypeMask::default());
    }
    directory
}
