//! What is read again while the server runs, on SIGHUP and `ctl reload`: the settings, with the keys and
//! certificates that they name.
//!
//! Part of the router. Files are read on a thread of their own, so that a slow disk holds up no event,
//! from the same flags and environment as at start. What is good is in force from then on, in all
//! reactors; if anything is wrong all stays as it was, and whoever asked hears why.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::Router;
use crate::auth::SecretsFrom;
use crate::canary::Canary;
use crate::clock::wall_ms;
use crate::config::{Config, Flags, Renewed};
use crate::files::Reading;
use crate::limits;
use crate::live::Live;
use crate::ring::{Mailbox, Post, ToReactor};
use crate::shared::Shared;

/// How far a reload has come.
#[derive(Default)]
pub(super) struct Reload {
    /// How to read again.
    reader: Option<Reader>,
    /// The one that is under way.
    under_way: Option<UnderWay>,
    /// How many have been begun: the newest one's number.
    begun: u64,
    /// What those read that were given up, and have not ended.
    stuck: Vec<(u64, Reading)>,
    /// A signal came meanwhile: then what was read may be too old.
    again: bool,
}

struct UnderWay {
    number: u64,
    asker: Asker,
    reading: Reading,
    /// It is given up then.
    until: Instant,
}

/// Reads everything again; what is in force, and what is revoked, it is given.
type Read = dyn Fn(&Config, &Arc<Shared>) -> Outcome + Send + Sync;

struct Reader {
    read: Arc<Read>,
    /// The way of the reading thread back to the router.
    post: Post<Answer>,
    mailbox: Mailbox<Answer>,
}

/// Of which reload this is the outcome.
pub type Answer = (u64, Outcome);

/// Who asked for a reload.
#[derive(Clone, Copy)]
pub(super) enum Asker {
    /// SIGHUP.
    Signal,
    /// `ctl`: the emitter with this key and generation.
    Operator(usize, u32),
}

/// What was read, or a sentence about what is wrong.
pub type Outcome = Result<Renewal, String>;

/// New for old.
pub struct Renewal {
    live: Arc<Live>,
    /// The settings that name files with keys.
    read: Vec<&'static str>,
    /// Other settings with a new value.
    changed: Vec<&'static str>,
    /// Settings whose new value needs a restart.
    waiting: Vec<&'static str>,
    warnings: Vec<String>,
}

/// Reads everything, and puts what can change into the place of what is in force.
fn read_again(flags: &Flags, in_force: &Config, shared: &Shared) -> Outcome {
    let config = Config::load(flags).map_err(|error| error.to_string())?;
    let Renewed {
        config,
        read,
        changed,
        waiting,
    } = in_force.renewed(config);
    let tls = config.tls.as_ref();
    let mut warnings: Vec<String> = tls
        .and_then(|tls| tls.untimely(wall_ms()))
        .into_iter()
        .collect();
    if config.jwt.secrets_from == SecretsFrom::Environment {
        warnings.push(
            "WS_JWT_SECRET stands in this process's environment and stays as it is: only a secret in a \
             file can change without a restart"
                .to_owned(),
        );
    }
    let own_pass = shared.canary.as_ref().map(Canary::pass);
    Ok(Renewal {
        live: Arc::new(Live::new(Arc::new(config), &shared.revoked, own_pass)?),
        read,
        changed,
        waiting,
        warnings,
    })
}

impl Renewal {
    fn log(&self) {
        for warning in &self.warnings {
            log::warn!("{warning}");
        }
        match &self.read[..] {
            [] => log::info!("reloaded: no setting here names a file with keys"),
            read => log::info!("reloaded: {}", read.join(", ")),
        }
        if !self.changed.is_empty() {
            log::info!("changed: {}", self.changed.join(", "));
        }
        if !self.waiting.is_empty() {
            log::warn!("changed after a restart: {}", self.waiting.join(", "));
        }
    }

    fn answer(&self) -> serde_json::Value {
        serde_json::json!({
            "reloaded": self.read,
            "changed": self.changed,
            "afterRestart": self.waiting,
            "keys": self.live.verifier.keys(),
            "warnings": self.warnings,
        })
    }
}

impl Reload {
    /// Whether there is news of it.
    pub(super) fn has_news(&self) -> bool {
        let reader = self.reader.as_ref();
        reader.is_some_and(|reader| reader.mailbox.has_mail())
    }

