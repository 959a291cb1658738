//! What an operator has asked that only reactors know: a question to them, one at a time.
//!
//! Part of the router; [`super::operator`] begins one. It is answered when all reactors have, or when those
//! that have not are given up, so that a loop that hangs does not take `ctl` with it. What such a one says
//! later is to nobody's question: each answers in the order in which it was asked, so that it is enough to
//! count how many answers it owes.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::Router;
use crate::access::{AccessTable, Namespace};
use crate::auth::{Revocations, Whom};
use crate::config::CANARY_NEEDS_SYSTEM;
use crate::journal::revoked_file;
use crate::limits;
use crate::listing::{Connections, ConnectionsWanted, Events, Subscribers, Why};
use crate::ring::{Mailbox, Post};
use crate::shared::Shared;

/// A question on its way.
pub(super) struct Question {
    number: u64,
    emitter: usize,
    generation: u32,
    /// Reactors that have not answered.
    awaited: Vec<usize>,
    /// Those of them that were given up.
    silent: Vec<usize>,
    stage: Stage,
    /// Until when its stage may last, known from the turn in which that begins.
    until: Option<Instant>,
    asked: Asked,
}

/// Who has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Redis, which sets limits of its own.
    Redis,
    Reactors,
    /// The disk, on which has to be written what was revoked.
    Disk,
}

/// What was asked, and what has been answered so far.
pub(super) enum Asked {
    Disconnect(Closed),
    Connections(Arc<ConnectionsWanted>, Connections),
    /// What would this table change?
    Access(AccessTable, Box<Subscribers>),
    /// The first reactor keeps what all of them do.
    Events(Option<Box<Events>>),
    Why(Box<Why>),
}

/// What a `disconnect` or `revoke` has done.
#[derive(Default)]
pub(super) struct Closed {
    /// Whose tokens are revoked besides.
    pub(super) revoked: Option<Whom>,
    connections: usize,
    /// What other hosts know of it; none: there are none, or it does not concern them.
    others: Option<Others>,
}

/// What other hosts know of a `disconnect` or `revoke`.
#[derive(Clone, Copy)]
pub(super) enum Others {
    /// They have been told, and so will those that come later, if it is stored.
    Told { is_stored: bool },
    /// Redis is out of reach.
    NotYet,
}

/// Whether what was revoked by the question of this number is on disk, as a thread tells it.
pub struct Stored {
    question: u64,
    is_stored: bool,
}

/// The questions of a router.
pub(super) struct Questions {
    under_way: Option<Question>,
    /// Answers that each reactor owes to questions in which it was given up.
    owed: Vec<u32>,
    asked: u64,
}

impl Questions {
    /// None yet, for so many reactors.
    pub(super) fn new(reactors: usize) -> Self {
        Self {
            under_way: None,
            owed: vec![0; reactors],
            asked: 0,
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_none()
    }

    /// When reactors or the disk are to be given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.under_way.as_ref()?.until
    }
}

impl Router {
    /// Lets the operator wait until the first so many reactors have answered.
    pub(super) fn ask(&mut self, key: usize, asked: Asked, reactors: usize) {
        let emitter = &mut self.emitters[key];
        emitter.awaits_answer = true;
        self.questions.asked += 1;
        self.questions.under_way = Some(Question {
            number: self.questions.asked,
            emitter: key,
            generation: emitter.generation,
            awaited: (0..reactors).collect(),
            silent: Vec::new(),
            stage: Stage::Reactors,
            until: None,
            asked,
        });
    }

    /// The reactors do not have it yet, Redis has.
    pub(super) fn ask_redis_first(&mut self) {
        if let Some(question) = &mut self.questions.under_way {
            question.stage = Stage::Redis;
        }
    }

    /// From now on they have.
    pub(super) fn reactors_are_asked(&mut self) {
        if let Some(question) = &mut self.questions.under_way {
            question.stage = Stage::Reactors;
        }
    }

    /// What other hosts know of the `disconnect` that is under way. Returns whose tokens it revokes, if it
    /// does.
    pub(super) fn note_others(&mut self, others: Others) -> Option<Whom> {
        match &mut self.questions.under_way {
            Some(Question {
                asked: Asked::Disconnect(closed),
                ..
            }) => {
                closed.others = Some(others);
                closed.revoked.clone()
            }
            _ => None,
        }
    }

