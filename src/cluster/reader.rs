//! The thread that reads the stream: turns each entry into a block with its numbers and passes it to
//! the router, which it waits for when that cannot follow.
//!
//! Each entry tells the number of the one before it. So no gap goes unnoticed, whether Redis has let
//! go of entries before they were read here or has lost some: then history begins anew, and whoever
//! is connected is told to come back.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender};
use std::time::{Duration, Instant};

use redis::{Connection, Value, cmd};

use super::address::Address;
use super::ended::Ended;
use super::entry::{Entry, Found, Kind, Lexicons, StreamId};
use super::revoked;
use super::status::{Backoff, End, Status};
use super::writer::Job;
use super::{Aside, LEXICONS, Message, NUMBERS_PER_MS, REVOKED, STATE, STREAM, millis};
use crate::event::Block;
use crate::limits;
use crate::log_throttle::{LogThrottle, held_back};
use crate::ring::{Beginning, Post};
use crate::shared::Shared;

/// The way to the router, and what has to be paid for it: it takes so much ahead and no more.
pub(super) type Way = (Post<Message>, SyncSender<()>);

/// A field and its value.
type Row = (Vec<u8>, Vec<u8>);

/// The thread's state.
pub(super) struct Reader {
    address: Address,
    shared: Arc<Shared>,
    status: Arc<Status>,
    host: String,
    router: Way,
    writer: Sender<Job>,
    /// The number of the newest entry that was read; none before the first connection.
    last: Option<u64>,
    /// Behind this number nothing is missing here.
    whole_behind: u64,
    /// Customers online after the newest entry.
    online: u32,
    lexicons: Lexicons,
    unreadable: LogThrottle,
    /// Up to there it was told which entries are none of ours.
    foreign_told: StreamId,
}

impl Reader {
    pub(super) fn new(
        address: Address,
        shared: Arc<Shared>,
        status: Arc<Status>,
        host: String,
        router: Way,
        writer: Sender<Job>,
        behind: Option<u64>,
    ) -> Reader {
        Reader {
            address,
            shared,
            status,
            host,
            router,
            writer,
            last: behind,
            whole_behind: 0,
            online: 0,
            lexicons: Lexicons::default(),
            unreadable: LogThrottle::default(),
            foreign_told: StreamId::default(),
        }
    }