    /// Whether one is under way.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// When the one that is under way is given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.under_way.as_ref().map(|under_way| under_way.until)
    }

    /// What has come of the one that is under way, if that is known now or it has taken too long.
    fn take_outcome(&mut self, now: Instant) -> Option<(Asker, Outcome)> {
        let mailbox = &self.reader.as_ref()?.mailbox;
        while let Some((number, outcome)) = mailbox.take() {
            self.stuck.retain(|(stuck, _)| *stuck != number);
            match self
                .under_way
                .take_if(|under_way| under_way.number == number)
            {
                Some(under_way) => return Some((under_way.asker, outcome)),
                None => {
                    log::info!("a reload that was given up has ended; what it read is not used")
                }
            }
        }
        let given_up = self.under_way.take_if(|under_way| now >= under_way.until)?;
        let seconds = limits::RELOAD_PATIENCE.as_secs();
        let why = match given_up.reading.file() {
            Some(file) => format!("still reading {} after {seconds} s", file.display()),
            None => format!("the files were not read within {seconds} s"),
        };
        self.stuck.push((given_up.number, given_up.reading));
        Some((given_up.asker, Err(why)))
    }
}

impl Router {
    /// Makes reloading possible: settings are from these flags, and what is read comes through this
    /// letter box.
    pub fn expect_reloads(&mut self, flags: Flags, post: Post<Answer>, mailbox: Mailbox<Answer>) {
        let read =
            move |in_force: &Config, shared: &Arc<Shared>| read_again(&flags, in_force, shared);
        self.expect_reloads_by(Arc::new(read), post, mailbox);
    }

    pub(super) fn expect_reloads_by(
        &mut self,
        read: Arc<Read>,
        post: Post<Answer>,
        mailbox: Mailbox<Answer>,
    ) {
        self.reload.reader = Some(Reader {
            read,
            post,
            mailbox,
        });
    }

    /// SIGHUP.
    pub fn reload(&mut self) {
        if self.reload.is_under_way() {
            self.reload.again = true;
        } else if let Err(error) = self.begin_reload(Asker::Signal) {
            log::error!("reloading failed: {error}");
        }
    }

    /// Begins to read; one at a time.
    pub(super) fn begin_reload(&mut self, asker: Asker) -> io::Result<()> {
        let Some(reader) = &self.reload.reader else {
            return Err(io::Error::other("this process reads nothing again"));
        };
        let stuck = &self.reload.stuck;
        if stuck.len() >= limits::RELOADS_STUCK_MAX {
            let files = stuck.iter().filter_map(|(_, reading)| reading.file());
            let mut files: Vec<String> = files.map(|file| file.display().to_string()).collect();
            files.dedup();
            let what = format!(
                "{} earlier ones are still reading {}",
                stuck.len(),
                files.join(", ")
            );
            return Err(io::Error::other(what));
        }
        let (read, post) = (Arc::clone(&reader.read), reader.post.clone());
        let in_force = Arc::clone(&self.live.config);
        let shared = Arc::clone(&self.shared);
        let (number, reading) = (self.reload.begun + 1, Reading::default());
        let note = reading.clone();
        std::thread::Builder::new()
            .name("reload".to_owned())
            .spawn(move || {
                note.note_here();
                post.send((number, read(&in_force, &shared)))
            })?;
        self.reload.begun = number;
        self.reload.under_way = Some(UnderWay {
            number,
            asker,
            reading,
            until: Instant::now() + limits::RELOAD_PATIENCE,
        });
        Ok(())
    }

    /// Puts what was read into force.
    pub(super) fn advance_reload(&mut self, now: Instant) {
        let Some((asker, outcome)) = self.reload.take_outcome(now) else {
            return;
        };
        match &outcome {
            Ok(renewal) => {
                renewal.log();
                self.live = Arc::clone(&renewal.live);
                let connect_rate = self.live.config.connect_rate;
                self.shared.admission.set_connect_rate(connect_rate);
                let router = &self.shared.stats.router;
                router.certificate_end.set(self.live.certificate_end());
                if let Some(canary) = &self.shared.canary {
                    canary.renew(Arc::clone(&self.live));
                }
                self.hold_emitters_to_rules();
                for lane in &mut self.lanes {
                    lane.down.send(ToReactor::Renew(Arc::clone(&self.live)));
                }
            }
            Err(why) => log::error!("nothing was reloaded, all stays as it was: {why}"),
        }
        let word = if outcome.is_ok() { "done" } else { "failed" };
        self.shared.stats.router.reloads.count(word);
        self.answer_reload(asker, &outcome);
        if std::mem::take(&mut self.reload.again) {
            self.reload();
        }
    }

    fn answer_reload(&mut self, asker: Asker, outcome: &Outcome) {
        let Asker::Operator(key, generation) = asker else {
            return;
        };
        let Some(emitter) = self.emitters.get_mut(key) else {
            return;
        };
        if emitter.generation != generation {
            return;
        }
        emitter.awaits_answer = false;
        match outcome {
            Ok(renewal) => emitter.answer(&serde_json::json!({ "result": renewal.answer() })),
            Err(why) => emitter.refuse_as("reload_failed", None, why),
        }
        self.ready.push(key);
    }
}
