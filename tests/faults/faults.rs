//! What is done to the server: it is killed, stopped, kept from writing its journal, and has clients that do not read.
//!
//! One thing at a time, in an order that is drawn: every sort once, and then anew. What clients and emitters do by themselves
//! goes on all the while.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::harness::{DEADLINE, Server, Setup, wait_until};
use crate::plan::Plan;
use crate::run::{Count, Run};
use crate::universe::mix;

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    /// Twice, the second time while clients resume.
    KillTwice,
    /// Twice, the second time while it reads its journal, or soon after.
    KillAtStart,
    Stop,
    /// No file may grow at all.
    FullDisk,
    /// The journal's file in use may grow by a part of a write.
    TornWrite,
    Laggard,
    Takeover,
}

/// How much of the end of a server's log is kept.
const LAST_WORDS: usize = 4_000;
/// How long a client that does not read may take to be too slow, before another one is tried.
const TOO_LONG: Duration = Duration::from_secs(3);

/// The server, and what it is started with.
pub struct Stage {
    setup: Setup,
    server: Option<Server>,
    pub address: SocketAddr,
    pub socket: PathBuf,
    journal: PathBuf,
    rng: Rng,
    deck: Vec<Fault>,
    plan: Plan,
    /// What the servers before this one logged last.
    past_words: String,
}

impl Stage {
    /// Starts the first server.
    pub fn set(plan: &Plan) -> Stage {
        let mut rng = Rng::with_seed(mix(plan.seed, 1));
        let address = own_address();
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let listen = ["--host", &host, "--port", &port];
        let limits = ["--outbox-limit", "16KiB", "--drain-timeout", "2s"];
        let drawn = [
            ["--workers", draw(&mut rng, &["1", "2", "3"])],
            [
                "--journal-sync",
                draw(&mut rng, &["batch", "batch", "interval:50ms", "never"]),
            ],
        ];
        eprintln!("with {}", drawn.concat().join(" "));
        let setup = Setup::new(&[&listen[..], &limits, &drawn.concat()].concat());
        let journal = setup.dir().join("journal");
        let setup = setup.env("WS_JOURNAL", &journal.display().to_string());
        let server = setup.start();
        Stage {
            address: server.address,
            socket: server.socket.clone(),
            setup,
            server: Some(server),
            journal,
            deck: Vec::new(),
            plan: *plan,
            past_words: String::new(),
            rng,
        }
    }

    pub fn server(&self) -> &Server {
        self.server
            .as_ref()
            .expect("one is started as soon as another has ended")
    }

    /// One fault after the other until time is up, and each of them at least once. Events come all the
    /// while.
    pub fn play(&mut self, run: &Run) {
        let ends = run.began() + self.plan.time;
        let mut told = Instant::now();
        let mut rounds = 0;
        while !run.is_over() && (Instant::now() < ends || rounds == 0) {
            thread::sleep(self.plan.pause().mul_f64(self.rng.f64()));
            let fault = self.draw();
            self.commit(fault, run);
            rounds += u64::from(self.deck.is_empty());
            if told.elapsed() > Duration::from_secs(30) {
                told = Instant::now();
                eprintln!(
                    "{:>6.0} s: {} events, {} deliveries, {} kills",
                    run.began().elapsed().as_secs_f64(),
                    run.acknowledged(),
                    run.counts.get(Count::Deliveries),
                    run.counts.get(Count::Kills)
                );
            }
        }
    }

    fn draw(&mut self) -> Fault {
        if self.deck.is_empty() {
            self.deck = vec![
                Fault::Kill,
                Fault::KillTwice,
                Fault::KillAtStart,
                Fault::Stop,
                Fault::FullDisk,
                Fault::TornWrite,
                Fault::Laggard,
            ];
            if self.plan.takeover {
                self.deck.push(Fault::Takeover);
            }
            self.rng.shuffle(&mut self.deck);
        }
        self.deck.pop().expect("it was filled above")
    }

