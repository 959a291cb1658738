//! The server under test: started here, one host or several that a Redis joins, or already running and attached to.
//!
//! Owns the started processes and their folders, and ends those processes, and no others, when dropped.

pub mod launch;
mod redis;
mod target;

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};
use tempfile::TempDir;

use crate::interrupt::Interrupt;
use crate::{priority, process};
pub use target::{Host, Target};

/// How long a server may take until it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a server may take at most to end after SIGTERM, before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// A server under test.
pub struct Server {
    /// How to reach it.
    pub target: Target,
    /// What it calls itself.
    pub name: String,
    /// The hosts, in order, and then the Redis that joins them: none ends before those who need it.
    started: Vec<Started>,
}

/// How hosts become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// How many there are.
    pub hosts: u32,
    /// The program of the Redis that is started for them.
    pub redis: PathBuf,
    /// Cores it shall run on.
    pub redis_cores: Option<Vec<usize>>,
}

/// How a server is started.
#[derive(Debug, Clone)]
pub struct Start {
    /// One of [`launch::KNOWN`], or a build of shopwire by its path.
    pub server: String,
    /// Connections it will have to take.
    pub connections: u32,
    /// Its reactors, where it has such.
    pub workers: Option<u32>,
    /// Cores it shall run on.
    pub cores: Option<Vec<usize>>,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// The authorities to trust, where it speaks TLS.
    pub ca: Option<PathBuf>,
    /// Bytes of history that it must keep at least, if it matters.
    pub history: Option<u64>,
    /// Each event is one customer's: the one thing that the floor, which parses nothing, must be told.
    pub is_unicast: bool,
    /// How long it may take to end after SIGTERM, up to 15 s.
    pub patience: Duration,
}

/// A process that was started.
struct Started {
    child: Child,
    /// The same process, for signals.
    process: OwnedFd,
    /// Holds its sockets, secret and log; removed with it.
    folder: TempDir,
    /// How long it may take to end.
    patience: Duration,
}

impl Server {
    /// Attaches to a running server.
    ///
    /// # Errors
    /// Where the address is none or the secret cannot be read.
    pub fn attach(
        url: &str,
        socket: &Path,
        secret_file: &Path,
        ca: Option<&Path>,
    ) -> Result<Self, String> {
        let secret =
            fs::read(secret_file).map_err(|error| format!("{}: {error}", secret_file.display()))?;
        let secret = secret.strip_suffix(b"\n").unwrap_or(&secret);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret).to_vec();
        let mut target = Target::new(url, socket.to_path_buf(), secret, ca)?;
        target.pids.extend(peer_pid(socket));
        Ok(Self {
            target,
            name: url.to_string(),
            started: Vec::new(),
        })
    }

    /// Starts a server, which a second signal to this program ends too, and waits until it is ready.
    ///
    /// # Errors
    /// Why it is not, with the end of its log.
    pub fn start(start: &Start, interrupt: &Interrupt) -> Result<Self, String> {
        Self::start_host(start, &new_secret(), interrupt)
    }

    /// Starts several hosts and a Redis that makes them one.
    ///
    /// # Errors
    /// Why one of them is not ready, with the end of its log.
    pub fn start_cluster(
        start: &Start,
        cluster: &Cluster,
        interrupt: &Interrupt,
    ) -> Result<Self, String> {
        let (redis, url) = redis::start(cluster, interrupt)?;
        let mut start = start.clone();
        start.arguments.extend(["--redis-url".into(), url]);
        let secret = new_secret();
        let mut server = Self::start_host(&start, &secret, interrupt)?;
        for _ in 1..cluster.hosts {
            let other = Self::start_host(&start, &secret, interrupt)?;
            server.target.join(other.target);
            server.started.extend(other.started);
        }
        server.target.redis = Some(redis.child.id());
        server.started.push(redis);
        Ok(server)
    }

    fn start_host(start: &Start, secret: &str, interrupt: &Interrupt) -> Result<Self, String> {
        let folder = new_folder()?;
        let child = spawn(start, secret, folder.path())?;
        let patience = start.patience.min(STOP_TIMEOUT);
        let mut started = Started::watch(child, folder, patience, interrupt)?;
        let ready = wait_until_ready(&mut started.child).and_then(|line| read_ready_line(&line));
        let target = ready.and_then(|(name, url, socket)| {
            let (secret, ca) = (secret.as_bytes().to_vec(), start.ca.as_deref());
            Ok((name, Target::new(&url, socket, secret, ca)?))
        });
        match target {
            Ok((name, mut target)) => {
                target.pids.push(started.child.id());
                Ok(Server {
                    target,
                    name,
                    started: vec![started],
                })
            }
            Err(message) => {
                let log = log_tail(started.folder.path());
                Err(format!("{message}\n{log}"))
            }
        }
    }

    /// How a started server, or the first of several, has ended, if it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.started.first_mut()?.child.try_wait().ok().flatten()
    }

    /// The last lines of the log of a started server, or of the first of several.
    pub fn log_tail(&self) -> Option<String> {
        let first = self.started.first()?;
        Some(log_tail(first.folder.path()))
    }
}

impl Started {
    /// Keeps hold of a process just started, which works in `folder`.
    fn watch(
        mut child: Child,
        folder: TempDir,
        patience: Duration,
        interrupt: &Interrupt,
    ) -> Result<Self, String> {
        let held = process::open(child.id()).and_then(|process| {
            interrupt.takes_along(process.try_clone()?, folder.path().to_path_buf());
            Ok(process)
        });
        match held {
            Ok(process) => Ok(Self {
                child,
                process,
                folder,
                patience,
            }),
            Err(error) => {
                kill(&mut child);
                Err(format!("cannot watch the server just started: {error}"))
            }
        }
    }
}

