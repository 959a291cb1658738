//! A loop's letter box, for threads that rarely have something to tell it.

use super::doorbell::Doorbell;
use super::primitives::{Arc, AtomicBool, Ordering, mpsc};

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

impl<T> Post<T> {
    /// Sends a letter and wakes its reader. False: nobody reads any more.
    pub fn send(&self, letter: T) -> bool {
        let is_sent = self.letters.send(letter).is_ok();
        self.has_mail.store(true, Ordering::Release);
        self.reader.ring();
        is_sent
    }
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
        // Before looking: a letter that comes meanwhile raises the flag anew. Both times swapped, and
        // not stored: where the flag had been raised for another letter, this must not hide it, but
        // makes sure that it is seen.
        self.has_mail.swap(false, Ordering::AcqRel);
        let letter = self.letters.try_recv().ok();
        if letter.is_some() {
            // There may be another one.
            self.has_mail.swap(true, Ordering::AcqRel);
        }
        letter
    }

    /// Waits for the next letter. `None`: nobody can send one any more.
    pub fn wait(&self) -> Option<T> {
        self.letters.recv().ok()
    }
}
