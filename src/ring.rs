//! What lies between the router and the reactors: single-producer single-consumer rings, and the
//! doorbell that wakes a loop only when it sleeps.
//!
//! The ring itself is the `rtrb` crate. Around it a [`Sender`] keeps what does not fit, in order,
//! and hears when there is room again, so that a full ring means back-pressure and never loss or
//! spinning. Messages that cross: [`ToReactor`] and [`ToRouter`].

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, mpsc};

use mio::net::TcpStream;
use mio::{Registry, Token, Waker};

use crate::event::Block;
use crate::takeover::link::Link;
use crate::tls::Acceptor;

/// From the router to one reactor.
pub enum ToReactor {
    /// The frames of one ingest batch; every reactor gets every block.
    Block(Arc<Block>),
    /// A connection just accepted, with the address it came from and its number.
    Socket(TcpStream, IpAddr, Serial),
    /// New connections are accepted by this from now on.
    Renew(Acceptor),
    /// `ctl disconnect`; answered by [`ToRouter::Disconnected`].
    Disconnect(Arc<Selector>),
    /// Say goodbye to every connection; answered by [`ToRouter::Drained`].
    Drain,
    /// The drain timeout is over: end now.
    Stop,
    /// Stand still and send every connection through this link, and the history if so; answered by
    /// [`ToRouter::HandedOver`].
    HandOver(Box<Link>, bool),
    /// Another process has them: forget them.
    Depart,
    /// It has not: go on.
    Stay,
}

/// A connection's number, counted by the router over all reactors; its id is made of it. 31 bits.
pub type Serial = u32;

/// From one reactor to the router.
pub enum ToRouter {
    /// The first connection of this customer on this reactor opened.
    CustomerArrived(Box<str>),
    /// The last connection of this customer on this reactor closed.
    CustomerLeft(Box<str>),
    /// An event that came to a reactor, from a customer's page or under --dev from the live page,
    /// checked: an ingest line.
    Published(Box<[u8]>),
    /// So many connections were closed for one [`ToReactor::Disconnect`].
    Disconnected(usize),
    /// Every connection of this reactor has ended.
    Drained,
    /// What came of one [`ToReactor::HandOver`].
    HandedOver(Result<(), String>),
}

/// Whom `ctl disconnect` means.
#[derive(Debug, PartialEq, Eq)]
pub enum Selector {
    /// Every connection of this user.
    User(String),
    /// Every connection of this session.
    Session(String),
    /// The one with this `connectionId`.
    Connection(String),
}

/// Wakes one loop's poll, by a syscall only if that loop sleeps.
pub struct Doorbell {
    asleep: AtomicBool,
    waker: Waker,
}

impl Doorbell {
    /// A doorbell on the poll behind `registry`; its events carry `token`.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            asleep: AtomicBool::new(false),
            waker: Waker::new(registry, token)?,
        }))
    }

    /// Wakes the loop if it sleeps, or is about to. Call after what it shall see is in place.
    pub fn ring(&self) {
        // Pairs with the fence in `about_to_sleep`: either the sleeper sees our message when it
        // looks once more, or we see that it sleeps.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed)
            && self.asleep.swap(false, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            // An eventfd write fails only if the descriptor is gone, that is, at exit.
            log::debug!("waking a loop failed: {error}");
        }
    }

    /// The loop is about to block; it must look at its rings once more after this.
    pub fn about_to_sleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The loop runs again.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

/// The producing end: never blocks, never drops, keeps order.
pub struct Sender<T> {
    ring: rtrb::Producer<T>,
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
    ring: rtrb::Consumer<T>,
    starved: Arc<AtomicBool>,
    producer: Arc<Doorbell>,
}

/// A ring of `capacity` messages between two loops, each known by its doorbell.
pub fn channel<T>(
    capacity: usize,
    producer: &Arc<Doorbell>,
    consumer: &Arc<Doorbell>,
) -> (Sender<T>, Receiver<T>) {
    let (push, pop) = rtrb::RingBuffer::new(capacity);
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
                Err(rtrb::PushError::Full(message)) => self.backlog.push_back(message),
            }
        } else {
            self.backlog.push_back(message);
        }
    }

    /// Moves what waits into the ring as far as it fits and wakes the consumer if anything was
    /// pushed: once a turn, however many messages. Returns whether nothing waits any more.
    pub fn notify(&mut self) -> bool {
        self.refill();
        if !self.backlog.is_empty() {
            self.starved.store(true, Ordering::Relaxed);
            // Pairs with the fence in `Receiver::take`: either it sees that we starve, or we see
            // the room that it made.
            fence(Ordering::SeqCst);
            self.refill();
        }
        if std::mem::take(&mut self.pushed) {
            self.consumer.ring();
        }
        self.backlog.is_empty()
    }

    /// Messages that wait behind the full ring.
    pub fn waiting(&self) -> usize {
        self.backlog.len()
    }

    fn refill(&mut self) {
        while !self.backlog.is_empty() && self.ring.slots() > 0 {
            if let Some(message) = self.backlog.pop_front() {
                match self.ring.push(message) {
                    Ok(()) => self.pushed = true,
                    Err(rtrb::PushError::Full(message)) => return self.backlog.push_front(message),
                }
            }
        }
    }
}