    /// Runs until the router has gone.
    pub(super) fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let Err(ended) = self.read(&mut backoff);
            let reason = match ended.trouble(&mut backoff) {
                ControlFlow::Break(()) => return,
                ControlFlow::Continue(None) => continue,
                ControlFlow::Continue(Some(reason)) => reason,
            };
            let shown = self.address.shown();
            let now = Instant::now();
            self.status.down(End::Reader, &reason, &shown, now);
            self.router.0.send(Message::OutOfReach);
            std::thread::sleep(backoff.wait());
        }
    }

    /// Reads on over one connection, as long as that lasts.
    fn read(&mut self, backoff: &mut Backoff) -> Result<Infallible, Ended> {
        let mut redis = self.address.connect()?;
        let mut last = match self.last {
            Some(last) => {
                // What was revoked since is in the stream, too; but Redis may have lost what it knew.
                self.read_revoked(&mut redis)?;
                // Perhaps of later than that: the next entry that changes it tells it anew.
                let mut online = cmd("HGET");
                online.arg(STATE).arg("online");
                let online: Option<u32> = online.query(&mut redis)?;
                self.online = online.unwrap_or(self.online);
                last
            }
            None => self.begin(&mut redis, None)?,
        };
        // Behind the newest entry there may be some that are none of ours.
        let mut position = StreamId::of(last);
        // Not the first time: that tells whether it works.
        let mut patience = None;
        loop {
            let entries = read_behind(&mut redis, position, patience)?;
            patience = Some(limits::REDIS_PATIENCE / 2);
            self.status.up(End::Reader, Instant::now());
            backoff.reset();
            if entries.is_empty() {
                (last, position) = self.look_for_gap(&mut redis, last, position)?;
            }
            for value in entries {
                let Found { id, entry } = Found::read(value).map_err(Ended::Failed)?;
                position = id;
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(fault) => {
                        self.pass_over(id, &fault);
                        continue;
                    }
                };
                let is_next = entry.before == last;
                if is_next && !self.is_led_over_a_loss_by(&entry) {
                    self.pass_on(&entry, &mut redis)?;
                    last = entry.number;
                    self.last = Some(last);
                    continue;
                }
                let lost = if is_next {
                    None
                } else {
                    self.find_loss(entry.before, last)
                };
                last = self.begin(&mut redis, lost)?;
                position = StreamId::of(last);
                break;
            }
        }
    }

    /// Somebody else has written to the stream. Nothing is missing without it: each of ours tells which one
    /// it follows.
    fn pass_over(&mut self, id: StreamId, fault: &str) {
        if id > self.foreign_told {
            self.foreign_told = id;
            log::warn!(
                "an entry that is not ours is passed over: {fault}; to remove it: redis-cli XDEL \
                 '{STREAM}' {id}"
            );
        }
    }

    /// Whether another host tells of a loss that somebody here could be led over.
    fn is_led_over_a_loss_by(&self, entry: &Entry) -> bool {
        entry
            .lost_to()
            .is_some_and(|number| number > self.whole_behind)
    }

    /// Nothing has come behind `last`; but that is so, too, if what was to come is gone already, or if
    /// Redis has lost what was read. Gives the number behind which, and the id behind which to read on.
    fn look_for_gap(
        &mut self,
        redis: &mut Connection,
        last: u64,
        position: StreamId,
    ) -> Result<(u64, StreamId), Ended> {
        let known: Option<u64> = cmd("HGET").arg(STATE).arg("last").query(redis)?;
        // Otherwise it may have come meanwhile, and is read next.
        if known == Some(last) || !read_behind(redis, position, None)?.is_empty() {
            return Ok((last, position));
        }
        // Or it is before an entry that was ahead of the clock, is not ours, and has been removed.
        let ours = StreamId::of(last);
        if position > ours && !read_behind(redis, ours, None)?.is_empty() {
            self.foreign_told = ours;
            return Ok((last, ours));
        }
        let lost = self.find_loss(known.unwrap_or(0), last);
        let last = self.begin(redis, lost)?;
        Ok((last, StreamId::of(last)))
    }

    /// What comes next is not behind `last`, up to which it was read here, but behind `before`. Gives
    /// up to where entries were lost, if they were: otherwise there are some that are not to be had any more.
    fn find_loss(&self, before: u64, last: u64) -> Option<u64> {
        if before > last {
            log::warn!("entries that were not read here are gone from Redis; clients come back");
            return None;
        }
        log::error!("Redis has lost entries that were read here; clients of all hosts come back");
        // Others may not have read them, and would not know that they have missed them.
        self.writer.send(Job::Reset(last)).ok();
        Some(last)
    }

    /// Reads the newest part of the stream, as much as history keeps, and begins behind it. If entries
    /// are lost, up to the number `lost`, it keeps nothing: nobody is told that he has all behind an
    /// earlier id.
    fn begin(&mut self, redis: &mut Connection, lost: Option<u64>) -> Result<u64, Ended> {
        // Whoever comes first says where numbers begin, so that a position can be told at once.
        let (seconds, micros): (u64, u64) = cmd("TIME").query(redis)?;
        let now = (seconds * 1000 + micros / 1000) * NUMBERS_PER_MS;
        cmd("HSETNX").arg(STATE).arg("last").arg(now).exec(redis)?;
        // Before the entries: what comes meanwhile is behind it.
        let (last, online): (Option<u64>, Option<u32>) = cmd("HMGET")
            .arg(STATE)
            .arg("last")
            .arg("online")
            .query(redis)?;
        self.online = online.unwrap_or(0);
        let (kept, let_go) = self.tail(redis)?;
        // After them: what is not in there comes as an entry behind them.
        self.read_revoked(redis)?;
        let last = last.unwrap_or(0);
        let newest = kept.back().map_or(let_go.max(last), |entry| entry.number);
        // Those that came since are read with the others, and not told of again.
        let since = kept.iter().rev().take_while(|entry| entry.number > last);
        self.online = since
            .filter_map(|entry| entry.online)
            .next()
            .unwrap_or(self.online);
        // The next numbers are behind what is lost, too.
        let told = newest.max(lost.unwrap_or(0));
        let keeps = lost.is_none();
        let mut beginning = Beginning {
            blocks: Vec::new(),
            newest: told,
            let_go: if kept.is_empty() || !keeps {
                told
            } else {
                let_go
            },
            online: self.online,
            settled: 0,
        };
        self.whole_behind = beginning.let_go;
        let mut asides = Vec::new();
        let now = Instant::now();
        for entry in &kept {
            // It is as old as it says, so that it is let go of in time.
            let received = now.checked_sub(self.age(entry.number)).unwrap_or(now);
            if keeps && entry.number > let_go {
                let block = self.block(entry, received, redis)?;
                beginning.blocks.extend(block.map(Arc::new));
            }
            // What was read here before was done then, and a host that begins has nobody to part from.
            if self.last.is_some_and(|last| entry.number > last) {
                asides.push(self.aside(entry));
            }
            self.shared.stats.redis.read.add(1);
        }
        self.last = Some(newest);
        self.send(Message::Began(beginning, asides))?;
        Ok(newest)
    }

    /// Learns whose tokens the other hosts refuse. What they do not know will be told.
    fn read_revoked(&self, redis: &mut Connection) -> Result<(), Ended> {
        let revoked = &self.shared.revoked;
        revoked.tell_all();
        let (mut news, mut has_room) = (Vec::new(), true);
        let mut cursor = 0;
        loop {
            let mut scan = cmd("HSCAN");
            scan.arg(REVOKED).arg(cursor);
            scan.arg("COUNT").arg(limits::CLUSTER_REVOKED_READ);
            let (next, rows): (u64, Vec<Row>) = scan.query(redis)?;
            let now_ms = self.shared.wall.ms();
            let rows = rows
                .iter()
                .filter_map(|(name, times)| revoked::read_row(name, times))
                .filter(|revocation| now_ms < revocation.until_ms);
            for revocation in rows {
                match revoked.learn(&revocation, now_ms) {
                    Ok(true) => news.push(revocation.whom),
                    Ok(false) => {}
                    Err(_) => has_room = false,
                }
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        if !has_room {
            log::error!("there is no room for all that other hosts have revoked");
        }
        revoked.know_others();
        let (post, _) = &self.router;
        if !news.is_empty() && !post.send(Message::Revoked(news)) {
            return Err(Ended::Router);
        }
        Ok(())
    }

    /// The newest entries, oldest first, and the number behind which nothing is missing. Where nothing is
    /// kept there are none, and the number is the newest.
    fn tail(&mut self, redis: &mut Connection) -> Result<(VecDeque<Entry>, u64), Ended> {
        let config = Arc::clone(&self.shared.config);
        let mut kept: VecDeque<Entry> = VecDeque::new();
        let (mut weight, mut end) = (0, "+".to_owned());
        let mut reset = None;
        loop {
            let mut range = cmd("XREVRANGE");
            range.arg(STREAM).arg(&end).arg("-");
            range.arg("COUNT").arg(limits::CLUSTER_READ);
            let Value::Array(page) = range.query(redis)? else {
                return Err(Ended::Failed(
                    "a stream was asked for and is none".to_owned(),
                ));
            };
            let is_last = page.len() < limits::CLUSTER_READ;
            for value in page {
                let Found { id, entry } = Found::read(value).map_err(Ended::Failed)?;
                end = format!("({id}");
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(fault) => {
                        self.pass_over(id, &fault);
                        continue;
                    }
                };
                if let Some(next) = kept.front()
                    && next.before != entry.number
                {
                    // One between them is gone, or cannot be read.
                    let before = next.before;
                    return Ok((kept, reset.unwrap_or(before)));
                }
                let is_too_old = self.age(entry.number) >= config.history_age;
                if entry.kind == Some(Kind::Reset) {
                    // Nobody is led over a loss.
                    reset.get_or_insert(entry.number);
                }
                // Behind one there is only what this host may wait for.
                let is_read = self.last.is_none_or(|last| entry.number <= last);
                if weight >= config.history || is_too_old || (reset.is_some() && is_read) {
                    return Ok((kept, reset.unwrap_or(entry.number)));
                }
                weight += entry.body.len();
                kept.push_front(entry);
            }
            if is_last {
                let before = kept.front().map_or(0, |oldest| oldest.before);
                return Ok((kept, reset.unwrap_or(before)));
            }
        }
    }

    fn age(&self, number: u64) -> Duration {
        let ms = number / NUMBERS_PER_MS;
        Duration::from_millis(self.shared.wall.ms().saturating_sub(ms))
    }

    fn pass_on(&mut self, entry: &Entry, redis: &mut Connection) -> Result<(), Ended> {
        self.online = entry.online.unwrap_or(self.online);
        let block = self.block(entry, Instant::now(), redis)?;
        let stats = &self.shared.stats.redis;
        stats.read.add(1);
        stats.lag_ms.set(millis(self.age(entry.number)));
        self.send(Message::Entry(entry.number, block, self.aside(entry)))
    }

    fn aside(&self, entry: &Entry) -> Aside {
        let is_own = entry.host == self.host.as_bytes() && entry.kind != Some(Kind::Reset);
        Aside {
            receipt: is_own.then(|| entry.receipt.clone()),
            disconnect: match entry.kind {
                Some(Kind::Disconnect) => entry.selector(),
                _ => None,
            },
            revoke: match entry.kind {
                Some(Kind::Revoke) => revoked::read_body(&entry.body),
                _ => None,
            },
        }
    }

    /// The events of an entry, if it has some and they can be read.
    fn block(
        &mut self,
        entry: &Entry,
        received: Instant,
        redis: &mut Connection,
    ) -> Result<Option<Block>, Ended> {
        let fault = match entry.kind {
            None => "it is of a kind that this version does not know",
            Some(kind) if !kind.has_events() => return Ok(None),
            Some(_) => match self.read_block(entry, received, redis)? {
                Ok(block) => return Ok(block),
                Err(fault) => fault,
            },
        };
        if let Some(held) = self.unreadable.admit(Instant::now()) {
            let (number, held) = (entry.number, held_back(held));
            log::error!("entry {number} is passed over: {fault}{held}");
        }
        Ok(None)
    }

    fn read_block(
        &mut self,
        entry: &Entry,
        received: Instant,
        redis: &mut Connection,
    ) -> Result<Result<Option<Block>, &'static str>, Ended> {
        let number = match entry.lexicon() {
            Ok(number) => number,
            Err(fault) => return Ok(Err(fault.0)),
        };
        if self.lexicons.get(number).is_none() {
            let words: Option<Vec<u8>> = cmd("HGET").arg(LEXICONS).arg(number).query(redis)?;
            self.lexicons.learn(number, &words.unwrap_or_default());
        }
        let Some(lexicon) = self.lexicons.get(number) else {
            return Ok(Err("nobody has told what its types and roles are"));
        };
        let block = entry.block(lexicon, &self.shared.hasher, received, self.online);
        Ok(block.map_err(|fault| fault.0))
    }

    /// Passes a message to the router, when that has room for it.
    fn send(&self, message: Message) -> Result<(), Ended> {
        let (post, pay) = &self.router;
        match pay.send(()) {
            Ok(()) if post.send(message) => Ok(()),
            _ => Err(Ended::Router),
        }
    }
}

/// The next entries behind this one: none if there are none, also after waiting for some.
fn read_behind(
    redis: &mut Connection,
    position: StreamId,
    patience: Option<Duration>,
) -> Result<Vec<Value>, Ended> {
    let mut read = cmd("XREAD");
    read.arg("COUNT").arg(limits::CLUSTER_READ);
    if let Some(patience) = patience {
        read.arg("BLOCK").arg(millis(patience));
    }
    read.arg("STREAMS").arg(STREAM).arg(position.to_string());
    Ok(entries(read.query(redis)?))
}

/// The entries in an answer to XREAD: none if the time was over.
fn entries(answer: Value) -> Vec<Value> {
    let streams = match answer {
        Value::Array(streams) => streams,
        _ => Vec::new(),
    };
    match streams.into_iter().next() {
        Some(Value::Array(mut named)) => match named.pop() {
            Some(Value::Array(entries)) => entries,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}
