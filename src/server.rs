//! Assembles the server: sockets, rings, router and reactors, each moved into its thread.
//!
//! Construction has two phases: first every loop gets its poll and doorbell, then rings are laid
//! between the loops and each part is built around its ends. Called by `cli::serve`; returns when
//! the server has drained.

mod displace;
mod listen;
mod memory;
mod observer;
pub mod past;
mod process;
mod signals;
mod watchdog;

use std::io;
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Instant;

use mio::Poll;
use sd_notify::NotifyState;

use crate::canary;
use crate::clock::Now;
use crate::cluster::Address;
use crate::cluster::Cluster;
use crate::config::{Config, Flags};
use crate::engine::{DOORBELL, Engine, Orders};
use crate::event::NameHasher;
use crate::journal::{Disk, Syncer};
use crate::limits;
use crate::reactor::{Dialect, Reactor};
use crate::ring::{self, Doorbell, Post, Receiver, Sender, ToReactor, ToRouter};
use crate::router::{Ingest, Lane, Router};
use crate::shared::Shared;
use crate::takeover::Hello;
use crate::takeover::door::{FileId, Guard};
use crate::takeover::guest::Commit;
use crate::takeover::host::{Host, Request};
use past::Past;
pub use process::keep_memory_private;
use watchdog::Watchdog;

/// A server whose sockets are open, and that has not begun to serve.
pub struct Server {
    engines: Vec<Engine>,
    shared: Arc<Shared>,
    router_doorbell: Arc<Doorbell>,
    orders: Arc<Orders>,
    ready: String,
    /// The port that was opened, as this host reaches it.
    address: SocketAddr,
    /// What ends the takeover from another process.
    commit: Option<Commit>,
    hello: Hello,
    /// The private socket of the process that this one succeeds, and its file.
    door: Option<(OwnedFd, FileId)>,
    /// The way of a successor to the router.
    ask: Post<Request>,
}

/// All loops, the router's doorbell, what signals ask of it, and a successor's way to it.
type Assembled = (Vec<Engine>, Arc<Doorbell>, Arc<Orders>, Post<Request>);

/// A loop that is being built.
struct Loop {
    poll: Poll,
    doorbell: Arc<Doorbell>,
}

impl Loop {
    fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let doorbell = Doorbell::new(poll.registry(), DOORBELL)?;
        Ok(Self { poll, doorbell })
    }
}

