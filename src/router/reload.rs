//! What is read again while the server runs, on SIGHUP and `ctl reload`.
//!
//! Part of the router. The files are read on a thread of their own, so that a slow disk holds up no
//! event. What is good takes effect for those who come from then on; if anything is wrong all stays
//! as it was, and whoever asked hears why. Each thing that can be renewed stands in [`read_again`].

use std::io;
use std::sync::Arc;

use super::Router;
use crate::clock::wall_ms;
use crate::config::Config;
use crate::ring::{Mailbox, Post, ToReactor};
use crate::tls::{Acceptor, Fault, Identity, acceptor};

/// How far a reload has come.
#[derive(Default)]
pub(super) struct Reload {
    /// The way of the reading thread back to the router.
    letters: Option<(Post<Outcome>, Mailbox<Outcome>)>,
    /// Who asked for the one that is under way.
    under_way: Option<Asker>,
    /// A signal came meanwhile: then what was read may be too old.
    again: bool,
}

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
#[derive(Default)]
pub struct Renewal {
    /// The settings that were read again.
    settings: Vec<&'static str>,
    acceptor: Option<Acceptor>,
    /// When the certificate ends, in seconds since 1970.
    certificate_end: Option<u64>,
    warnings: Vec<String>,
}

/// Reads everything that can be renewed.
fn read_again(config: &Config) -> Outcome {
    let mut renewal = Renewal::default();
    if let Some(tls) = &config.tls {
        let identity = Identity::load(&tls.files).map_err(|fault| match fault {
            Fault::Cert(why) => format!("tls-cert = {:?}: {why}", tls.files.cert),
            Fault::Key(why) => format!("tls-key = {:?}: {why}", tls.files.key),
        })?;
        let untimely = identity.untimely(wall_ms());
        let path = tls.files.cert.display();
        renewal
            .warnings
            .extend(untimely.map(|what| format!("{path}: {what}")));
        renewal.acceptor = Some(acceptor(&identity)?);
        renewal.certificate_end = identity.ends_at();
        renewal.settings.extend(["tls-cert", "tls-key"]);
    }
    Ok(renewal)
}

impl Reload {
    /// Whether there is news of it.
    pub(super) fn has_news(&self) -> bool {
        let has_mail = |(_, mailbox): &(_, Mailbox<Outcome>)| mailbox.has_mail();
        self.letters.as_ref().is_some_and(has_mail)
    }

    /// Whether one is under way.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }
}

impl Router {
    /// Makes reloading possible: what is read comes through this letter box.
    pub fn expect_reloads(&mut self, post: Post<Outcome>, mailbox: Mailbox<Outcome>) {
        self.reload.letters = Some((post, mailbox));
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
        let Some((post, _)) = &self.reload.letters else {
            return Err(io::Error::other("this process reads nothing again"));
        };
        let (post, shared) = (post.clone(), Arc::clone(&self.shared));
        std::thread::Builder::new()
            .name("reload".to_owned())
            .spawn(move || post.send(read_again(&shared.config)))?;
        self.reload.under_way = Some(asker);
        Ok(())
    }

    /// Puts what was read into force.
    pub(super) fn advance_reload(&mut self) {
        let letters = self.reload.letters.as_ref();
        let Some(outcome) = letters.and_then(|(_, mailbox)| mailbox.take()) else {
            return;
        };
        let Some(asker) = self.reload.under_way.take() else {
            return;
        };
        match &outcome {
            Ok(renewal) => {
                for warning in &renewal.warnings {
                    log::warn!("{warning}");
                }
                let settings = match &renewal.settings[..] {
                    [] => "no setting here names a file that is read again".to_owned(),
                    some => some.join(", "),
                };
                log::info!("reloaded: {settings}");
                if let Some(end) = renewal.certificate_end {
                    self.shared.stats.router.certificate_end.set(end);
                }
                if let Some(acceptor) = &renewal.acceptor {
                    for lane in &mut self.lanes {
                        lane.down.send(ToReactor::Renew(Acceptor::clone(acceptor)));
                    }
                }
            }
            Err(why) => log::error!("nothing was reloaded, all stays as it was: {why}"),
        }
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
            Ok(renewal) => emitter.answer(&serde_json::json!({
                "result": { "reloaded": renewal.settings, "warnings": renewal.warnings }
            })),
            Err(why) => emitter.refuse_as("reload_failed", None, why),
        }
        self.ready.push(key);
    }
}