impl Drop for Started {
    /// Asks the process to end, waits for that, and kills it if it takes too long.
    fn drop(&mut self) {
        let has_ended = pidfd_send_signal(&self.process, Signal::TERM).is_ok()
            && process::ends_within(&self.process, self.patience);
        if !has_ended || self.child.wait().is_err() {
            kill(&mut self.child);
        }
    }
}

fn new_secret() -> String {
    (0..64).map(|_| fastrand::alphanumeric()).collect()
}

fn new_folder() -> Result<TempDir, String> {
    let made = tempfile::Builder::new().prefix("shopwire-load-").tempdir();
    made.map_err(|error| format!("cannot make a folder for the server: {error}"))
}

/// Starts the process, its settings in the environment, its log in `folder`.
fn spawn(start: &Start, secret: &str, folder: &Path) -> Result<Child, String> {
    let write_error = |error| format!("cannot write into the server's folder: {error}");
    fs::write(folder.join("secret"), secret).map_err(write_error)?;
    let log = fs::File::create(folder.join("log")).map_err(write_error)?;

    let (mut command, remedy) = launch::command(&start.server);
    // What is set for another server on this machine must not reach this one.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WS_") || name == "ALLOWED_ORIGINS" {
            command.env_remove(name);
        }
    }
    command
        .env("WS_HOST", "127.0.0.1")
        .env("WS_PORT", "0")
        .env("WS_SOCKET", folder.join("ingest.sock"))
        .env("WS_JWT_SECRET_FILE", folder.join("secret"))
        .env("WS_CONNECT_RATE", "0")
        .env("WS_MAX_CONNECTIONS", (start.connections + 100).to_string())
        // All of them are there for whoever the scenario sends.
        .env("WS_RESERVED_SHARE", "0")
        // Its memory is looked into, by whoever starts the load test.
        .env("WS_CORE_DUMPS", "true");
    if let Some(workers) = start.workers {
        command.env("WS_WORKERS", workers.to_string());
    }
    if let Some(bytes) = start.history {
        command.env("WS_HISTORY", bytes.to_string());
    }
    if start.is_unicast {
        command.env("FLOOR_UNICAST", "1");
    }
    command
        .args(&start.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        // Ctrl-C is for this program: it ends the server when it has reported.
        .process_group(0);

    spawn_on(start.cores.as_deref(), &mut command)?.map_err(|error| {
        format!(
            "cannot start {} ({error}); {remedy}",
            command.get_program().display()
        )
    })
}

/// Starts a process on these cores. A child inherits them: this way all of its threads begin where they shall run.
fn spawn_on(cores: Option<&[usize]>, command: &mut Command) -> Result<io::Result<Child>, String> {
    let own_cores = priority::allowed()?;
    if let Some(cores) = cores {
        priority::pin(cores)?;
    }
    let child = command.spawn();
    priority::pin(&own_cores)?;
    Ok(child)
}

/// Waits for the first line on the server's standard output. What may follow is read and dropped,
/// so that the server never waits for us.
fn wait_until_ready(child: &mut Child) -> Result<String, String> {
    let stdout = child
        .stdout
        .take()
        .ok_or("the server's standard output is not ours to read")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Nobody listens any more after the first line.
            sender.send(line).unwrap_or_default();
        }
    });
    receiver
        .recv_timeout(READY_TIMEOUT)
        .map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => {
                format!(
                    "the server was not ready after {} s",
                    READY_TIMEOUT.as_secs()
                )
            }
            mpsc::RecvTimeoutError::Disconnected => {
                "the server ended before it was ready".to_string()
            }
        })
}

/// Name, WebSocket URL and ingest socket of the ready line.
fn read_ready_line(line: &str) -> Result<(String, String, PathBuf), String> {
    let field = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name));
    match (line.split_once(" ready "), field("ws="), field("ingest=")) {
        (Some((name, _)), Some(url), Some(socket)) => {
            Ok((name.to_string(), url.to_string(), PathBuf::from(socket)))
        }
        _ => Err(format!(
            "this is not the line of a server that is ready: {line}"
        )),
    }
}

fn kill(child: &mut Child) {
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        eprintln!(
            "loadtest: cannot end the server, process {}: {error}",
            child.id()
        );
    }
}

fn log_tail(folder: &Path) -> String {
    let log = fs::read(folder.join("log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// The process behind a Unix socket.
fn peer_pid(socket: &Path) -> Option<u32> {
    let stream = UnixStream::connect(socket).ok()?;
    let credentials = rustix::net::sockopt::socket_peercred(&stream).ok()?;
    u32::try_from(credentials.pid.as_raw_nonzero().get()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_ready_line() {
        let line = "shopwire ready ws=ws://127.0.0.1:3001/api/ws ingest=/run/a.sock workers=2";
        let (name, url, socket) = read_ready_line(line).unwrap();
        assert_eq!(name, "shopwire");
        assert_eq!(url, "ws://127.0.0.1:3001/api/ws");
        assert_eq!(socket, Path::new("/run/a.sock"));
        assert!(read_ready_line("hello ws=a ingest=b").is_err());
        assert!(read_ready_line("shopwire ready ws=a").is_err());
    }

    #[test]
    fn a_server_that_is_not_there_says_what_helps() {
        let start = Start {
            server: "/no/such/program".into(),
            connections: 1,
            workers: None,
            cores: None,
            arguments: Vec::new(),
            ca: None,
            history: None,
            is_unicast: false,
            patience: STOP_TIMEOUT,
        };
        let message = Server::start(&start, &Interrupt::default())
            .map(|_| ())
            .unwrap_err();
        assert!(message.contains("/no/such/program"), "{message}");
    }
}