    fn commit(&mut self, fault: Fault, run: &Run) {
        let count = match fault {
            Fault::Kill => {
                self.kill();
                Count::Kills
            }
            Fault::KillTwice => {
                self.kill();
                run.counts.add(Count::Kills, 1);
                thread::sleep(Duration::from_millis(self.rng.u64(..100)));
                self.kill();
                Count::Kills
            }
            Fault::KillAtStart => {
                self.take_server().kill();
                self.start_in_vain();
                run.counts.add(Count::Kills, 1);
                self.server = Some(self.setup.start());
                Count::Kills
            }
            Fault::Stop => {
                self.take_server().stop();
                self.server = Some(self.setup.start());
                Count::Stops
            }
            Fault::FullDisk => {
                self.fill_disk(None);
                Count::FullDisks
            }
            Fault::TornWrite => {
                let room = self.rng.u64(1..3_000);
                self.fill_disk(Some(room));
                Count::TornWrites
            }
            Fault::Laggard => match self.let_lag(run) {
                true => Count::Laggards,
                false => return,
            },
            Fault::Takeover => {
                let next = self.setup.start_with(&["--takeover"]);
                let mut before = self.server.replace(next).expect("one is running");
                let (status, _) = before.exit_within(DEADLINE);
                assert_eq!(
                    status.code(),
                    Some(0),
                    "exit of a server that was taken over"
                );
                Count::Takeovers
            }
        };
        run.counts.add(count, 1);
    }

    fn kill(&mut self) {
        self.take_server().kill();
        self.server = Some(self.setup.start());
    }

    /// Starts a server that is killed before anybody has waited for it.
    fn start_in_vain(&mut self) {
        let mut command = self.setup.command("serve");
        let silent = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut server = silent.spawn().unwrap();
        thread::sleep(Duration::from_millis(self.rng.u64(..60)));
        server.kill().unwrap();
        server.wait().unwrap();
    }

    fn take_server(&mut self) -> Server {
        let server = self.server.take().expect("one is running");
        self.past_words = end_of(
            &(std::mem::take(&mut self.past_words) + &server.stderr()),
            LAST_WORDS,
        );
        server
    }

    /// Lets the journal write nothing, or so many bytes more, until it fails, and for a while after that.
    /// A kill meanwhile would take away what has been delivered and could not be written: that is not
    /// promised, so the server is left alone until it has written everything.
    fn fill_disk(&mut self, room: Option<u64>) {
        let share = self.rng.f64();
        let server = self.server();
        let is_failing = || server.stats()["journal"]["failing"] == true;
        let mut in_use = PathBuf::new();
        wait_until("the journal cannot be written", || {
            // It goes on in another file when one is full.
            let file = self.newest_file();
            if file != in_use {
                // A file that could not be begun is gone at once.
                let bytes = fs::metadata(&file).map_or(0, |metadata| metadata.len());
                server.limit_files(Some(room.map_or(1, |room| bytes + room)));
                in_use = file;
            }
            is_failing()
        });
        thread::sleep(self.plan.pause().mul_f64(share));
        server.limit_files(None);
        wait_until("the journal can be written again", || !is_failing());
    }

    /// The file that the journal appends to.
    fn newest_file(&self) -> PathBuf {
        let files = fs::read_dir(&self.journal)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let events = files.filter(|path| path.extension().is_some_and(|end| end == "events"));
        events.max().expect("a journal has a file for every run")
    }

    /// Lets a client that sees much stop reading until one is closed for being slow, and another client
    /// if that takes too long. False: none was.
    fn let_lag(&mut self, run: &Run) -> bool {
        let candidates: Vec<usize> = run.universe.people_who(|person| person.may_lag()).collect();
        let slow = |server: &Server| server.stats()["slowConsumers"].as_u64();
        let before = slow(self.server());
        let began = Instant::now();
        let mut is_closed = false;
        while !is_closed && began.elapsed() < DEADLINE && !run.is_over() {
            run.set_laggard(self.rng.choice(&candidates).copied());
            let chosen = Instant::now();
            while !is_closed && chosen.elapsed() < TOO_LONG && !run.is_over() {
                thread::sleep(Duration::from_millis(5));
                is_closed = slow(self.server()) > before;
            }
        }
        run.set_laggard(None);
        is_closed
    }

    /// What the servers before this one logged last; a test that fails prints all of this one's.
    pub fn past_words(&self) -> &str {
        &self.past_words
    }

    /// Stops the last server, in order.
    pub fn end(&mut self) {
        self.take_server().stop();
    }
}

fn draw<'a>(rng: &mut Rng, values: &[&'a str]) -> &'a str {
    values[rng.usize(..values.len())]
}

/// A loopback address of this process's own, with a free port. While no server is there nobody else
/// takes it; and clients, which come from 127.0.0.1, are never connected to themselves, as happens
/// with a port that the kernel may also give to an outgoing connection.
fn own_address() -> SocketAddr {
    let pid = std::process::id();
    let ip = Ipv4Addr::new(
        127,
        100 + (pid >> 16) as u8 % 100,
        (pid >> 8) as u8,
        2 + pid as u8 % 250,
    );
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

fn end_of(text: &str, bytes: usize) -> String {
    let from = text.ceil_char_boundary(text.len().saturating_sub(bytes));
    text[from..].to_owned()
}
