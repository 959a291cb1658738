//! From the router to the reactors: the rings, alone and as the router uses them.
//!
//! What is sent is taken out again within the same work, or the ring would fill up. No loop sleeps,
//! so no doorbell costs a syscall.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use mio::{Poll, Token};
use shopwire::event::Block;
use shopwire::limits;
use shopwire::ring::{self, Doorbell, Receiver, Sender, ToReactor};

use super::{Work, events, lines};

/// Sends so many messages, wakes the other side once, and takes them.
pub fn pass(messages: u64) -> Work {
    let bell = Bell::new();
    let (mut sender, mut receiver) =
        ring::channel::<u64>(limits::DOWN_RING, &bell.doorbell, &bell.doorbell);
    let mut work = move || {
        let _open = &bell;
        for message in 0..messages {
            sender.send(black_box(message));
        }
        assert!(sender.notify());
        let mut sum = 0;
        while let Some(message) = receiver.take() {
            sum += message;
        }
        sum
    };
    assert_eq!(work(), messages * (messages - 1) / 2);
    Box::new(move || {
        black_box(work());
    })
}

/// Hands one block of a hundred orders to every shard, and takes it there.
pub fn route_block(shards: usize) -> Work {
    let orders: Vec<_> = (0..100).map(|n| lines::order(n, n)).collect();
    let block = events::block(&orders);
    let mut lanes = Lanes::new(shards);
    assert_eq!(lanes.route(&block), 100 * shards);
    Box::new(move || {
        black_box(lanes.route(black_box(&block)));
    })
}

/// One event all the way: its line parsed, its block made, handed to every shard and taken there.
pub fn route_event(shards: usize) -> Work {
    let line = lines::order(1, 1);
    let (mut parser, mut builder) = (events::parser(), events::builder());
    let received = Instant::now();
    let mut lanes = Lanes::new(shards);
    let mut work = move || {
        let event = events::event(&mut parser, black_box(line.as_bytes()));
        assert!(builder.push(&event, 1, 0).is_ok());
        lanes.route(&builder.finish(received, 0))
    };
    assert_eq!(work(), shards);
    Box::new(move || {
        black_box(work());
    })
}

/// The rings to a number of shards.
struct Lanes {
    lanes: Vec<(Sender<ToReactor>, Receiver<ToReactor>)>,
    _bell: Bell,
}

impl Lanes {
    fn new(shards: usize) -> Lanes {
        let bell = Bell::new();
        let lane = |_| ring::channel(limits::DOWN_RING, &bell.doorbell, &bell.doorbell);
        Lanes {
            lanes: (0..shards).map(lane).collect(),
            _bell: bell,
        }
    }

    /// Sends the block to every shard as the router does; returns how many frames arrived.
    fn route(&mut self, block: &Arc<Block>) -> usize {
        for (down, _) in &mut self.lanes {
            down.send(ToReactor::Block(Arc::clone(block)));
        }
        for (down, _) in &mut self.lanes {
            assert!(down.notify());
        }
        let mut frames = 0;
        for (_, taken) in &mut self.lanes {
            while let Some(ToReactor::Block(block)) = taken.take() {
                frames += block.frames.len();
            }
        }
        frames
    }
}

/// A doorbell, and the poll that keeps it open.
struct Bell {
    doorbell: Arc<Doorbell>,
    _poll: Poll,
}

impl Bell {
    fn new() -> Bell {
        let poll = Poll::new().expect("a poll can be made");
        Bell {
            doorbell: Doorbell::new(poll.registry(), Token(0)).expect("a waker can be made"),
            _poll: poll,
        }
    }
}
