//! Several hosts as one, through Redis (docs/cluster.md).
//!
//! ```text
//!  router ── batches ──▶ writer ── EVALSHA (one script: numbers, keys, presence) ──▶ Redis
//!     ▲                                                                               │ stream
//!     └──────── entries: blocks with their numbers, receipts ◀── reader ◀── XREAD ────┘
//! ```
//!
//! What a host accepts becomes an entry of one stream; what it delivers is what it reads from there,
//! its own entries too: so all hosts share one order and one line of numbers. An emitter's ack goes
//! out when its events were read back. With `--redis-outage local` a host that is cut off delivers alone
//! at once what it gives to Redis, and not again when it reads it. The two threads, [`writer`] and [`reader`], wait for Redis so
//! that nobody else does; [`Cluster`] is the router's end of them.
//!
//! | file | what it answers |
//! |---|---|
//! | `address` | where Redis is, and how a connection to it begins |
//! | `url` | what is wrong with a URL that is to say so |
//! | `entry` | what an entry holds |
//! | `revoked` | how it is written whose tokens are refused |
//! | `probe` | whether a Redis lets this program do what it needs to |
//! | `own` | what has become of this host's own batches |
//! | `alone` | what this host delivers while it is cut off |
//! | `beaten` | what Redis answers to a sign of life |
//! | `ended` | why a connection is given up |
//! | `status` | whether Redis is in reach |
//! | `statistics` | what all hosts count, added up |
//! | `writer`, `reader` | the two threads; the scripts that Redis runs lie in `scripts/` |

mod address;
mod alone;
mod beaten;
mod ended;
pub mod entry;
mod own;
mod probe;
mod reader;
mod revoked;
mod statistics;
mod status;
mod url;
mod writer;

use std::convert::Infallible;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::auth::{Revocation, Whom};
use crate::config::RedisOutage;
use crate::event::{Block, Epoch};
use crate::limits;
use crate::ring::{Beginning, Doorbell, Mailbox, Selector, mailbox};
use crate::shared::Shared;
pub use address::Address;
use own::OwnBatches;
pub use own::{Called, ReadBack, Receipt, Since};
pub use probe::Probe;
use reader::Reader;
pub use status::Status;
use writer::{Addition, Content, Job, Writer};

/// What all ids of a cluster begin with. Numbers follow Redis' clock (1024 for each millisecond), so
/// that they need nothing else to differ from those of other times.
pub const EPOCH: Epoch = Epoch(0xc1);

/// Numbers for each millisecond.
const NUMBERS_PER_MS: u64 = 1024;

/// Where the entries are.
const STREAM: &str = "{shopwire}:events";
/// What the next entry needs to know of those before it.
const STATE: &str = "{shopwire}:state";
/// Keys used of late, and those used before them.
const KEYS: [&str; 2] = ["{shopwire}:keys", "{shopwire}:keys:older"];
/// Hosts, by when their lease ends.
const HOSTS: &str = "{shopwire}:hosts";
/// Whose tokens are refused: name → from when and until when, ...
const REVOKED: &str = "{shopwire}:revoked";
/// ... and names, by when that is over.
const REVOKED_ENDS: &str = "{shopwire}:revoked:ends";
/// Which numbers stand for which types and roles, by host's version.
const LEXICONS: &str = "{shopwire}:lexicons";

/// A key that the event with this provisional number came with.
#[derive(Debug, PartialEq, Eq)]
pub struct NamedKey {
    /// The provisional number.
    pub number: u64,
    /// The key.
    pub key: Box<str>,
}

/// From the two threads to the router.
pub enum Message {
    /// History begins anew, for all that are connected: the first time, or behind a gap. With it comes
    /// what its entries want beside.
    Began(Beginning, Vec<Aside>),
    /// The next entry: its number, its events, and what it wants beside.
    Entry(u64, Option<Block>, Aside),
    /// The customers that Redis takes for connected to this host.
    Members(Vec<String>),
    /// Other hosts have revoked their tokens while this one was not there: they are refused by now.
    Revoked(Vec<Whom>),
    /// Redis has gone out of reach: see [`Status`].
    OutOfReach,
}

/// What becomes of batches, by their numbers, as the writer and the router tell each other.
#[derive(Default)]
struct Progress {
    /// Redis has said to have them up to this one; told by the writer.
    written: AtomicU64,
    /// Emitters were told that those up to this one did not get there, if they are not written; told by
    /// the router, as is ...
    given_up: AtomicU64,
    /// ... up to which one they were delivered on this host alone, if they have not been read back.
    alone: AtomicU64,
}

/// What is to be done about an entry beside delivering its events.
#[derive(Default)]
pub struct Aside {
    /// If it is this host's own.
    pub receipt: Option<Receipt>,
    /// Connections to be closed.
    pub disconnect: Option<Selector>,
    /// Tokens to be refused, and connections to be closed of those who came by them.
    pub revoke: Option<Revocation>,
}