    pub(super) fn on_disconnected(&mut self, worker: usize, connections: usize) {
        self.on_answer(worker, |asked| {
            if let Asked::Disconnect(closed) = asked {
                closed.connections += connections;
            }
        });
    }

    pub(super) fn on_connections(&mut self, worker: usize, connections: Connections) {
        self.on_answer(worker, |asked| {
            if let Asked::Connections(wanted, all) = asked {
                all.add(connections, wanted);
            }
        });
    }

    pub(super) fn on_subscribers(&mut self, worker: usize, subscribers: &Subscribers) {
        self.on_answer(worker, |asked| {
            if let Asked::Access(_, all) = asked {
                all.add(subscribers);
            }
        });
    }

    pub(super) fn on_events(&mut self, worker: usize, events: Box<Events>) {
        self.on_answer(worker, |asked| {
            if let Asked::Events(kept) = asked {
                *kept = Some(events);
            }
        });
    }

    pub(super) fn on_why(&mut self, worker: usize, why: Why) {
        self.on_answer(worker, |asked| {
            if let Asked::Why(all) = asked {
                all.add(why);
            }
        });
    }

    /// A reactor has answered: to the question that is under way, unless it owes an earlier answer.
    fn on_answer(&mut self, worker: usize, add: impl FnOnce(&mut Asked)) {
        let owed = &mut self.questions.owed[worker];
        if *owed > 0 {
            *owed -= 1;
            return;
        }
        let Some(question) = &mut self.questions.under_way else {
            return;
        };
        add(&mut question.asked);
        question.awaited.retain(|awaited| *awaited != worker);
        if question.awaited.is_empty() {
            self.conclude();
        }
    }

    /// Gives up whoever has had the question for too long.
    pub(super) fn advance_question(&mut self, now: Instant) {
        let Some(question) = &mut self.questions.under_way else {
            return;
        };
        let patience = match question.stage {
            Stage::Redis => return,
            Stage::Reactors => limits::QUESTION_PATIENCE,
            Stage::Disk => limits::STORING_PATIENCE,
        };
        if now < *question.until.get_or_insert(now + patience) {
            return;
        }
        match question.stage {
            Stage::Redis => {}
            Stage::Reactors => {
                question.silent = std::mem::take(&mut question.awaited);
                for &worker in &question.silent {
                    self.questions.owed[worker] += 1;
                }
                log::warn!("{}", sentence_of(&question.silent));
                self.conclude();
            }
            Stage::Disk => self.answer(false),
        }
    }

    /// Nothing more is to come from reactors.
    fn conclude(&mut self) {
        let Some(question) = &mut self.questions.under_way else {
            return;
        };
        let revokes =
            matches!(&question.asked, Asked::Disconnect(closed) if closed.revoked.is_some());
        if revokes && begin_storing(self.stored.as_ref(), &self.shared, question.number) {
            question.stage = Stage::Disk;
            question.until = None;
        } else {
            self.answer(false);
        }
    }

    /// The operator hears of it: the result, or why it is not all that was asked for.
    fn answer(&mut self, is_on_disk: bool) {
        let Some(question) = self.questions.under_way.take() else {
            return;
        };
        let (key, generation) = (question.emitter, question.generation);
        let result = question.result(&self.live.config.access, &self.shared, is_on_disk);
        if let Some(emitter) = self.emitters.get_mut(key)
            && emitter.generation == generation
        {
            emitter.awaits_answer = false;
            match result {
                Ok(result) => emitter.answer(&json!({ "result": result })),
                Err(message) => emitter.refuse_as("unavailable", None, &message),
            }
            self.ready.push(key);
            self.unacked.push(key);
        }
    }

    /// Makes it possible to store what is revoked: the thread's word comes through this letter box.
    pub fn expect_stored(&mut self, post: Post<Stored>, mailbox: Mailbox<Stored>) {
        self.stored = Some((post, mailbox));
    }

    /// Whether it is known whether something was stored.
    pub(super) fn has_stored(&self) -> bool {
        let stored = self.stored.as_ref();
        stored.is_some_and(|(_, mailbox)| mailbox.has_mail())
    }

    pub(super) fn advance_storing(&mut self) {
        let stored = self.stored.as_ref();
        let Some(stored) = stored.and_then(|(_, mailbox)| mailbox.take()) else {
            return;
        };
        // One that took too long is nobody's question any more.
        let number = self.questions.under_way.as_ref().map(|each| each.number);
        if number == Some(stored.question) {
            self.answer(stored.is_stored);
        }
    }
}

