//! `shopwire emit --demo`: plays a small shop through the ingest socket, for trying things out.
//!
//! Owns the pace and the connection: one event at a time, each settled before the next, and again
//! under the same key after a lost connection, so nothing is missing and nothing comes twice. What
//! happens in the shop is [`shop`]'s; [`visitors`] has its customers online.

mod shop;
mod visitors;

use std::fmt::Display;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::answers::{Answer, Answers, Next};
use super::{WRONG_USAGE, fail, unreachable_socket};
use crate::access::Role;
use crate::auth::{KeySettings, Subject, mint};
use crate::clock::wall_ms;
use crate::config;
use shop::{CUSTOMERS, Event, Shop};
use visitors::{Entrance, Visitors};

/// How the shop is played.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// Play a small invented shop until interrupted: customers, orders, stock, prices, payments
    #[arg(long, conflicts_with_all = ["kind", "data", "to_roles", "to_users", "to_owners", "exclude_users", "exclude_session", "key"])]
    pub(super) demo: bool,
    /// Events a second of the shop, 0.1 to 1000
    #[arg(long, value_name = "N", default_value = "3", conflicts_with = "kind", value_parser = rate)]
    demo_rate: f64,
    /// The same number plays the same shop again; by default each run is another one
    #[arg(long, value_name = "N", conflicts_with = "kind")]
    demo_seed: Option<u64>,
    /// For the server that plays a shop itself: read from standard input how the customers get in, and
    /// end when it ends, as it does with the process that holds its other end
    #[arg(long, requires = "demo", hide = true)]
    entrance_from_stdin: bool,
}

/// How long the server may take for an ack: it holds emitters up while it cannot follow.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the end of the input is looked for while an ack is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often pings are looked for: the server waits for an answer at least 100 ms, and usually 5 s.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// How long a customer's token is good, as the tokens that `serve --dev` prints.
const TOKEN_TTL: Duration = Duration::from_secs(12 * 3600);
/// Waits between attempts to connect double from the first to the second of these.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);

pub(super) fn run(arguments: &Arguments, socket: Option<&Path>) -> ExitCode {
    let seed = arguments.demo_seed.unwrap_or_else(|| fastrand::u64(..));
    let entrance = match arguments.entrance_from_stdin.then(entrance).transpose() {
        Ok(entrance) => entrance,
        Err(sentence) => return fail(WRONG_USAGE, sentence),
    };
    let mut demo = Demo {
        path: config::socket_to_talk_to(socket),
        watch: Watch {
            is_wanted: entrance.is_some(),
        },
        visitors: Visitors::new(entrance),
        rate: arguments.demo_rate,
        pace: fastrand::Rng::with_seed(seed),
        // Names in keys and of orders, so that one run's are not another's.
        started_ms: wall_ms(),
        sent: 0,
    };
    note(format_args!("playing a shop (--demo-seed {seed})"));
    demo.play(&mut Shop::open(seed, demo.started_ms / 1000));
    ExitCode::SUCCESS
}

fn entrance() -> Result<Entrance, String> {
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_str(&line).map_err(|error| error.to_string()))
        .map_err(|why| format!("standard input does not say how customers get in: {why}"))
}

/// What the server tells the process that plays its shop: tokens for all who may come to it.
///
/// # Errors
/// A sentence, if no token can be made.
pub(super) fn entrance_line(keys: &KeySettings, address: SocketAddr) -> Result<String, String> {
    let token = |(id, _): (&str, &str)| {
        let subject = Subject {
            user: id,
            role: Role::Customer,
            session: None,
        };
        Ok((id.to_owned(), mint(keys, subject, TOKEN_TTL, wall_ms())?))
    };
    let entrance = Entrance {
        address: address.to_string(),
        tokens: CUSTOMERS
            .into_iter()
            .map(token)
            .collect::<Result<_, String>>()?,
    };
    let line = serde_json::to_string(&entrance).expect("strings in a map serialize");
    Ok(line + "\n")
}

/// The process that this one is to end with is gone.
struct Ended;

struct Demo {
    path: PathBuf,
    watch: Watch,
    visitors: Visitors,
    rate: f64,
    pace: fastrand::Rng,
    started_ms: u64,
    sent: u64,
}

impl Demo {
    /// Plays until [`Watch`] tells the end.
    fn play(&mut self, shop: &mut Shop) {
        let mut due = Instant::now();
        let mut link = None;
        loop {
            let event = shop.next(wall_ms());
            let is_opening = event.is_opening;
            let line = self.line(&event);
            if self.settle(&line, &mut link).is_err() {
                return;
            }
            if is_opening {
                continue;
            }
            self.visitors.follow(&shop.visitors());
            due = (due + self.gap()).max(Instant::now());
            if self.pause(due).is_err() {
                return;
            }
        }
    }

    /// Waits until `due` while customers answer pings, or for the end.
    fn pause(&mut self, due: Instant) -> Result<(), Ended> {
        loop {
            self.visitors.keep();
            self.watch.pause(due.min(Instant::now() + KEEP_EVERY))?;
            if Instant::now() >= due {
                return Ok(());
            }
        }
    }

