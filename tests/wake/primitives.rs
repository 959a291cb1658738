//! In place of `src/ring/primitives.rs`: loom's atomics, and models of what lies around them.
//!
//! The models promise what the real things document, and nothing that these happen to do beside:
//! a ring and a letter box publish what is put in by a release and an acquire, and have no fence.
//! What lies in them is behind a mutex that loom does not know of, so that it orders nothing.

pub use loom::sync::Arc;
pub use loom::sync::atomic::{Ordering, fence};

use std::io;

use loom::sync::{Condvar, Mutex};

pub use self::ring::{Consumer, Producer, PushError, RingBuffer};

/// loom's, but that a store is a swap of the same ordering. What a swap reads and writes lie next to each
/// other in the one order of all changes of a flag; loom forgets that where a plain store comes later, and
/// then lets a load return what has been overwritten. So each store goes behind all that came before;
/// loads may still return older ones.
pub struct AtomicBool(loom::sync::atomic::AtomicBool);

impl AtomicBool {
    pub fn new(value: bool) -> AtomicBool {
        AtomicBool(loom::sync::atomic::AtomicBool::new(value))
    }

    pub fn load(&self, ordering: Ordering) -> bool {
        self.0.load(ordering)
    }

    pub fn store(&self, value: bool, ordering: Ordering) {
        self.0.swap(value, ordering);
    }

    pub fn swap(&self, value: bool, ordering: Ordering) -> bool {
        self.0.swap(value, ordering)
    }
}

/// A poll with nothing but a waker.
#[derive(Clone)]
pub struct Poll(Arc<(Mutex<bool>, Condvar)>);

/// Wakes it, or lets it not fall asleep the next time: an eventfd.
pub struct Waker(Poll);

impl Poll {
    pub fn new() -> Poll {
        Poll(Arc::new((Mutex::new(false), Condvar::new())))
    }

    pub fn waker(&self) -> Waker {
        Waker(self.clone())
    }

    pub fn wait(&self) {
        let (is_rung, changed) = &*self.0;
        let mut is_rung = is_rung.lock().unwrap();
        while !*is_rung {
            is_rung = changed.wait(is_rung).unwrap();
        }
        *is_rung = false;
    }

    /// Without waiting.
    pub fn look(&self) {
        *self.0.0.lock().unwrap() = false;
    }
}

impl Waker {
    pub fn wake(&self) -> io::Result<()> {
        let (is_rung, changed) = &*self.0.0;
        *is_rung.lock().unwrap() = true;
        changed.notify_one();
        Ok(())
    }
}

mod ring {
    //! A ring as rtrb's is: each end keeps what it last saw of the other.

    use std::cell::Cell;
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicUsize, Ordering};

    struct Shared<T> {
        /// Messages taken, and put in, since the beginning.
        head: AtomicUsize,
        tail: AtomicUsize,
        messages: Mutex<VecDeque<T>>,
        capacity: usize,
    }

    pub struct RingBuffer;

    impl RingBuffer {
        #[allow(clippy::new_ret_no_self, reason = "as rtrb has it")]
        pub fn new<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
            let shared = Arc::new(Shared {
                head: AtomicUsize::new(0),
                tail: AtomicUsize::new(0),
                messages: Mutex::new(VecDeque::new()),
                capacity,
            });
            let producer = Producer {
                shared: Arc::clone(&shared),
                seen_head: Cell::new(0),
                tail: 0,
            };
            let consumer = Consumer {
                shared,
                seen_tail: Cell::new(0),
                head: 0,
            };
            (producer, consumer)
        }
    }

    pub enum PushError<T> {
        Full(T),
    }

    pub struct Producer<T> {
        shared: Arc<Shared<T>>,
        seen_head: Cell<usize>,
        tail: usize,
    }

    impl<T> Producer<T> {
        pub fn push(&mut self, message: T) -> Result<(), PushError<T>> {
            let is_full = |head: usize| self.tail - head == self.shared.capacity;
            if is_full(self.seen_head.get()) && self.slots() == 0 {
                return Err(PushError::Full(message));
            }
            self.shared.messages.lock().unwrap().push_back(message);
            self.tail += 1;
            self.shared.tail.store(self.tail, Ordering::Release);
            Ok(())
        }

        pub fn slots(&self) -> usize {
            let head = self.shared.head.load(Ordering::Acquire);
            self.seen_head.set(head);
            self.shared.capacity - (self.tail - head)
        }
    }

    pub struct Consumer<T> {
        shared: Arc<Shared<T>>,
        seen_tail: Cell<usize>,
        head: usize,
    }

    impl<T> Consumer<T> {
        pub fn is_empty(&self) -> bool {
            if self.seen_tail.get() == self.head {
                let tail = self.shared.tail.load(Ordering::Acquire);
                self.seen_tail.set(tail);
            }
            self.seen_tail.get() == self.head
        }

        pub fn slots(&self) -> usize {
            let tail = self.shared.tail.load(Ordering::Acquire);
            self.seen_tail.set(tail);
            tail - self.head
        }

        pub fn pop(&mut self) -> Result<T, ()> {
            if self.is_empty() {
                return Err(());
            }
            let message = self.shared.messages.lock().unwrap().pop_front();
            self.head += 1;
            self.shared.head.store(self.head, Ordering::Release);
            message.ok_or(())
        }
    }
}

pub mod mpsc {
    //! A queue as std's is.

    use std::collections::VecDeque;
    use std::sync::Mutex;

    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicUsize, Ordering};

    struct Shared<T> {
        /// Letters since the beginning.
        sent: AtomicUsize,
        /// Those who can still send.
        senders: AtomicUsize,
        letters: Mutex<VecDeque<T>>,
    }

    pub struct Sender<T>(Arc<Shared<T>>);

    pub struct Receiver<T> {
        shared: Arc<Shared<T>>,
        taken: std::cell::Cell<usize>,
    }

    pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let shared = Arc::new(Shared {
            sent: AtomicUsize::new(0),
            senders: AtomicUsize::new(1),
            letters: Mutex::new(VecDeque::new()),
        });
        let receiver = Receiver {
            shared: Arc::clone(&shared),
            taken: std::cell::Cell::new(0),
        };
        (Sender(shared), receiver)
    }

    impl<T> Sender<T> {
        pub fn send(&self, letter: T) -> Result<(), T> {
            self.0.letters.lock().unwrap().push_back(letter);
            self.0.sent.fetch_add(1, Ordering::Release);
            Ok(())
        }
    }

    impl<T> Clone for Sender<T> {
        fn clone(&self) -> Self {
            self.0.senders.fetch_add(1, Ordering::Relaxed);
            Self(Arc::clone(&self.0))
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            self.0.senders.fetch_sub(1, Ordering::Release);
        }
    }

    impl<T> Receiver<T> {
        pub fn try_recv(&self) -> Result<T, ()> {
            if self.shared.sent.load(Ordering::Acquire) == self.taken.get() {
                return Err(());
            }
            self.taken.set(self.taken.get() + 1);
            self.shared.letters.lock().unwrap().pop_front().ok_or(())
        }

        pub fn recv(&self) -> Result<T, ()> {
            loop {
                let is_over = self.shared.senders.load(Ordering::Acquire) == 0;
                match self.try_recv() {
                    Err(()) if !is_over => loom::thread::yield_now(),
                    last => return last,
                }
            }
        }
    }
}