impl Server {
    /// Opens the sockets and builds everything.
    ///
    /// # Errors
    /// A sentence that says what only running shows: a port in use, a socket path that is taken.
    ///
    /// With `takeover` it takes over from the server that runs in this place, if there is one. `flags` are
    /// what the configuration was read by, and is by each reload.
    pub fn open(config: Config, flags: Flags, takeover: bool) -> Result<Self, String> {
        let files_max = listen::raise_file_limit(config.max_connections);
        let hello = Hello::of(&config);
        let started = Instant::now();
        let now = Now::at(started);
        let hasher = NameHasher::default();
        let (mut past, port) = if takeover {
            // The one that runs may be well where this one would not be.
            let refusal = config.redis_url.as_ref().and_then(Address::refusal);
            if let Some(why) = refusal {
                return Err(format!(
                    "redis-url: Redis does not let this process in: {why}"
                ));
            }
            Past::succeeding(&config, &hello, &hasher, now)?
        } else {
            (Past::Nothing, None)
        };
        let (listener, ingest) = match past.take_listeners() {
            Some(listeners) => {
                process::drop_root(&config)?;
                listeners.map_err(|error| format!("the sockets are no good: {error}"))?
            }
            None => {
                let port = port.map_or_else(|| listen::websockets(&config), Ok)?;
                // Only a port may need root. All files are to be the user's own.
                process::drop_root(&config)?;
                (port, Ingest::open(&config.socket, config.socket_folder)?)
            }
        };
        let door = past.take_door();
        past.add_journal(&config, &hasher, now)?;
        let address = listener
            .local_addr()
            .map_err(|error| format!("could not tell the port that was opened: {error}"))?;
        let runs = past.runs(&config, now.wall_ms);
        let mut shared = Shared::new(config, hasher, runs, started)?;
        if let Some(most) = files_max {
            shared.admission.leave_files(most);
        }
        past.revoke_again(&shared, now)?;
        let shared = Arc::new(shared);
        let address = listen::reachable(address);
        let (workers, path) = (shared.config.workers, shared.config.socket.display());
        let scheme = if shared.config.tls.is_some() {
            "wss"
        } else {
            "ws"
        };
        let ready = format!(
            "shopwire ready ws={scheme}://{address}/api/ws ingest={path} workers={workers}"
        );

        let assemble = || -> io::Result<Assembled> {
            let orders = Arc::new(Orders::default());
            let mut loops = (0..workers)
                .map(|_| Loop::new())
                .collect::<io::Result<Vec<_>>>()?;
            // One worker shares its loop with the router; several leave it one of its own.
            let router_loop = if workers == 1 {
                None
            } else {
                Some(Loop::new()?)
            };
            let router_doorbell = Arc::clone(&router_loop.as_ref().unwrap_or(&loops[0]).doorbell);
            let (ask, successors) = ring::mailbox(Arc::clone(&router_doorbell));
            let mut lanes = Vec::new();
            let mut engines = Vec::new();
            for (index, each) in loops.drain(..).enumerate() {
                let (down, ring): (Sender<ToReactor>, Receiver<ToReactor>) =
                    ring::channel(limits::DOWN_RING, &router_doorbell, &each.doorbell);
                let (uplink, up): (Sender<ToRouter>, Receiver<ToRouter>) =
                    ring::channel(limits::UP_RING, &each.doorbell, &router_doorbell);
                lanes.push(Lane { down, up });
                let registry = each.poll.registry().try_clone()?;
                let mut reactor =
                    Reactor::new(Arc::clone(&shared), index, registry, ring, uplink, started);
                reactor.go_on(past.newest(), past.blocks());
                engines.push(Engine {
                    poll: each.poll,
                    doorbell: each.doorbell,
                    router: None,
                    reactor: Some(reactor),
                    orders: Arc::default(),
                    shared: Arc::clone(&shared),
                    number: index,
                });
            }
            if let Some(own) = router_loop {
                engines.push(Engine {
                    poll: own.poll,
                    doorbell: own.doorbell,
                    router: None,
                    reactor: None,
                    orders: Arc::default(),
                    shared: Arc::clone(&shared),
                    number: workers,
                });
            }
            let customers = past.board(&mut engines);
            let engine = engines
                .last_mut()
                .expect("there is at least one worker, config checks");
            let registry = engine.poll.registry().try_clone()?;
            engine.orders = Arc::clone(&orders);
            let bell = Arc::clone(&router_doorbell);
            let disk = |folder| -> io::Result<Box<dyn Disk>> {
                Ok(Box::new(Syncer::start(folder, bell)?))
            };
            let (sequencer, journal) = past.go_on(&shared, disk, now)?;
            let mut router = Router::new(
                Arc::clone(&shared),
                registry,
                listener,
                ingest,
                sequencer,
                journal,
                lanes,
            )?;
            let address = shared.config.redis_url.as_ref();
            if let (Some(address), Some(status)) = (address, &shared.cluster) {
                let bell = &router_doorbell;
                let cluster = Cluster::start(address, &shared, status, bell, past.read_to())?;
                router.join(cluster, now.instant);
            }
            past.board_router(&mut router, customers, now)?;
            router.expect_successors(successors);
            let (read, reloads) = ring::mailbox(Arc::clone(&router_doorbell));
            router.expect_reloads(flags, read, reloads);
            let (store, stored) = ring::mailbox(Arc::clone(&router_doorbell));
            router.expect_stored(store, stored);
            engine.router = Some(router);
            Ok((engines, router_doorbell, orders, ask))
        };
        let (engines, router_doorbell, orders, ask) =
            assemble().map_err(|error| format!("could not set the event loops up: {error}"))?;
        let commit = past
            .commit()
            .map_err(|error| format!("no descriptor is left: {error}"))?;
        Ok(Self {
            engines,
            shared,
            router_doorbell,
            orders,
            ready,
            address,
            commit,
            hello,
            door,
            ask,
        })
    }

