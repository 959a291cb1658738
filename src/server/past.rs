//! What a starting server goes on with: nothing, a journal's, or what a running server hands over.
//!
//! Called while the server is assembled, each step when what it needs is there.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use mio::net::{TcpListener, UnixListener};

use super::displace::displace;
use crate::clock::Now;
use crate::cluster;
use crate::config::{Config, RedisOutage};
use crate::engine::Engine;
use crate::event::{Block, BlockBuilder, Epoch, NameHasher, Parser, Rules, Run, Runs};
use crate::journal::{
    self, Beginning, Disk, Folder, Journal, JournalState, Key, Preface, Retention, Terms,
    revoked_file,
};
use crate::limits;
use crate::router::{Ingest, Router, Sequencer, random_secret};
use crate::shared::Shared;
use crate::takeover::Hello;
use crate::takeover::door::FileId;
use crate::takeover::guest::{self, Arrival, Asked, Commit};

/// What there is to go on with.
pub enum Past {
    /// The first start, or one without a journal.
    Nothing,
    /// What earlier runs have left.
    Journal {
        /// Where it is; empty once the journal is written again.
        folder: Option<Folder>,
        /// What was in it.
        read: Box<journal::Past>,
    },
    /// What a running server has sent.
    Arrival(Box<Arrival>),
}

impl Past {
    /// Asks the server that runs in this place to hand over. One of another form or place is drained, so
    /// that its place is free; then the port may be there already.
    ///
    /// # Errors
    /// A sentence, if a server runs there and does neither.
    pub fn succeeding(
        config: &Config,
        hello: &Hello,
        hasher: &NameHasher,
        now: Now,
    ) -> Result<(Past, Option<TcpListener>), String> {
        match guest::ask(hello, hasher)? {
            Asked::Arrived(arrival) => {
                log::info!(
                    "taking over {} connections, {} emitters and {} blocks of history",
                    arrival.connections.len(),
                    arrival.emitters.len(),
                    arrival.history.len()
                );
                Ok((Past::Arrival(arrival), None))
            }
            Asked::Nobody => {
                log::info!("no server to take over from");
                Ok((Past::Nothing, None))
            }
            Asked::Another(reason, place) => {
                displace(config, (&hello.place, &place), &reason, hasher, now)
                    .map_err(|fault| format!("{fault} (not taken over, because {reason})"))
            }
            Asked::Refused(reason) => Err(format!(
                "the running server was not taken over from, and goes on: {reason}"
            )),
        }
    }

    /// The two listening sockets, if they come from a running server.
    pub fn take_listeners(&mut self) -> Option<io::Result<(TcpListener, Ingest)>> {
        let Past::Arrival(arrival) = self else {
            return None;
        };
        let mut files = arrival.files.drain(..2.min(arrival.files.len()));
        let (Some(port), Some(ingest)) = (files.next(), files.next()) else {
            return Some(Err(io::Error::other("one is missing")));
        };
        let (path, device, inode) = arrival.router.ingest.clone();
        let ingest = Ingest {
            listener: UnixListener::from_std(ingest.into()),
            path,
            file: (device, inode),
        };
        Some(Ok((TcpListener::from_std(port.into()), ingest)))
    }

    /// The private socket and its file, if they come from a running server; after the listeners.
    pub fn take_door(&mut self) -> Option<(OwnedFd, FileId)> {
        match self {
            Past::Arrival(arrival) if !arrival.files.is_empty() => {
                Some((arrival.files.remove(0), arrival.router.door))
            }
            _ => None,
        }
    }

    /// Reads the journal, if one is configured and does not come from a running server.
    ///
    /// # Errors
    /// A sentence, if it cannot be used.
    pub fn add_journal(
        &mut self,
        config: &Config,
        hasher: &NameHasher,
        now: Now,
    ) -> Result<(), String> {
        let (Past::Nothing, Some(path)) = (&self, &config.journal) else {
            return Ok(());
        };
        let folder = Folder::take(path)?;
        let read = journal::Past::read(folder.path(), retention(config), hasher, now)?;
        log::info!(
            "the journal in {} goes on behind event {}: {} events can be replayed, {} keys are known",
            path.display(),
            read.newest,
            read.blocks
                .iter()
                .map(|block| block.frames.len())
                .sum::<usize>(),
            read.keys.len()
        );
        *self = Past::Journal {
            folder: Some(folder),
            read: Box::new(read),
        };
        Ok(())
    }

