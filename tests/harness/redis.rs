//! A Redis of one test's own: on a Unix socket in a folder of its own, ended by its handle.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::tls::Certificates;
use super::{DEADLINE, Server, Setup, stand_still, wait_until};

/// A Redis server, which can be stopped and started on the same data.
pub struct Redis {
    folder: TempDir,
    args: Vec<String>,
    process: Option<Child>,
}

impl Redis {
    /// One that keeps nothing when it ends.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// One with further settings (`--appendonly yes`).
    pub fn with(args: &[&str]) -> Self {
        let mut redis = Self::stopped(args);
        redis.run();
        redis
    }

    /// One that also speaks TLS, on this port and with this certificate, and asks its clients for one if so.
    pub fn secure(certificates: &Certificates, port: u16, wants_one: bool) -> Self {
        let [cert, key, authority] = [
            &certificates.cert,
            &certificates.key,
            &certificates.authority,
        ]
        .map(|path| path.display().to_string());
        Self::with(&[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &authority,
            "--tls-auth-clients",
            if wants_one { "yes" } else { "no" },
        ])
    }

    /// One that does not run yet.
    pub fn stopped(args: &[&str]) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            process: None,
        }
    }

    /// A sentinel that watches the master on this port, under the name `shop`.
    pub fn sentinel(port: u16, master: u16) -> Self {
        let mut sentinel = Self::stopped(&["--port", &port.to_string(), "--sentinel"]);
        let config = format!(
            "sentinel monitor shop 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds shop 1000\n"
        );
        std::fs::write(sentinel.folder.path().join("redis.conf"), config).unwrap();
        sentinel.run();
        sentinel
    }

    /// Starts it, and waits until it answers.
    pub fn run(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let config = self.folder.path().join("redis.conf");
        let child = Command::new("redis-server")
            .args(config.exists().then_some(config))
            .args(["--port", "0", "--unixsocket"])
            .arg(self.socket())
            .args(["--save", "", "--dir"])
            .arg(self.folder.path())
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("redis-server cannot be started ({error}): make redis"));
        self.process = Some(child);
        wait_until("Redis answers", || {
            let answer = self.try_ask("PING");
            answer
                .is_some_and(|answer| answer.starts_with("+PONG") || answer.starts_with("-NOAUTH"))
        });
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn signal(&self, signal: Signal) {
        let child = self.process.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// Stops it; `Signal::CONT` lets it go on.
    pub fn stand_still(&self) {
        stand_still(self.process.as_ref().expect("it runs"));
    }

    /// Ends it as no process can refuse, or notice.
    pub fn kill(&mut self) {
        let mut child = self.process.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a command in one line and gives the answer, or its first line if it has several parts.
    pub fn ask(&self, command: &str) -> String {
        self.try_ask(command)
            .unwrap_or_else(|| panic!("no answer to {command}"))
    }

    fn try_ask(&self, command: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        stream.write_all(format!("{command}\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        let mut reader = BufReader::new(stream);
        reader.read_line(&mut answer).ok()?;
        if let Some(length) = answer.trim_end().strip_prefix('$') {
            // There may be nothing of that name: -1.
            let mut text = vec![0; length.parse().unwrap_or(0)];
            reader.read_exact(&mut text).ok()?;
            return String::from_utf8(text).ok();
        }
        Some(answer.trim_end().to_owned())
    }

    /// A host that shares this Redis with others, not yet started.
    pub fn setup(&self, args: &[&str]) -> Setup {
        Setup::new(&[&["--redis-url", &self.url()], args].concat())
    }

    /// Such a host, ready.
    pub fn host(&self) -> Server {
        let host = self.setup(&[]).start();
        host.await_ready();
        host
    }
}

/// A port that nobody listens on at this moment, and that the kernel gives to nobody who takes any: those
/// begin at 32768, and other tests take them all the time.
pub fn free_port() -> u16 {
    let ports = std::iter::repeat_with(|| fastrand::u16(10_000..32_768));
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports
        .take(1000)
        .find(is_free)
        .expect("one of a thousand ports is free")
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            // It may be stopped, or have ended already.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Server {
    /// Waits until it takes connections, Redis and all.
    pub fn await_ready(&self) {
        wait_until("the server is ready", || self.get("/readyz").status == 200);
    }

    /// Waits until it says that it does not.
    pub fn await_unready(&self) {
        wait_until("the server is not ready", || {
            self.get("/readyz").status == 503
        });
    }
}
