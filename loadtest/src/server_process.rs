//! The server under test: started here, or already running and attached to.
//!
//! Owns the started process and its folder, and ends that process, by its id, when dropped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::cli::SeedArguments;

/// How long a server may take until it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a server may take to end after SIGTERM, before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// Where a server is reached and what signs its tokens.
#[derive(Debug)]
pub struct Target {
    /// Address of its WebSocket port.
    pub address: SocketAddr,
    /// Host and port as the URL wrote them.
    pub host: String,
    /// Path of the WebSocket endpoint.
    pub path: String,
    /// Its ingest socket.
    pub socket: PathBuf,
    /// Its HS256 secret.
    pub secret: Vec<u8>,
    /// Its process, where that is known.
    pub pid: Option<u32>,
}

/// A server under test.
pub struct Server {
    /// How to reach it.
    pub target: Target,
    started: Option<Started>,
}

struct Started {
    child: Child,
    /// Holds socket, secret and log; removed with the server.
    folder: TempDir,
}

impl Server {
    /// Attaches to the running server that `arguments` name, or starts one.
    ///
    /// # Errors
    /// Why there is none, with the end of its log where it was started.
    pub fn open(arguments: &SeedArguments) -> Result<Self, String> {
        match (&arguments.attach, &arguments.socket, &arguments.secret_file) {
            (Some(url), Some(socket), Some(secret_file)) => {
                let secret = fs::read(secret_file)
                    .map_err(|error| format!("{}: {error}", secret_file.display()))?;
                let secret = secret.strip_suffix(b"\n").unwrap_or(&secret);
                let secret = secret.strip_suffix(b"\r").unwrap_or(secret).to_vec();
                let mut target = Target::new(url, socket.clone(), secret)?;
                target.pid = peer_pid(socket);
                Ok(Self {
                    target,
                    started: None,
                })
            }
            _ => start(arguments),
        }
    }

    /// The last lines of a started server's log.
    pub fn log_tail(&self) -> Option<String> {
        self.started
            .as_ref()
            .map(|started| log_tail(started.folder.path()))
    }
}

impl Target {
    /// Reads a `ws://` address.
    ///
    /// # Errors
    /// Where it is no such address, or its host is not known.
    pub fn new(url: &str, socket: PathBuf, secret: Vec<u8>) -> Result<Self, String> {
        let rest = url
            .strip_prefix("ws://")
            .ok_or_else(|| format!("`{url}` does not start with ws:// (TLS is not spoken here)"))?;
        let slash = rest.find('/').unwrap_or(rest.len());
        let (host, path) = rest.split_at(slash);
        let path = if path.is_empty() { "/api/ws" } else { path };
        let with_port = if host
            .rsplit(']')
            .next()
            .is_some_and(|rest| rest.contains(':'))
        {
            host.to_string()
        } else {
            format!("{host}:80")
        };
        let address = with_port
            .to_socket_addrs()
            .map_err(|error| format!("`{url}`: {error}"))?
            .next()
            .ok_or_else(|| format!("`{url}`: the host has no address"))?;
        let path = path.to_string();
        Ok(Self {
            address,
            host: host.to_string(),
            path,
            socket,
            secret,
            pid: None,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(started) = &mut self.started {
            stop(&mut started.child);
        }
    }
}

fn start(arguments: &SeedArguments) -> Result<Server, String> {
    let folder = tempfile::Builder::new()
        .prefix("shopwire-load-")
        .tempdir()
        .map_err(|error| format!("cannot make a folder for the server: {error}"))?;
    let in_folder = |name: &str| folder.path().join(name);
    let secret: String = (0..64).map(|_| fastrand::alphanumeric()).collect();
    let write_error = |error| format!("cannot write into the server's folder: {error}");
    fs::write(in_folder("secret"), &secret).map_err(write_error)?;
    let log = fs::File::create(in_folder("log")).map_err(write_error)?;

    let mut command = Command::new(&arguments.server);
    command.args([
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--connect-rate",
        "0",
    ]);
    command.arg("--socket").arg(in_folder("shopwire.sock"));
    command.arg("--jwt-secret-file").arg(in_folder("secret"));
    command.args([
        "--max-connections",
        &(arguments.connections + 100).to_string(),
    ]);
    if let Some(workers) = arguments.workers {
        command.args(["--workers", &workers.to_string()]);
    }
    command.args(&arguments.server_arguments);
    // What is set for another server on this machine must not reach this one.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WS_") || name == "ALLOWED_ORIGINS" {
            command.env_remove(name);
        }
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    let mut child = command.spawn().map_err(|error| {
        format!(
            "cannot start {}: {error}; build it with `cargo build --release` or name it by --server",
            arguments.server.display()
        )
    })?;
    let ready = wait_until_ready(&mut child).and_then(|line| read_ready_line(&line));
    let target = ready.and_then(|(url, socket)| Target::new(&url, socket, secret.into_bytes()));
    match target {
        Ok(mut target) => {
            target.pid = Some(child.id());
            Ok(Server {
                target,
                started: Some(Started { child, folder }),
            })
        }
        Err(message) => {
            stop(&mut child);
            Err(format!("{message}\n{}", log_tail(folder.path())))
        }
    }
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

/// WebSocket URL and ingest socket of the ready line.
fn read_ready_line(line: &str) -> Result<(String, PathBuf), String> {
    let field = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name));
    match (
        line.strip_prefix("shopwire ready "),
        field("ws="),
        field("ingest="),
    ) {
        (Some(_), Some(url), Some(socket)) => Ok((url.to_string(), PathBuf::from(socket))),
        _ => Err(format!(
            "this is not the line of a server that is ready: {line}"
        )),
    }
}

fn stop(child: &mut Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
    let deadline = Instant::now() + STOP_TIMEOUT;
    while asked && Instant::now() < deadline {
        match child.try_wait() {
            Ok(None) => thread::sleep(Duration::from_millis(20)),
            _ => return,
        }
    }
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
        let (url, socket) = read_ready_line(line).unwrap();
        assert_eq!(url, "ws://127.0.0.1:3001/api/ws");
        assert_eq!(socket, Path::new("/run/a.sock"));
        assert!(read_ready_line("hello ws=a ingest=b").is_err());
        assert!(read_ready_line("shopwire ready ws=a").is_err());
    }

    #[test]
    fn targets() {
        let target = |url| Target::new(url, PathBuf::new(), Vec::new());
        let plain = target("ws://127.0.0.1:3001/x").unwrap();
        assert_eq!((plain.address.port(), plain.path.as_str()), (3001, "/x"));
        let ipv6 = target("ws://[::1]").unwrap();
        assert_eq!((ipv6.address.port(), ipv6.path.as_str()), (80, "/api/ws"));
        assert!(target("wss://127.0.0.1").unwrap_err().contains("TLS"));
        assert!(target("ws://127.0.0.1:x").is_err());
    }
}