    fn line(&mut self, event: &Event) -> String {
        self.sent += 1;
        let key = format!("demo-{}-{}", self.started_ms, self.sent);
        let line = serde_json::json!({"type": event.kind.name(), "data": event.data, "key": key});
        format!("{line}\n")
    }

    /// Between half and one and a half times the mean: a shop does not tick.
    fn gap(&mut self) -> Duration {
        Duration::from_secs_f64((0.5 + self.pace.f64()) / self.rate)
    }

    /// Sends a line until the server has settled it, over as many connections as that takes.
    fn settle(&mut self, line: &str, link: &mut Option<Link>) -> Result<(), Ended> {
        loop {
            let open = match link.take() {
                Some(open) => open,
                None => self.connect()?,
            };
            match open.settle(line, &self.watch)? {
                Outcome::Settled(open) => {
                    *link = Some(open);
                    return Ok(());
                }
                Outcome::Unavailable(open, why) => {
                    note(why);
                    *link = Some(open);
                    self.watch.pause(Instant::now() + RETRY_MAX)?;
                }
                Outcome::Lost(why) => note(format_args!("{why}; connecting again")),
            }
        }
    }

    /// A connection; waits for a server as long as there is none.
    fn connect(&self) -> Result<Link, Ended> {
        let mut wait = RETRY_FIRST;
        let mut told = false;
        loop {
            match Link::open(&self.path) {
                Ok(link) => return Ok(link),
                // One that is just starting is no news.
                Err(error) if !told && wait == RETRY_MAX => {
                    told = true;
                    note(format_args!(
                        "{}; waiting for it",
                        unreachable_socket(&self.path, &error)
                    ));
                }
                Err(_) => {}
            }
            self.watch.pause(Instant::now() + wait)?;
            wait = (wait * 2).min(RETRY_MAX);
        }
    }
}

/// A connection to the ingest socket.
struct Link {
    socket: UnixStream,
    answers: Answers,
    lines: u64,
}

enum Outcome {
    /// Accepted, known by its key, or refused for good and told.
    Settled(Link),
    /// To be sent again.
    Unavailable(Link, String),
    Lost(String),
}

impl Link {
    fn open(path: &Path) -> io::Result<Self> {
        let socket = UnixStream::connect(path)?;
        socket.set_read_timeout(Some(LOOK_EVERY))?;
        socket.set_write_timeout(Some(ACK_TIMEOUT))?;
        Ok(Self {
            answers: Answers::new(socket.try_clone()?),
            socket,
            lines: 0,
        })
    }

    fn settle(mut self, line: &str, watch: &Watch) -> Result<Outcome, Ended> {
        if self.socket.write_all(line.as_bytes()).is_err() {
            return Ok(Outcome::Lost("the server is gone".into()));
        }
        self.lines += 1;
        let mut unavailable = None;
        let until = Instant::now() + ACK_TIMEOUT;
        loop {
            match self.answers.next() {
                Ok(Next::Answer(Answer::Ack { ack, .. })) if ack >= self.lines => {
                    return Ok(match unavailable {
                        Some(why) => Outcome::Unavailable(self, why),
                        None => Outcome::Settled(self),
                    });
                }
                Ok(Next::Answer(Answer::Error { error })) if error.code == "unavailable" => {
                    unavailable = Some(error.to_string());
                }
                Ok(Next::Answer(Answer::Error { error })) => note(error),
                Ok(Next::Answer(_)) => {}
                Ok(Next::Nothing) if Instant::now() < until => watch.look()?,
                Ok(Next::Nothing) => {
                    let seconds = ACK_TIMEOUT.as_secs();
                    return Ok(Outcome::Lost(format!("no ack within {seconds} s")));
                }
                Ok(Next::End) => {
                    return Ok(Outcome::Lost("the server closed the connection".into()));
                }
                Err(error) => return Ok(Outcome::Lost(error.to_string())),
            }
        }
    }
}

/// Looks out for the end of standard input, where that is wanted.
struct Watch {
    is_wanted: bool,
}

impl Watch {
    /// Waits until `due`, or for the end.
    fn pause(&self, due: Instant) -> Result<(), Ended> {
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.look();
            }
            if !self.is_wanted {
                std::thread::sleep(left);
                continue;
            }
            if Self::is_readable(left) {
                self.read()?;
            }
        }
    }

    fn look(&self) -> Result<(), Ended> {
        if self.is_wanted && Self::is_readable(Duration::ZERO) {
            return self.read();
        }
        Ok(())
    }

    fn is_readable(within: Duration) -> bool {
        let stdin = io::stdin();
        let mut fds = [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)];
        let within = Timespec::try_from(within).unwrap_or(Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        });
        // Interrupted or failed is not readable; whoever asks asks again.
        matches!(poll(&mut fds, Some(&within)), Ok(1..))
    }

    /// What stands in the input is of no interest; its end is.
    fn read(&self) -> Result<(), Ended> {
        match io::stdin().read(&mut [0; 256]) {
            Ok(0) => Err(Ended),
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(Ended),
            _ => Ok(()),
        }
    }
}

fn note(sentence: impl Display) {
    eprintln!("demo: {sentence}");
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.1..=1000.0).contains(&rate) => Ok(rate),
        _ => Err("must be a number of events a second from 0.1 to 1000".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_within_bounds() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for wrong in ["", "x", "0", "-1", "1001", "NaN", "inf"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
