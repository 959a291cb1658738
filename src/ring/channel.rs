//! A ring between two loops that never loses a message: what does not fit waits on the sender's side,
//! which hears when there is room again.

use std::collections::VecDeque;

use super::doorbell::Doorbell;
use super::primitives::{
    Arc, AtomicBool, Consumer, Ordering, Producer, PushError, RingBuffer, fence,
};

/// The producing end: never blocks, never drops, keeps order.
pub struct Sender<T> {
    ring: Producer<T>,
    /// What the full ring did not take, oldest first.
    backlog: VecDeque<T>,
    /// Set while something waits, so that the consumer rings back when it has made room.
    starved: Arc<AtomicBool>,
    consumer: Arc<Doorbell>,
    /// Something was pushed since the last `notify`.
    pushed: bool,
}

/// The consuming end.
pub struct Receiver<T> {
    ring: Consumer<T>,
    starved: Arc<AtomicBool>,
    producer: Arc<Doorbell>,
}

/// A ring of `capacity` messages between two loops, each known by its doorbell.
pub fn channel<T>(
    capacity: usize,
    producer: &Arc<Doorbell>,
    consumer: &Arc<Doorbell>,
) -> (Sender<T>, Receiver<T>) {
    let (push, pop) = RingBuffer::new(capacity);
    let starved = Arc::new(AtomicBool::new(false));
    let sender = Sender {
        ring: push,
        backlog: VecDeque::new(),
        starved: Arc::clone(&starved),
        consumer: Arc::clone(consumer),
        pushed: false,
    };
    (
        sender,
        Receiver {
            ring: pop,
            starved,
            producer: Arc::clone(producer),
        },
    )
}

impl<T> Sender<T> {
    /// Puts a message behind those already sent. Nobody is woken before [`Sender::notify`].
    pub fn send(&mut self, message: T) {
        if self.backlog.is_empty() {
            match self.ring.push(message) {
                Ok(()) => self.pushed = true,
                Err(PushError::Full(message)) => self.backlog.push_back(message),
            }
        } else {
            self.backlog.push_back(message);
        }
    }

    /// Moves what waits into the ring as far as it fits and wakes the consumer if anything was
    /// pushed: once a turn, however many messages. Returns whether nothing waits any more.
    pub fn notify(&mut self) -> bool {
        self.refill();
        while !self.backlog.is_empty() {
            self.starved.store(true, Ordering::Relaxed);
            // Pairs with the fence in `Receiver::take`: either it sees that we starve, or we see
            // the room that it made.
            fence(Ordering::SeqCst);
            if !self.refill() {
                break;
            }
            // Whoever made that room may have lowered the flag for it.
        }
        if std::mem::take(&mut self.pushed) {
            self.consumer.ring();
        }
        self.backlog.is_empty()
    }

    /// Whether [`Sender::notify`] would get something into the ring now: to be asked before the loop
    /// sleeps. The consumer rings for room once, and does not if we were still awake then.
    pub fn can_go_on(&self) -> bool {
        !self.backlog.is_empty() && self.ring.slots() > 0
    }

    /// Messages that wait behind the full ring.
    pub fn waiting(&self) -> usize {
        self.backlog.len()
    }

    /// Moves what waits into the ring; says whether anything was moved.
    fn refill(&mut self) -> bool {
        let waiting = self.backlog.len();
        while self.can_go_on()
            && let Some(message) = self.backlog.pop_front()
        {
            match self.ring.push(message) {
                Ok(()) => self.pushed = true,
                Err(PushError::Full(message)) => {
                    self.backlog.push_front(message);
                    break;
                }
            }
        }
        self.backlog.len() < waiting
    }
}

impl<T> Receiver<T> {
    /// Whether a message is there to be taken.
    pub fn has_messages(&self) -> bool {
        !self.ring.is_empty()
    }

    /// Messages that wait to be taken.
    pub fn waiting(&self) -> usize {
        self.ring.slots()
    }

    /// Takes the oldest message, if there is one.
    pub fn take(&mut self) -> Option<T> {
        let message = self.ring.pop().ok()?;
        fence(Ordering::SeqCst);
        if self.starved.load(Ordering::Relaxed) && self.starved.swap(false, Ordering::AcqRel) {
            self.producer.ring();
        }
        Some(message)
    }
}
