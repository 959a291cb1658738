//! The thread that writes to Redis: takes batches from the router, in order, and adds each to the
//! stream exactly once.
//!
//! While the answers to some are awaited others gather, and go together next: so batches grow with
//! what Redis takes. A batch has a number, and Redis remembers the newest it has of this host: after
//! a broken connection everything that was not answered is sent again, and is not added twice. Once a
//! second comes a sign of life.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use redis::{Connection, RedisError, Value, cmd};

use super::address::Address;
use super::beaten::Beaten;
use super::ended::Ended;
use super::entry::{Kind, Lexicons, put_events};
use super::revoked;
use super::statistics;
use super::status::{Backoff, End, Status};
use super::{
    HOSTS, KEYS, LEXICONS, Message, Progress, REVOKED, REVOKED_ENDS, STATE, STREAM, millis,
};
use crate::auth::Revocation;
use crate::config::RedisOutage;
use crate::event::Block;
use crate::limits;
use crate::ring::Post;
use crate::shared::Shared;

const ADD: &str = concat!(
    include_str!("scripts/blocked.lua"),
    include_str!("scripts/add.lua")
);
const BEAT: &str = concat!(
    include_str!("scripts/blocked.lua"),
    include_str!("scripts/beat.lua")
);

/// How soon to look for what is too old, while Redis is out of reach.
const LOOK: Duration = Duration::from_millis(100);

/// The number of what is none of this host's batches, and may be added twice.
const NO_BATCH: u64 = 0;

/// Stands for the user where a batch of events was delivered by its host before it became an entry.
const DELIVERED: &str = "delivered";

/// For the writer.
pub enum Job {
    /// Add this to the stream.
    Add(Addition),
    /// Tell all hosts to begin anew, since entries up to this number are lost.
    Reset(u64),
    /// Add what was given, if Redis is in reach, and end.
    End,
}

/// One entry to be.
pub struct Addition {
    number: u64,
    content: Content,
    since: Instant,
}

/// What it holds.
pub enum Content {
    /// Events; some have keys, each with its place in the block.
    Events(Arc<Block>, Vec<(u32, Box<str>)>),
    /// The event that this customer has come, or gone.
    Presence(Arc<Block>, Box<str>, bool),
    /// A `disconnect`, as it is kept.
    Disconnect(Vec<u8>),
    /// A `revoke`.
    Revoke(Revocation),
}

impl Addition {
    /// The batch with this number, which somebody waits for since then.
    pub fn new(number: u64, content: Content, since: Instant) -> Addition {
        Addition {
            number,
            content,
            since,
        }
    }
}

/// The thread's state.
pub(super) struct Writer {
    address: Address,
    shared: Arc<Shared>,
    status: Arc<Status>,
    host: String,
    jobs: Receiver<Job>,
    router: Post<Message>,
    queue: VecDeque<Addition>,
    /// The newest batch that Redis has, ...
    done: u64,
    /// ... as the router is told; and what that tells.
    progress: Arc<Progress>,
    /// All hosts are to be told to begin anew, since entries up to this number are lost.
    owed_reset: Option<u64>,
    /// Redis has refused what was to be added, and nothing was since.
    is_refused: bool,
    /// What is revoked here and other hosts are to be told of, beside what somebody waits for.
    owed_revocations: VecDeque<Revocation>,
    /// What Redis takes for this host's customers may be wrong.
    owes_members: bool,
    next_beat: Instant,
    /// When to look for what is too old, at the earliest.
    next_look: Instant,
    /// Since when signs of life have come without a break.
    alive_since: Option<Instant>,
    /// The number of this version's lexicon, and its words.
    lexicon: (u32, Vec<u8>),
    /// Nothing more will come.
    is_ending: bool,
}

/// A connection on which the scripts are known by their names.
struct Scripted {
    connection: Connection,
    add: String,
    beat: String,
}

impl Writer {
    pub(super) fn new(
        address: Address,
        shared: Arc<Shared>,
        status: Arc<Status>,
        host: String,
        jobs: Receiver<Job>,
        router: Post<Message>,
        progress: Arc<Progress>,
    ) -> Writer {
        Writer {
            address,
            shared,
            status,
            host,
            jobs,
            router,
            queue: VecDeque::new(),
            done: 0,
            progress,
            is_refused: false,
            owed_reset: None,
            owed_revocations: VecDeque::new(),
            owes_members: false,
            next_beat: Instant::now(),
            next_look: Instant::now(),
            alive_since: None,
            lexicon: Lexicons::own(),
            is_ending: false,
        }
    }