    /// The port that was opened, also where any free one was asked for.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Has its WebSockets speak something else than shopwire's protocol: see [`Reactor::speak`].
    pub fn speak(&mut self, answer: Dialect) {
        for engine in &mut self.engines {
            if let Some(reactor) = &mut engine.reactor {
                reactor.speak(answer);
            }
        }
    }

    /// Serves until a signal or `ctl drain` ends it.
    ///
    /// # Errors
    /// A sentence, if a thread could not be started or a loop failed.
    pub fn run(self) -> Result<(), String> {
        let serving = Arc::new(OnceLock::new());
        let router_doorbell = Arc::clone(&self.router_doorbell);
        let host = match self.door {
            Some((listener, file)) => Host::go_on(self.hello, listener, file),
            None => Host::open(self.hello),
        };
        let _guard = await_successors(host, self.ask, router_doorbell, &serving);
        let watchdog = Watchdog::over(&self.engines);
        let mut router: Option<JoinHandle<()>> = None;
        for (index, engine) in self.engines.into_iter().enumerate() {
            let has_router = engine.router.is_some();
            let name = if engine.reactor.is_some() {
                format!("reactor-{index}")
            } else {
                "router".to_owned()
            };
            let serving = Arc::clone(&serving);
            let thread = std::thread::Builder::new()
                .name(name)
                .spawn(move || {
                    serving.wait();
                    drive(engine);
                })
                .map_err(|error| format!("could not start a thread: {error}"))?;
            if has_router {
                router = Some(thread);
            }
        }
        // From here on a signal drains; before, it ends this process, and one that was to be succeeded
        // goes on.
        signals::watch(self.router_doorbell, self.orders)?;
        let canary = Arc::clone(&self.shared);
        observer::start(self.shared, watchdog)
            .map_err(|error| format!("could not start a thread: {error}"))?;
        let mut commit = self.commit;
        if let Some(commit) = &mut commit {
            commit.finish()?;
        }
        // Nothing is left that could fail: until the other process hears of it, it can go on.
        announce(&self.ready)?;
        if let Some(commit) = commit {
            commit.serves();
        }
        serving.get_or_init(|| ());
        // It would find nobody before.
        if let Err(error) = canary::start(canary, self.address) {
            log::error!("the canary cannot fly: {error}");
        }
        tell_supervisor();
        // The router ends last, or when the drain timeout is over: whatever a reactor has not
        // done by then dies with the process.
        if router.is_some_and(|router| router.join().is_err()) {
            return Err("the router ended by a defect; see the log".to_owned());
        }
        log::info!("drained");
        Ok(())
    }
}

/// Lets a later process take over from this one; without that it serves all the same.
fn await_successors(
    host: Result<Host, String>,
    ask: Post<Request>,
    router: Arc<Doorbell>,
    serving: &Arc<OnceLock<()>>,
) -> Option<Guard> {
    let started = host.and_then(|host| {
        host.start(ask, router, Arc::clone(serving))
            .map_err(|error| error.to_string())
    });
    started
        .inspect_err(|error| log::warn!("no process will be able to take over: {error}"))
        .ok()
}

/// Tells systemd, if it started us or the one before us, that we serve, and that we are the one.
fn tell_supervisor() {
    let states = [NotifyState::MainPid(std::process::id()), NotifyState::Ready];
    if let Err(error) = sd_notify::notify(false, &states) {
        log::warn!("could not notify the service manager: {error}");
    }
}

/// Half a server is no server: a loop that fails takes the process with it.
fn drive(engine: Engine) {
    if let Err(error) = engine.run() {
        log::error!("an event loop failed: {error}");
        std::process::exit(1);
    }
}

/// The one line that `serve` ever prints on stdout.
fn announce(ready: &str) -> Result<(), String> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{ready}")
        .and_then(|()| stdout.flush())
        .map_err(|error| format!("could not print the ready line: {error}"))
}