/// Has what is revoked written beside the journal, on a thread of its own. False: there is no journal, or it
/// cannot be.
fn begin_storing(
    stored: Option<&(Post<Stored>, Mailbox<Stored>)>,
    shared: &Arc<Shared>,
    question: u64,
) -> bool {
    let Some((post, _)) = stored else {
        return false;
    };
    let Some(folder) = shared.config.journal.clone() else {
        return false;
    };
    let (post, shared) = (post.clone(), Arc::clone(shared));
    let store = move || {
        let all = shared.revoked.all(shared.wall.ms());
        let written = revoked_file::write(&folder, &all);
        if let Err(error) = &written {
            log::error!("what was revoked could not be stored, and a restart forgets it: {error}");
        }
        let is_stored = written.is_ok();
        post.send(Stored {
            question,
            is_stored,
        })
    };
    let thread = std::thread::Builder::new().name("revoked".to_owned());
    match thread.spawn(store) {
        Ok(_) => true,
        Err(error) => {
            log::error!("what was revoked could not be stored, and a restart forgets it: {error}");
            false
        }
    }
}

impl Question {
    /// What there is to say when all reactors have answered, or were given up.
    fn result(
        self,
        access: &AccessTable,
        shared: &Shared,
        is_on_disk: bool,
    ) -> Result<Value, String> {
        if let Asked::Disconnect(closed) = &self.asked {
            return closed.answer(&shared.revoked, is_on_disk, &self.silent);
        }
        if !self.silent.is_empty() {
            return Err(sentence_of(&self.silent));
        }
        Ok(match self.asked {
            Asked::Disconnect(_) => Value::Null,
            Asked::Connections(wanted, all) => all.answer(&wanted),
            Asked::Access(then, all) => {
                let mut answer = all.answer(access, &then);
                let system = then.back_office_for(Namespace::System);
                if shared.canary.is_some() && system.is_none() {
                    answer["warnings"] = json!([CANARY_NEEDS_SYSTEM]);
                }
                answer
            }
            Asked::Events(events) => json!(events),
            Asked::Why(why) => why.answer(),
        })
    }
}

/// Who does not answer.
fn sentence_of(silent: &[usize]) -> String {
    let numbers: Vec<String> = silent.iter().map(usize::to_string).collect();
    match &numbers[..] {
        [one] => format!("worker {one} does not answer: it hangs, or is far behind"),
        some => format!(
            "workers {} do not answer: they hang, or are far behind",
            some.join(", ")
        ),
    }
}

impl Closed {
    /// One that revokes these tokens, or none.
    pub(super) fn of(revoked: Option<Whom>) -> Self {
        Self {
            revoked,
            ..Self::default()
        }
    }

    /// Logs what was done, and gives the answer.
    fn answer(
        &self,
        revoked: &Revocations,
        is_on_disk: bool,
        silent: &[usize],
    ) -> Result<Value, String> {
        let connections = self.connections;
        match &self.revoked {
            None => log::info!(connections; "the operator disconnected connections"),
            Some(whom) => {
                let whose = match whom {
                    Whom::User(_) => "user",
                    Whom::Session(_) => "session",
                };
                log::info!(connections, whose; "the operator revoked tokens");
            }
        }
        if !silent.is_empty() {
            let tokens = match self.revoked {
                Some(_) => "the tokens are refused from now on, ",
                None => "",
            };
            return Err(format!(
                "{}; {tokens}{connections} connections of others were closed, and its own will be when it goes on",
                sentence_of(silent)
            ));
        }
        let Some(whom) = &self.revoked else {
            return match self.others {
                Some(Others::NotYet) => {
                    let were = match connections {
                        1 => "connection of this host was",
                        _ => "connections of this host were",
                    };
                    Err(format!(
                        "{connections} {were} closed; Redis is out of reach, so the other hosts could \
                         not be told: try again"
                    ))
                }
                _ => Ok(json!({ "disconnected": connections })),
            };
        };
        let is_in_redis = matches!(self.others, Some(Others::Told { is_stored: true }));
        let mut answer = json!({
            "revoked": true,
            "disconnected": connections,
            "until": revoked.keep_until(whom, 0),
            "stored": is_on_disk || is_in_redis,
        });
        if let Some(others) = self.others {
            answer["everywhere"] = matches!(others, Others::Told { .. }).into();
        }
        Ok(answer)
    }
}