    /// Runs until the router has gone.
    pub(super) fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let ended = self.serve(&mut backoff);
            self.alive_since = None;
            // Until a sign of life says that it is over: not as long as nothing is added.
            match ended {
                Ended::Blocked(_) => self.status.set_blocked(true),
                Ended::Refused(_) => self.is_refused = true,
                _ => {}
            }
            let reason = match ended.trouble(&mut backoff) {
                ControlFlow::Break(()) => return,
                ControlFlow::Continue(None) => continue,
                ControlFlow::Continue(Some(reason)) => reason,
            };
            let shown = self.address.shown();
            let now = Instant::now();
            self.status.down(End::Writer, &reason, &shown, now);
            self.router.send(Message::OutOfReach);
            if self.wait(backoff.wait()).is_err() {
                return;
            }
        }
    }

    /// Serves over one connection, as long as that lasts.
    fn serve(&mut self, backoff: &mut Backoff) -> Ended {
        let mut redis = match self.connect() {
            Ok(redis) => redis,
            Err(error) => return error.into(),
        };
        // A sign of life may have been taken, and its answer lost with the connection before.
        self.owes_members = true;
        self.next_beat = Instant::now();
        loop {
            if let Err(ended) = self.step(&mut redis, backoff) {
                return ended;
            }
        }
    }

    fn step(&mut self, redis: &mut Scripted, backoff: &mut Backoff) -> Result<(), Ended> {
        let now = Instant::now();
        if now >= self.next_beat {
            self.beat(redis)?;
            self.next_beat = now + limits::CLUSTER_BEAT;
            let untold = self.shared.revoked.take_untold(self.shared.wall.ms());
            self.owed_revocations.extend(untold);
            self.status.up(End::Writer, now);
            backoff.reset();
        }
        if let Some(lost) = self.owed_reset {
            self.reset(redis, lost)?;
        }
        self.tell_revoked(redis)?;
        if self.queue.is_empty() && self.owed_revocations.is_empty() {
            self.await_job(self.next_beat.saturating_duration_since(now));
        }
        while let Ok(job) = self.jobs.try_recv() {
            self.take(job);
        }
        self.give_up_old();
        if !self.queue.is_empty() && !self.status.is_up() {
            // The other thread's connection has broken, and so may this one's: what is sent nobody knows where
            // to would have to be waited for.
            self.beat(redis)?;
        }
        self.send(redis)?;
        if self.is_ending && self.queue.is_empty() {
            self.leave(redis)?;
            return Err(Ended::Router);
        }
        Ok(())
    }

    fn await_job(&mut self, most: Duration) {
        match self.jobs.recv_timeout(most) {
            Ok(job) => self.take(job),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.is_ending = true,
        }
    }

    /// Waits for the next try, and gives up what gets too old meanwhile.
    fn wait(&mut self, most: Duration) -> Result<(), Ended> {
        let until = Instant::now() + most;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.await_job(left.min(LOOK));
            if self.is_ending {
                return Err(Ended::Router);
            }
            self.give_up_old();
        }
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Add(addition) => self.queue.push_back(addition),
            Job::Reset(lost) => self.owed_reset = self.owed_reset.max(Some(lost)),
            Job::End => self.is_ending = true,
        }
    }

    /// Drops what the router has given up by now. What it delivers alone instead is never dropped.
    fn give_up_old(&mut self) {
        let now = Instant::now();
        let is_old = |addition: &Addition| {
            now.saturating_duration_since(addition.since) >= limits::CLUSTER_HOLD
        };
        if now < self.next_look || !self.queue.front().is_some_and(is_old) {
            return;
        }
        let keeps_events = self.shared.config.redis_outage == RedisOutage::Local;
        if keeps_events {
            // So that many that are kept are not looked through with each pipeline.
            self.next_look = now + LOOK;
        }
        let given_up = self.progress.given_up.load(Ordering::Acquire);
        let mut has_dropped_presence = false;
        self.queue.retain(|addition| {
            let is_kept = keeps_events
                && addition.number > given_up
                && matches!(addition.content, Content::Events(..));
            if is_kept || !is_old(addition) {
                return true;
            }
            has_dropped_presence |= matches!(addition.content, Content::Presence(..));
            false
        });
        // What Redis knows is compared with what is so, once it is in reach.
        self.owes_members |= has_dropped_presence;
    }

    /// Redis has this batch.
    fn is_done(&mut self, batch: u64) {
        self.done = batch;
        self.progress.written.store(batch, Ordering::Release);
    }

    fn connect(&mut self) -> Result<Scripted, RedisError> {
        let mut connection = self.address.connect()?;
        let mut load = |script: &str| -> Result<String, RedisError> {
            cmd("SCRIPT").arg("LOAD").arg(script).query(&mut connection)
        };
        let (add, beat) = (load(ADD)?, load(BEAT)?);
        let (lexicon, words) = &self.lexicon;
        cmd("HSET")
            .arg(LEXICONS)
            .arg(lexicon)
            .arg(words)
            .exec(&mut connection)?;
        // What was on its way when the last connection broke may have come there.
        let known: Option<u64> = cmd("GET").arg(self.newest_batch()).query(&mut connection)?;
        let known = known.unwrap_or(0);
        if known > self.done {
            self.is_done(known);
            while self
                .queue
                .pop_front_if(|addition| addition.number <= known)
                .is_some()
            {}
        } else if known < self.done {
            // It was lost with others that Redis had; what follows is to be taken all the same.
            let mut set = cmd("SET");
            set.arg(self.newest_batch())
                .arg(self.done)
                .arg("EX")
                .arg(86_400);
            set.exec(&mut connection)?;
        }
        Ok(Scripted {
            connection,
            add,
            beat,
        })
    }

    fn newest_batch(&self) -> String {
        format!("{{shopwire}}:batch:{}", self.host)
    }

    /// Sends what waits, as much as fits into a pipeline, and takes the answers.
    fn send(&mut self, redis: &mut Scripted) -> Result<(), Ended> {
        let (mut packed, mut count) = (Vec::new(), 0);
        let mut before = self.done;
        for addition in &self.queue {
            if packed.len() >= limits::CLUSTER_PIPELINE {
                break;
            }
            self.command(&redis.add, addition, before)
                .write_packed_command(&mut packed);
            before = addition.number;
            count += 1;
        }
        if count == 0 {
            return Ok(());
        }
        self.status.set_sent_to(before);
        redis.connection.send_packed_command(&packed)?;
        let mut failed = None;
        for _ in 0..count {
            let answer = redis.connection.recv_response()?;
            match answer {
                Value::ServerError(error) => {
                    failed.get_or_insert(RedisError::from(error));
                }
                // Behind one that failed none is taken, so these are the first ones.
                _ if failed.is_none() => {
                    if let Some(addition) = self.queue.pop_front() {
                        self.is_done(addition.number);
                        self.shared.stats.redis.written.add(1);
                    }
                }
                _ => {}
            }
        }
        match failed {
            None => Ok(()),
            Some(error) => Err(match error.into() {
                Ended::Failed(reason) => Ended::Refused(reason),
                other => other,
            }),
        }
    }

    fn command(&self, script: &str, addition: &Addition, before: u64) -> redis::Cmd {
        let mut body = Vec::new();
        let mut keys = &[][..];
        let (kind, user, events) = match &addition.content {
            Content::Events(block, own) => {
                put_events(block, self.lexicon.0, &mut body);
                keys = own;
                // Nothing of what was delivered is a repeat any more.
                let is_delivered = addition.number <= self.progress.alone.load(Ordering::Acquire);
                let user = if is_delivered { DELIVERED } else { "" };
                (Kind::Events, user, block.frames.len())
            }
            Content::Presence(block, user, is_online) => {
                put_events(block, self.lexicon.0, &mut body);
                let kind = if *is_online {
                    Kind::Online
                } else {
                    Kind::Offline
                };
                (kind, &**user, block.frames.len())
            }
            Content::Disconnect(selector) => {
                body.extend_from_slice(selector);
                (Kind::Disconnect, "", 0)
            }
            Content::Revoke(revocation) => {
                let add = self.addition(script, addition.number, before, 0);
                return revoke(add, revocation, false);
            }
        };
        let mut add = self.addition(script, addition.number, before, events);
        add.arg(kind.name()).arg(user).arg(body);
        for (place, key) in keys {
            add.arg(place).arg(&**key);
        }
        add
    }

    /// The call of the script up to the kind of entry.
    fn addition(&self, script: &str, batch: u64, before: u64, events: usize) -> redis::Cmd {
        let mut add = cmd("EVALSHA");
        add.arg(script).arg(8);
        add.arg(STREAM).arg(STATE).arg(self.newest_batch());
        add.arg(KEYS[0]).arg(KEYS[1]).arg(HOSTS);
        add.arg(REVOKED).arg(REVOKED_ENDS);
        let config = &self.shared.config;
        add.arg(&self.host).arg(batch).arg(before).arg(events);
        add.arg(config.history).arg(limits::KEYS_MAX);
        add.arg(millis(limits::KEY_WINDOW));
        add
    }

    /// Tells other hosts of what is revoked here, some at a time: events wait behind them.
    fn tell_revoked(&mut self, redis: &mut Scripted) -> Result<(), Ended> {
        for _ in 0..limits::CLUSTER_TELL {
            let Some(revocation) = self.owed_revocations.front() else {
                break;
            };
            let add = self.addition(&redis.add, NO_BATCH, 0, 0);
            revoke(add, revocation, true).exec(&mut redis.connection)?;
            self.owed_revocations.pop_front();
        }
        Ok(())
    }

    /// Tells all hosts to begin anew.
    fn reset(&mut self, redis: &mut Scripted, lost: u64) -> Result<(), Ended> {
        let mut add = self.addition(&redis.add, NO_BATCH, 0, 0);
        add.arg(Kind::Reset.name()).arg("").arg(lost);
        add.exec(&mut redis.connection)?;
        self.owed_reset = None;
        Ok(())
    }

    /// The sign of life, and what is done with it.
    fn beat(&mut self, redis: &mut Scripted) -> Result<(), Ended> {
        let now = Instant::now();
        let alive = self
            .alive_since
            .map(|since| now.saturating_duration_since(since));
        let may_judge = alive.is_some_and(|time| time >= limits::CLUSTER_LEASE);
        let config = &self.shared.config;
        let statistics = serde_json::to_string(&self.shared.snapshot(now))
            .expect("a snapshot is numbers and names, which serialize");
        let mut beat = cmd("EVALSHA");
        beat.arg(&redis.beat).arg(5).arg(STREAM).arg(HOSTS);
        beat.arg(REVOKED).arg(REVOKED_ENDS).arg(STATE);
        beat.arg(&self.host).arg(millis(limits::CLUSTER_LEASE));
        beat.arg(u8::from(may_judge))
            .arg(millis(config.history_age))
            .arg(statistics)
            .arg(u8::from(self.status.is_blocked()))
            .arg(u8::from(self.is_refused));
        let beaten = Beaten::read(beat.query(&mut redis.connection)?)
            .ok_or_else(|| Ended::Failed("the answer to a sign of life was another".to_owned()))?;
        self.status.set_blocked(false);
        self.is_refused = false;
        self.status
            .set_statistics(statistics::sum(&beaten.hosts).to_string());
        self.alive_since.get_or_insert(now);
        if beaten.is_new || beaten.has_adopted || self.owes_members {
            let key = format!("{{shopwire}}:here:{}", self.host);
            let members = cmd("SMEMBERS").arg(key).query(&mut redis.connection)?;
            self.owes_members = false;
            if !self.router.send(Message::Members(members)) {
                return Err(Ended::Router);
            }
        }
        Ok(())
    }

    /// What this host has told of itself is no longer so. Its customers have the time of its lease to
    /// come back elsewhere.
    fn leave(&self, redis: &mut Scripted) -> Result<(), RedisError> {
        let key = format!("{{shopwire}}:statistics:{}", self.host);
        cmd("DEL").arg(key).exec(&mut redis.connection)
    }
}

/// The rest of the call that adds a revocation; one that is told again becomes an entry only if it is not
/// known.
fn revoke(mut add: redis::Cmd, revocation: &Revocation, is_again: bool) -> redis::Cmd {
    let name = revoked::name(&revocation.whom);
    add.arg(Kind::Revoke.name()).arg(name);
    add.arg(revoked::body(revocation));
    add.arg(revocation.at_ms).arg(revocation.until_ms);
    add.arg(limits::REVOCATIONS_MAX).arg(u8::from(is_again));
    add
}
