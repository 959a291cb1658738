//! The past: what is kept of the newest events, and how those who come back are brought up to now.
//!
//! Owned by a reactor; pure: no socket, no clock, no mio. [`history`] keeps the blocks, [`replay`] is
//! one connection's way through them, [`batch`] what a step of it sends, [`replays`] the table of those that are on their way. The
//! reactor's `resume` moves the bytes.
//!
//! A connection whose past is replayed is *held*: live events pass it by, and its cursor walks
//! through the history, new blocks included, until nothing is left before it. Then it is released,
//! between two turns' events, so that none is missed and none comes twice.

mod batch;
mod history;
mod replay;
mod replays;

pub use batch::Batch;
pub use history::History;
pub use replay::{Reached, Replay};
pub use replays::{Issued, Replays};

#[cfg(test)]
mod tests;