    /// Refuses the tokens that an earlier run, or the running server, was told to refuse.
    ///
    /// # Errors
    /// A sentence, if it cannot be known which they are.
    pub fn revoke_again(&self, shared: &Shared, now: Now) -> Result<(), String> {
        let all = match (self, &shared.config.journal) {
            (Past::Journal { .. }, Some(path)) => &revoked_file::read(path)?[..],
            (Past::Arrival(arrival), _) => {
                if !arrival.router.awaits_others {
                    shared.revoked.know_others();
                }
                &arrival.router.revoked[..]
            }
            _ => &[],
        };
        for revocation in all {
            if shared.revoked.add(revocation, now.wall_ms).is_err() {
                return Err("there is no room for what was revoked before".to_owned());
            }
        }
        Ok(())
    }

    /// The runs: one that begins at `now_ms`, or the one that goes on; for hosts that act as one, the
    /// one of all.
    pub fn runs(&self, config: &Config, now_ms: u64) -> Runs {
        if config.redis_url.is_some() {
            return Runs::only(cluster::EPOCH);
        }
        let (past, first) = match self {
            Past::Nothing => (&[][..], 1),
            Past::Journal { read, .. } => (&read.runs[..], read.newest + 1),
            Past::Arrival(arrival) => {
                if let [past @ .., now] = &arrival.router.runs[..] {
                    return Runs::new(past.to_vec(), *now);
                }
                (&[][..], arrival.router.newest + 1)
            }
        };
        let epoch = std::iter::repeat_with(|| Epoch::new(now_ms, fastrand::u16(..)))
            .find(|epoch| past.iter().all(|run| run.epoch != *epoch))
            .expect("the sequence has no end");
        Runs::new(past.to_vec(), Run { epoch, first })
    }

    /// The number of the newest event that reactors begin behind.
    pub fn newest(&self) -> u64 {
        match self {
            Past::Nothing => 0,
            Past::Journal { read, .. } => read.newest,
            Past::Arrival(arrival) => match arrival.pending.first() {
                Some(block) => block.first_id() - 1,
                None => arrival.router.newest,
            },
        }
    }

    /// The events that are still kept, oldest first.
    pub fn blocks(&self) -> Vec<Arc<Block>> {
        match self {
            Past::Nothing => Vec::new(),
            Past::Journal { read, .. } => read.blocks.iter().cloned().collect(),
            Past::Arrival(arrival) => arrival.history.clone(),
        }
    }

    /// Seats the connections of a running server, in turn with every reactor. Returns the customers
    /// among them, once for each reactor that has one.
    pub fn board(&mut self, engines: &mut [Engine]) -> Vec<Box<str>> {
        let Past::Arrival(arrival) = self else {
            return Vec::new();
        };
        let mut reactors: Vec<_> = engines
            .iter_mut()
            .filter_map(|engine| engine.reactor.as_mut())
            .collect();
        for reactor in &mut reactors {
            reactor.set_online(arrival.router.online);
        }
        let count = reactors.len();
        let mut customers = Vec::new();
        for (number, (state, stream)) in arrival.connections.drain(..).enumerate() {
            let stream = mio::net::TcpStream::from_std(stream);
            customers.extend(reactors[number % count].board(state, stream));
        }
        customers
    }