/// A `disconnect` or `revoke` that somebody on this host has asked for.
struct AskedDisconnect {
    batch: u64,
    selector: Selector,
    asked: Instant,
}

impl AskedDisconnect {
    /// When it is overdue; up to the batch `written` Redis has them.
    fn due(&self, written: u64) -> Instant {
        self.asked + own::patience(self.batch, written)
    }
}

/// The router's end.
pub struct Cluster {
    jobs: mpsc::Sender<Job>,
    messages: Mailbox<Message>,
    credits: mpsc::Receiver<()>,
    own: OwnBatches,
    batches: u64,
    progress: Arc<Progress>,
    /// This host.
    host: u64,
    outage: RedisOutage,
    status: Arc<Status>,
    /// Up to this provisional number events may have been given up.
    lost_to: u64,
    /// Events that were delivered alone since all hosts had all of them.
    alone: u64,
    /// What the id of the newest event ended in that had more than its number.
    height: u64,
    disconnect: Option<AskedDisconnect>,
    /// The number of the newest entry that was taken.
    newest: u64,
    /// Customers online on all hosts, after that.
    pub online: u32,
    writer: Ending,
}

/// Tells that a thread has ended, by falling silent.
struct Ending(mpsc::Receiver<Infallible>);

impl Cluster {
    /// Starts the two threads. `router` is rung when there are messages; `behind` is the number of the
    /// newest event that is known already, from another process.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(
        address: &Address,
        shared: &Arc<Shared>,
        status: &Arc<Status>,
        router: &Arc<Doorbell>,
        behind: Option<u64>,
    ) -> io::Result<Cluster> {
        if behind.is_some() {
            status.begun();
        }
        let number = fastrand::u64(..);
        let host = format!("{number:016x}");
        let (jobs, to_do) = mpsc::channel();
        let (post, messages) = mailbox(Arc::clone(router));
        let (pay, credits) = mpsc::sync_channel(limits::CLUSTER_UNTAKEN);
        let (writes, writer_ending) = mpsc::channel();
        let progress = Arc::<Progress>::default();
        let writer = Writer::new(
            address.clone(),
            Arc::clone(shared),
            Arc::clone(status),
            host.clone(),
            to_do,
            post.clone(),
            Arc::clone(&progress),
        );
        let reader = Reader::new(
            address.clone(),
            Arc::clone(shared),
            Arc::clone(status),
            host,
            (post, pay),
            jobs.clone(),
            behind,
        );
        spawn("redis-writer", move || {
            writer.run();
            drop(writes);
        })?;
        spawn("redis-reader", move || reader.run())?;
        Ok(Cluster {
            jobs,
            messages,
            credits,
            own: OwnBatches::behind(behind.unwrap_or(0)),
            batches: 0,
            progress,
            host: number,
            outage: shared.config.redis_outage,
            status: Arc::clone(status),
            lost_to: 0,
            alone: 0,
            height: 0,
            disconnect: None,
            newest: behind.unwrap_or(0),
            online: 0,
            writer: Ending(writer_ending),
        })
    }

    /// Gives blocks to Redis; `keys` are those of their events, in order.
    pub fn add(
        &mut self,
        blocks: impl Iterator<Item = Arc<Block>>,
        keys: Vec<NamedKey>,
        now: Instant,
    ) {
        let mut keys = keys.into_iter().peekable();
        for block in blocks {
            let (first, last) = (block.first_id(), block.last_id());
            let mut own = Vec::new();
            while let Some(NamedKey { number, key }) = keys.next_if(|key| key.number <= last) {
                // A block has fewer than 2^32 frames.
                own.push(((number - first) as u32, key));
            }
            let (weight, received) = (block.weight(), block.received);
            let kept = (self.outage == RedisOutage::Local).then(|| Arc::clone(&block));
            // Its lines' time runs since the first of them came.
            let number = self.give(Content::Events(block, own), received);
            self.own
                .give(number, first..=last, (weight, kept), received, now);
        }
    }

    /// A customer has come or gone, on this host. The block holds the event that this is, if nobody
    /// else has a connection of that customer.
    pub fn announce(&mut self, block: Arc<Block>, user: &str, is_online: bool, now: Instant) {
        let user = user.into();
        self.give(Content::Presence(block, user, is_online), now);
    }

    /// Has all hosts close these connections, this one too when it reads so. Gives the selector back if
    /// it means a connection, which only its own host knows.
    pub fn disconnect(&mut self, selector: Selector, now: Instant) -> Option<Selector> {
        let Some(body) = entry::disconnect_body(&selector) else {
            return Some(selector);
        };
        let batch = self.give(Content::Disconnect(body), now);
        self.disconnect = Some(AskedDisconnect {
            batch,
            selector,
            asked: now,
        });
        None
    }

    /// Has all hosts refuse these tokens, and close the connections of those who came by them; this one,
    /// which refuses them already, when it reads so.
    pub fn revoke(&mut self, revocation: Revocation, now: Instant) {
        let selector = Selector::from(&revocation.whom);
        let batch = self.give(Content::Revoke(revocation), now);
        self.disconnect = Some(AskedDisconnect {
            batch,
            selector,
            asked: now,
        });
    }

    /// Whom the `disconnect` means that was asked for here, if it is this batch: once.
    pub fn take_disconnect(&mut self, batch: u64) -> Option<Selector> {
        let asked = self.disconnect.take_if(|asked| asked.batch == batch)?;
        Some(asked.selector)
    }

    /// As [`Cluster::take_disconnect`], if it should have come back by now.
    pub fn take_overdue_disconnect(&mut self, now: Instant) -> Option<Selector> {
        let written = self.written();
        let is_overdue = |asked: &mut AskedDisconnect| now >= asked.due(written);
        Some(self.disconnect.take_if(is_overdue)?.selector)
    }

    fn written(&self) -> u64 {
        self.progress.written.load(Ordering::Acquire)
    }

    fn give(&mut self, content: Content, since: Instant) -> u64 {
        self.batches += 1;
        let addition = Addition::new(self.batches, content, since);
        let is_taken = self.jobs.send(Job::Add(addition)).is_ok();
        debug_assert!(is_taken, "the writer takes jobs as long as this is there");
        self.batches
    }

    /// The next message, if there is one.
    pub fn take(&mut self) -> Option<Message> {
        let message = self.messages.take()?;
        match &message {
            Message::Began(Beginning { newest, .. }, _) | Message::Entry(newest, ..) => {
                self.newest = *newest;
                // Paid before it was sent.
                self.credits.try_recv().ok();
            }
            Message::Members(_) | Message::Revoked(_) | Message::OutOfReach => {}
        }
        Some(message)
    }

    /// Whether there may be one.
    pub fn has_mail(&self) -> bool {
        self.messages.has_mail()
    }

    /// One of this host's batches was read back. Returns what had become of it, if it was not given up.
    pub fn read_back(&mut self, receipt: Receipt) -> Option<ReadBack> {
        self.own.read(receipt)
    }

    /// Gives up what was not written in time, or should have come back long ago, unless it is delivered
    /// alone then. The writer, which may be waiting for an answer, drops what it has not sent by then.
    pub fn expire(&mut self, now: Instant) {
        if self.may_be_alone() {
            return;
        }
        if let Some((batch, number)) = self.own.expire(self.written(), now) {
            self.progress.given_up.store(batch, Ordering::Release);
            self.lost_to = number;
        }
    }

    /// When to do that next, or to look for an overdue disconnect.
    pub fn deadline(&self) -> Option<Instant> {
        let written = self.written();
        let disconnect = self.disconnect.as_ref().map(|asked| asked.due(written));
        [self.own.deadline(written), disconnect]
            .into_iter()
            .flatten()
            .min()
    }

    /// The number of the newest entry that was taken: another process goes on behind it.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Events given to Redis that it is not known of what has become of them.
    pub fn waiting(&self) -> u64 {
        self.own.events()
    }

    /// Whether so much waits for Redis that no more events should be taken in.
    pub fn is_behind(&self) -> bool {
        self.own.weight() > limits::CLUSTER_BEHIND_MAX
    }

    /// Whether nothing of this host's own is on its way.
    pub fn is_settled(&self) -> bool {
        self.own.is_empty()
    }

    /// Whether more is known of this host's own events than the last time this was asked.
    pub fn take_news(&mut self) -> bool {
        self.own.take_news()
    }

    /// Provisional numbers of events that will not come, once each.
    pub fn take_lost(&mut self) -> Vec<RangeInclusive<u64>> {
        self.own.take_lost()
    }

    /// Up to this provisional number it is known what has become of events.
    pub fn resolved_to(&self) -> u64 {
        self.own.resolved_to()
    }

    /// What the event with this provisional number is called, if that was resolved of late.
    pub fn name(&self, provisional: u64) -> Option<Called> {
        self.own.name(provisional, self.host)
    }

    /// Every emitter has been told.
    pub fn forget_names(&mut self) {
        self.own.forget_names();
    }
}

impl Drop for Cluster {
    /// Lets the writer send what it has: what clients caused at the last moment.
    fn drop(&mut self) {
        self.jobs.send(Job::End).ok();
        self.writer.0.recv_timeout(limits::CLUSTER_FAREWELL).ok();
        if let Some((_, last, _)) = self.own.alone()
            && self.written() < last
        {
            log::error!(
                events = self.alone_events();
                "this host ends before the others have all events that were delivered here alone: \
                 they never have them"
            );
        }
    }
}

/// The largest number that another host may have told by now.
pub fn newest_possible(now_ms: u64) -> u64 {
    (now_ms + limits::CLUSTER_CLOCK_SKEW_MS).saturating_mul(NUMBERS_PER_MS)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map(drop)
}
