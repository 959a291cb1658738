//! No wake-up is lost, by a model checker: the files of `src/ring` with loom's atomics, threads and
//! fences in place of the real ones.
//!
//! loom runs each model again and again, with every interleaving of its threads, up to a number of
//! preemptions, and with every value that a load may still return under the rules of C11: also those of
//! a store that waits in another core's buffer, which is what the fences are for. (shuttle, the other
//! such checker, knows only one order of all stores, and would not miss a fence.) If a loop sleeps for
//! ever, all threads wait, and loom ends the model as a deadlock.

#![allow(clippy::unwrap_used)]

#[path = "../../src/ring/channel.rs"]
mod channel;
#[path = "../../src/ring/doorbell.rs"]
mod doorbell;
#[path = "../../src/ring/mailbox.rs"]
mod mailbox;
mod primitives;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use channel::{Receiver, Sender, channel};
use doorbell::Doorbell;
use mailbox::mailbox;
use primitives::{Arc, Poll};

/// Tries a model with at most this many preemptions: faults of this sort need one or two.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

fn doorbell() -> (Poll, Arc<Doorbell>) {
    let poll = Poll::new();
    (poll.clone(), Doorbell::on(poll.waker()))
}

/// What `Engine::run` does between two turns.
fn sleep_unless(has_work: impl Fn() -> bool, poll: &Poll, bell: &Doorbell) {
    bell.about_to_sleep();
    if has_work() {
        poll.look();
    } else {
        poll.wait();
    }
    bell.awake();
}

#[test]
fn a_sleeper_sees_what_stands_before_the_ring_of_either_of_two() {
    check(3, || {
        let (poll, bell) = doorbell();
        let work = Arc::new(AtomicUsize::new(0));
        for _ in 0..2 {
            let (work, bell) = (Arc::clone(&work), Arc::clone(&bell));
            thread::spawn(move || {
                work.fetch_add(1, Ordering::Relaxed);
                bell.ring();
            });
        }
        let mut done = 0;
        while done < 2 {
            sleep_unless(|| work.load(Ordering::Relaxed) > done, &poll, &bell);
            done = work.load(Ordering::Relaxed);
        }
    });
}

/// A producer as a loop is one: it sleeps while the ring is full.
fn produce(mut sender: Sender<u32>, count: u32, poll: &Poll, bell: &Doorbell) {
    for number in 0..count {
        sender.send(number);
    }
    while !sender.notify() {
        sleep_unless(|| sender.can_go_on(), poll, bell);
    }
    assert_eq!(sender.waiting(), 0);
}

fn consume(receiver: &mut Receiver<u32>, count: u32, poll: &Poll, bell: &Doorbell) {
    let mut next = 0;
    while next < count {
        sleep_unless(|| receiver.has_messages(), poll, bell);
        while let Some(number) = receiver.take() {
            assert_eq!(number, next, "out of order");
            next += 1;
        }
    }
}

fn two_loops(capacity: usize, count: u32) {
    let ((poll_a, bell_a), (poll_b, bell_b)) = (doorbell(), doorbell());
    let (sender, mut receiver) = channel(capacity, &bell_a, &bell_b);
    let producer = thread::spawn(move || produce(sender, count, &poll_a, &bell_a));
    consume(&mut receiver, count, &poll_b, &bell_b);
    producer.join().unwrap();
    assert_eq!(receiver.waiting(), 0);
}

#[test]
fn two_loops_with_a_tiny_ring_never_miss_each_other() {
    check(2, || two_loops(1, 3));
}

#[test]
fn two_loops_with_room_never_miss_each_other() {
    check(3, || two_loops(2, 2));
}

#[test]
fn no_letter_is_missed_by_a_loop_that_goes_to_sleep() {
    check(3, || {
        let (poll, bell) = doorbell();
        let (post, letters) = mailbox(Arc::clone(&bell));
        let writer = thread::spawn(move || {
            for number in 0..2 {
                assert!(post.send(number));
            }
        });
        let mut next = 0;
        while next < 2 {
            sleep_unless(|| letters.has_mail(), &poll, &bell);
            while let Some(number) = letters.take() {
                assert_eq!(number, next, "out of order");
                next += 1;
            }
        }
        writer.join().unwrap();
    });
}

#[test]
fn a_letter_is_waited_for() {
    check(3, || {
        let (_poll, bell) = doorbell();
        let (post, letters) = mailbox(bell);
        let writer = thread::spawn(move || post.send(7));
        assert_eq!(letters.wait(), Some(7));
        assert!(writer.join().unwrap());
        assert_eq!(letters.wait(), None, "nobody is left to write");
    });
}