    /// A sequencer that goes on where the past ended, and the journal, if there is one, ready for what
    /// comes. `disk` is made of the journal's folder.
    ///
    /// # Errors
    /// If there is no such disk.
    pub fn go_on(
        &mut self,
        shared: &Shared,
        disk: impl FnOnce(File) -> io::Result<Box<dyn Disk>>,
        now: Now,
    ) -> io::Result<(Sequencer, Option<Journal>)> {
        let mut sequencer = sequencer(shared, now);
        let journal = match self {
            Past::Nothing => None,
            Past::Journal { folder, read } => {
                let secret = read.secret.unwrap_or_else(random_secret);
                let window = limits::KEY_WINDOW.as_millis() as u64;
                let keys = read.keys.drain(..).map(|aged| {
                    let age = now.wall_ms.saturating_sub(aged.wall_ms);
                    (aged.key, window.saturating_sub(age))
                });
                sequencer.go_on(read.newest, secret, keys);
                let policy = shared.config.journal_sync;
                match folder.take() {
                    Some(folder) => {
                        let disk = disk(folder.open()?)?;
                        let runs = &shared.runs;
                        Some(Journal::start(
                            folder, read, runs, secret, policy, disk, now,
                        ))
                    }
                    None => None,
                }
            }
            Past::Arrival(arrival) => {
                let keys = arrival.keys.drain(..).map(|key| {
                    let (hash, number) = (key.hash, key.number);
                    (Key { number, hash }, key.left_ms)
                });
                sequencer.go_on(arrival.router.newest, arrival.router.secret, keys);
                sequencer.set_online(arrival.router.online);
                match arrival.router.journal.take() {
                    Some(state) => Some(journal_of(arrival, state, shared, disk, now)?),
                    None => None,
                }
            }
        };
        if journal.is_some() {
            sequencer.note_keys();
        }
        if shared.config.redis_url.is_some() {
            let may_judge = shared.config.redis_outage == RedisOutage::Local;
            sequencer.share_keys(may_judge);
        }
        Ok((sequencer, journal))
    }

    /// Gives the router what a running server's knew.
    pub fn board_router(
        &mut self,
        router: &mut Router,
        customers: Vec<Box<str>>,
        now: Now,
    ) -> io::Result<()> {
        match self {
            Past::Arrival(arrival) => router.board(arrival, customers, now),
            _ => Ok(()),
        }
    }

    /// The number behind which the stream of all hosts is to be read, where a running server has read it.
    pub fn read_to(&self) -> Option<u64> {
        match self {
            Past::Arrival(arrival) => Some(arrival.router.newest),
            _ => None,
        }
    }

    /// What ends the takeover, if this is one.
    pub fn commit(&self) -> io::Result<Option<Commit>> {
        match self {
            Past::Arrival(arrival) => arrival.commit().map(Some),
            _ => Ok(None),
        }
    }
}

fn retention(config: &Config) -> Retention {
    Retention {
        weight: config.history,
        age: config.history_age,
        keys: limits::KEY_WINDOW,
    }
}

/// The journal of a running server, which does not write any more.
fn journal_of(
    arrival: &mut Arrival,
    state: JournalState,
    shared: &Shared,
    disk: impl FnOnce(File) -> io::Result<Box<dyn Disk>>,
    now: Now,
) -> io::Result<Journal> {
    let (Some(lock), Some(path)) = (arrival.files.pop(), &shared.config.journal) else {
        return Err(io::Error::other("the lock of the journal is missing"));
    };
    let in_folder = |error: io::Error| {
        let fault = format!("the journal's folder {}: {error}", path.display());
        io::Error::new(error.kind(), fault)
    };
    let beginning = Beginning {
        preface: Preface::new(arrival.router.secret, &shared.runs),
        newest: arrival.router.newest,
    };
    let terms = Terms {
        retention: retention(&shared.config),
        policy: shared.config.journal_sync,
    };
    let folder = Folder::go_on(path, lock);
    let disk = disk(folder.open().map_err(in_folder)?)?;
    Ok(Journal::go_on(folder, state, beginning, terms, disk, now))
}

fn sequencer(shared: &Shared, now: Now) -> Sequencer {
    let max_message = shared.config.max_message;
    let rules = Rules {
        order_statuses: shared.config.order_statuses.clone(),
        max_message,
    };
    let builder = BlockBuilder::new(shared.runs.now().epoch, shared.hasher.clone(), max_message);
    Sequencer::new(Parser::new(rules), builder, now.instant)
}
