//! What lies between the router and the reactors: single-producer single-consumer rings, and the
//! doorbell that wakes a loop only when it sleeps.
//!
//! The ring itself is the `rtrb` crate. Around it a [`Sender`] keeps what does not fit, in order,
//! and hears when there is room again, so that a full ring means back-pressure and never loss or
//! spinning. Messages that cross: [`ToReactor`] and [`ToRouter`].
//!
//! These flags are the only lock-free protocol of ours. That no wake-up is lost is checked by a model
//! (`tests/wake`), since no test on real threads could: what goes wrong does once in a million turns.

mod channel;
mod doorbell;
mod mailbox;
mod primitives;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Registry, Token, Waker};

use crate::access::Role;
use crate::auth::Whom;
use crate::event::Block;
use crate::listing::{
    Connections, ConnectionsWanted, Events, EventsWanted, Subscribers, Why, WhyWanted,
};
use crate::live::Live;
use crate::takeover::link::Link;
pub use channel::{Receiver, Sender, channel};
pub use doorbell::Doorbell;
pub use mailbox::{Mailbox, Post, mailbox};

/// From the router to one reactor.
pub enum ToReactor {
    /// The frames of one ingest batch; every reactor gets every block.
    Block(Arc<Block>),
    /// A connection just accepted, with the address it came from and its number.
    Socket(TcpStream, IpAddr, Serial),
    /// From now on this is in force.
    Renew(Arc<Live>),
    /// `ctl disconnect`; answered by [`ToRouter::Disconnected`]. How long the tokens of those last whose were
    /// revoked, the reactor tells the list itself.
    Disconnect(Arc<Selector>),
    /// The same, asked for on another host; not answered.
    DisconnectToo(Arc<Selector>),
    /// `ctl connections`; answered by [`ToRouter::Connections`].
    Connections(Arc<ConnectionsWanted>),
    /// `ctl access`; answered by [`ToRouter::Subscribers`].
    Subscribers,
    /// `ctl history`; answered by [`ToRouter::Events`].
    Events(Arc<EventsWanted>),
    /// `ctl why`; answered by [`ToRouter::Why`].
    Why(Arc<WhyWanted>),
    /// Say goodbye to every connection; answered by [`ToRouter::Drained`].
    Drain,
    /// The drain timeout is over: end now.
    Stop,
    /// Stand still and send every connection through this link, and the history if so; answered by
    /// [`ToRouter::HandedOver`].
    HandOver(Box<Link>, bool),
    /// History begins anew; those who are subscribed are told to come back.
    Begin(Arc<Beginning>),
    /// What this host has delivered alone has come in the common order, up to this batch, or never will.
    /// The frames are those of that batch: they have been sent.
    SettleAlone(Option<Arc<Block>>, u64),
    /// Another process has them: forget them.
    Depart,
    /// It has not: go on.
    Stay,
}

/// Where a history begins that comes from other hosts, too.
pub struct Beginning {
    /// What is kept of it, oldest first.
    pub blocks: Vec<Arc<Block>>,
    /// The number of its newest event.
    pub newest: u64,
    /// The number behind which all is kept.
    pub let_go: u64,
    /// Customers online.
    pub online: u32,
    /// What this host has delivered alone stands among the blocks, up to this batch, or never will.
    pub settled: u64,
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
    /// So many connections were closed by one [`ToReactor::Disconnect`].
    Disconnected(usize),
    /// What was asked by one [`ToReactor::Connections`].
    Connections(Box<Connections>),
    /// What was asked by one [`ToReactor::Subscribers`].
    Subscribers(Box<Subscribers>),
    /// What was asked by one [`ToReactor::Events`].
    Events(Box<Events>),
    /// What was asked by one [`ToReactor::Why`].
    Why(Box<Why>),
    /// Every connection of this reactor has ended.
    Drained,
    /// What came of one [`ToReactor::HandOver`].
    HandedOver(Result<(), String>),
}

/// Whom `ctl disconnect` means, and `ctl revoke`.
#[derive(Debug, PartialEq, Eq)]
pub enum Selector {
    /// Every connection of this user.
    User(String),
    /// Every connection of this session.
    Session(String),
    /// The one with this `connectionId`.
    Connection(String),
    /// Every connection of this role.
    Role(Role),
}

impl From<&Whom> for Selector {
    /// Those who came by the tokens that are meant.
    fn from(whom: &Whom) -> Self {
        match whom {
            Whom::User(user) => Selector::User(user.clone()),
            Whom::Session(session) => Selector::Session(session.clone()),
        }
    }
}

impl Doorbell {
    /// A doorbell on the poll behind `registry`; its events carry `token`.
    ///
    /// # Errors
    /// If the process has no descriptor left.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Arc<Self>> {
        Waker::new(registry, token).map(Self::on)
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

    /// The consumer's ring comes between the producer's last look at the ring and its falling asleep.
    #[test]
    fn room_that_was_made_before_the_producer_slept_is_seen_before_it_does() {
        let ((_a, bell_a), (_b, bell_b)) = (doorbell(), doorbell());
        let (mut sender, mut receiver) = channel(1, &bell_a, &bell_b);
        sender.send(1);
        sender.send(2);
        assert!(!sender.notify() && !sender.can_go_on());
        assert_eq!(receiver.take(), Some(1));
        bell_a.about_to_sleep();
        assert!(sender.can_go_on());
        assert!(sender.notify() && !sender.can_go_on());
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
        const LETTERS: u32 = if cfg!(miri) { 60 } else { 20_000 };
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
        const MESSAGES: u32 = if cfg!(miri) { 60 } else { 100_000 };
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
