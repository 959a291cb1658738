//! From what is kept to what those who come back are sent: who may see which kept event, and where
//! a replay begins.
//!
//! One customer among a hundred comes back. It is held, led to the newest event, and released, once
//! a work; another one's replay goes on meanwhile, so that the table is not made anew each time.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use shopwire::access::TypeMask;
use shopwire::event::{Block, EventType, Position};
use shopwire::reactor::directory::Directory;
use shopwire::reactor::past::{Batch, History, Reached, Replay, Replays};

use super::{Work, audience, events, lines};

const CUSTOMERS: usize = 100;
/// The one who comes back.
const KEY: u32 = 7;
/// The one who is never done.
const OTHER: u32 = 8;

/// Blocks of the long history; with [`NOTE`], a hundred events fill a block of 128 KiB.
const BLOCKS: u64 = 513;
/// Bytes that make an order as long as that.
const NOTE: usize = 1_040;
const HISTORY: usize = 64 << 20;

/// Replays a block of a hundred events, of which the customer may see all.
pub fn all_of_a_block() -> Work {
    let lines: Vec<_> = (0..CUSTOMERS).map(lines::price).collect();
    Past::new(events::stream(&lines, 1)).into_work(|| from(0), usize::MAX, CUSTOMERS as u64)
}

/// Replays a block of a hundred events, of which one is the customer's own.
pub fn own_of_a_block() -> Work {
    let lines: Vec<_> = (0..CUSTOMERS).map(|at| lines::order(at, at)).collect();
    Past::new(events::stream(&lines, 1)).into_work(|| from(0), usize::MAX, 1)
}

/// Finds where a `since` near the beginning of a full history is, and the first event behind it.
pub fn since() -> Work {
    let past = Past::full();
    // The next event is the customer's.
    let id = past.history.let_go() + 1_000 + u64::from(KEY);
    past.into_work(move || from(id), 1, 1)
}

/// Looks for the beginning of the customer's newest `count` events, backwards, one in a hundred of
/// what is kept; then forward from there, to send them.
pub fn last(count: u32) -> Work {
    let past = Past::full();
    let newest = past.history.position();
    let replay = move || {
        let mut replay = Replay::at(&newest);
        replay.seek(wanted(), count, &newest);
        replay
    };
    past.into_work(replay, usize::MAX, count.into())
}

/// Everything behind event `id`.
fn from(id: u64) -> Replay {
    Replay::at(&Position::of(id))
}

fn wanted() -> TypeMask {
    let mut types = TypeMask::default();
    types.insert(EventType::OrderCreated);
    types
}

/// What is kept, and those who are sent some of it.
struct Past {
    directory: Directory,
    history: History,
    replays: Replays,
    batch: Batch,
}

impl Past {
    fn new(blocks: Vec<Arc<Block>>) -> Past {
        let mut history = History::new(HISTORY, Duration::MAX);
        blocks.iter().for_each(|block| history.push(block));
        let mut directory = audience::customers(CUSTOMERS);
        let mut replays = Replays::default();
        replays.go_on(OTHER, from(history.newest()), &mut directory);
        assert_eq!(replays.next_ready(), Some(OTHER));
        Past {
            directory,
            history,
            replays,
            batch: Batch::default(),
        }
    }

    /// As many orders as are kept, a hundred customers' by turns.
    fn full() -> Past {
        let note = "x".repeat(NOTE);
        let long = |at| lines::order(at, at).replace("leave it", &note);
        let lines: Vec<_> = (0..CUSTOMERS).map(long).collect();
        let past = Past::new(events::stream(&lines, BLOCKS));
        assert!(past.history.let_go() > 0 && past.history.weight() >= HISTORY);
        past
    }

    /// The work of one replay, or of as much of it as the budget lets go; it must come to so many
    /// events.
    fn into_work(
        mut self,
        replay: impl Fn() -> Replay + 'static,
        budget: usize,
        sent: u64,
    ) -> Work {
        let reached = match budget {
            usize::MAX => Reached::Newest,
            _ => Reached::Budget,
        };
        assert_eq!(self.replay(&replay, budget), (reached, sent));
        Box::new(move || {
            black_box(self.replay(&replay, budget));
        })
    }

    /// What the reactor does, up to the write to the socket.
    fn replay(&mut self, replay: impl Fn() -> Replay, mut budget: usize) -> (Reached, u64) {
        let Past {
            directory,
            history,
            replays,
            batch,
        } = black_box(self);
        replays.go_on(KEY, replay(), directory);
        assert_eq!(replays.next_ready(), Some(KEY));
        let reached = replays.advance(KEY, directory, history, &mut budget, batch);
        let frames = black_box(&*batch).frames;
        batch.clear();
        replays.finish(KEY, directory);
        (reached, frames)
    }
}
