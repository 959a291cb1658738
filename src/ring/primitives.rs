//! What the doorbell, the rings and the letter boxes are made of.
//!
//! Named here alone: `tests/wake` puts a model checker's in their place, and has the very same files
//! tried with every order in which threads and memory may behave.

pub(super) use std::sync::Arc;
pub(super) use std::sync::atomic::{AtomicBool, Ordering, fence};
pub(super) use std::sync::mpsc;

pub(super) use mio::Waker;
pub(super) use rtrb::{Consumer, Producer, PushError, RingBuffer};