impl<T> Receiver<T> {
    /// Whether a message is there to be taken.
    pub fn has_messages(&self) -> bool {
        !self.ring.is_empty()
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

/// A loop's letter box for threads that are no loops and rarely have something to tell.
pub struct Mailbox<T> {
    letters: mpsc::Receiver<T>,
    has_mail: Arc<AtomicBool>,
}

/// The way into a [`Mailbox`].
pub struct Post<T> {
    letters: mpsc::Sender<T>,
    has_mail: Arc<AtomicBool>,
    reader: Arc<Doorbell>,
}

/// A letter box of the loop that is woken by `reader`.
pub fn mailbox<T>(reader: Arc<Doorbell>) -> (Post<T>, Mailbox<T>) {
    let (sender, receiver) = mpsc::channel();
    let has_mail = Arc::new(AtomicBool::new(false));
    let post = Post {
        letters: sender,
        has_mail: Arc::clone(&has_mail),
        reader,
    };
    let mailbox = Mailbox {
        letters: receiver,
        has_mail,
    };
    (post, mailbox)
}

impl<T> Clone for Post<T> {
    fn clone(&self) -> Self {
        Self {
            letters: self.letters.clone(),
            has_mail: Arc::clone(&self.has_mail),
            reader: Arc::clone(&self.reader),
        }
    }
}

impl<T> Post<T> {
    /// Sends a letter and wakes its reader. False: nobody reads any more.
    pub fn send(&self, letter: T) -> bool {
        let is_sent = self.letters.send(letter).is_ok();
        self.has_mail.store(true, Ordering::Release);
        self.reader.ring();
        is_sent
    }
}

impl<T> Mailbox<T> {
    /// Whether there may be a letter: to be asked before the loop sleeps.
    pub fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Acquire)
    }

    /// The next letter, if there is one.
    pub fn take(&self) -> Option<T> {
        if !self.has_mail() {
            return None;
        }
        // Before looking: a letter that comes meanwhile raises the flag anew.
        self.has_mail.store(false, Ordering::Release);
        let letter = self.letters.try_recv().ok();
        if letter.is_some() {
            // There may be another one.
            self.has_mail.store(true, Ordering::Release);
        }
        letter
    }

    /// Waits for the next letter. `None`: nobody can send one any more.
    pub fn wait(&self) -> Option<T> {
        self.letters.recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn doorbell() -> (mio::Poll, Arc<Doorbell>) {
        let poll = mio::Poll::new().unwrap();
        let bell = Doorbell::new(poll.registry(), Token(0)).unwrap();
        (poll, bell)
    }

    #[test]
    fn what_does_not_fit_waits_in_order_and_nothing_is_lost() {
        let ((_a, bell_a), (_b, bell_b)) = (doorbell(), doorbell());
        let (mut sender, mut receiver) = channel(4, &bell_a, &bell_b);
        for number in 0..10 {
            sender.send(number);
        }
        assert!(!sender.notify());
        assert_eq!(sender.waiting(), 6);
        let mut seen = Vec::new();
        while seen.len() < 10 {
            while let Some(number) = receiver.take() {
                seen.push(number);
            }
            sender.notify();
        }
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        assert!(sender.notify());
    }

    #[test]
    fn a_sleeping_loop_is_woken_once_and_a_running_one_not_at_all() {
        let (mut poll, bell) = doorbell();
        let mut events = mio::Events::with_capacity(4);
        bell.ring();
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty(), "a running loop needs no syscall");
        bell.about_to_sleep();
        bell.ring();
        bell.ring();
        poll.poll(&mut events, Some(Duration::from_secs(5)))
            .unwrap();
        assert_eq!(events.iter().count(), 1);
    }

    #[test]
    fn no_letter_is_missed_by_a_reader_that_goes_to_sleep() {
        const LETTERS: u32 = 20_000;
        let (mut poll, bell) = doorbell();
        let (post, mailbox) = mailbox(Arc::clone(&bell));
        let sender = std::thread::spawn(move || {
            for number in 0..LETTERS {
                assert!(post.send(number));
                if number % 3 == 0 {
                    std::thread::yield_now();
                }
            }
        });
        let mut events = mio::Events::with_capacity(4);
        let mut next = 0;
        while next < LETTERS {
            bell.about_to_sleep();
            if !mailbox.has_mail() {
                poll.poll(&mut events, Some(Duration::from_secs(20)))
                    .unwrap();
                assert!(!events.is_empty(), "the reader was never woken");
            }
            bell.awake();
            while let Some(number) = mailbox.take() {
                assert_eq!(number, next);
                next += 1;
            }
        }
        sender.join().unwrap();
        assert!(mailbox.take().is_none());
    }

    /// Both ends sleep as the loops do; every message must arrive although the ring is tiny.
    #[test]
    fn two_sleeping_loops_never_miss_each_other() {
        const MESSAGES: u32 = 100_000;
        let ((mut poll_a, bell_a), (mut poll_b, bell_b)) = (doorbell(), doorbell());
        let (mut sender, mut receiver) = channel(8, &bell_a, &bell_b);
        let producer = std::thread::spawn(move || {
            let mut events = mio::Events::with_capacity(4);
            for number in 0..MESSAGES {
                sender.send(number);
                while !sender.notify() {
                    bell_a.about_to_sleep();
                    if !sender.notify() {
                        poll_a
                            .poll(&mut events, Some(Duration::from_secs(20)))
                            .unwrap();
                        assert!(!events.is_empty(), "the producer was never woken");
                    }
                    bell_a.awake();
                }
            }
        });
        let mut events = mio::Events::with_capacity(4);
        let mut next = 0;
        while next < MESSAGES {
            bell_b.about_to_sleep();
            if !receiver.has_messages() {
                poll_b
                    .poll(&mut events, Some(Duration::from_secs(20)))
                    .unwrap();
                assert!(!events.is_empty(), "the consumer was never woken");
            }
            bell_b.awake();
            while let Some(number) = receiver.take() {
                assert_eq!(number, next);
                next += 1;
            }
        }
        producer.join().unwrap();
    }
}
