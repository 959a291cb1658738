//! The server process: started on a free port with a socket in a folder of its own, killed by its handle at the end.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;

use super::tokens::SECRET;
use super::{Client, DEADLINE, Emitter, Opening, http, tokens};

/// The program under test: this build's, or the one that SHOPWIRE_BIN names.
pub fn binary() -> String {
    std::env::var("SHOPWIRE_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_shopwire").to_owned())
}

/// How a server is to be started: the harness' own settings, which any argument of the test replaces.
#[derive(Clone)]
pub struct Setup {
    dir: Arc<TempDir>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    own: Vec<(&'static str, String)>,
    open_files: Option<u32>,
}

impl Setup {
    pub fn new(args: &[&str]) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let secret = dir.path().join("secret");
        std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
        let own = vec![
            ("--host", "127.0.0.1".to_owned()),
            ("--port", "0".to_owned()),
            (
                "--socket",
                dir.path().join("shopwire.sock").display().to_string(),
            ),
            ("--jwt-secret-file", secret.display().to_string()),
            ("--connect-rate", "0".to_owned()),
            ("--workers", "2".to_owned()),
            // A client that a test leaves alone for a while answers no pings meanwhile.
            ("--ping-interval", "60s".to_owned()),
            ("--pong-timeout", "30s".to_owned()),
        ];
        Self {
            dir,
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            env: Vec::new(),
            own,
            open_files: None,
        }
    }

    /// Leaves the harness' own value of a flag out, so that environment, file or default decide.
    pub fn without(mut self, flag: &str) -> Self {
        self.own.retain(|(name, _)| *name != flag);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives the server a configuration file with this text.
    pub fn file(mut self, toml: &str) -> Self {
        let path = self.dir.path().join("shopwire.toml");
        std::fs::write(&path, toml).unwrap();
        self.args.push("--config".into());
        self.args.push(path.display().to_string());
        self
    }

    /// Lets the process have so many files open and no more.
    pub fn open_files(mut self, most: u32) -> Self {
        self.open_files = Some(most);
        self
    }

    /// Takes everything that the harness sets from another setup, the ingest socket above all.
    pub fn same_place_as(&mut self, other: &Setup) {
        self.dir = Arc::clone(&other.dir);
        self.own.clone_from(&other.own);
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The command line for `subcommand` with all settings, ready to be spawned.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = match self.open_files {
            None => plain_command(),
            Some(most) => {
                let mut shell = Command::new("sh");
                shell.args([
                    "-c",
                    &format!("ulimit -n {most}; exec \"$0\" \"$@\""),
                    &binary(),
                ]);
                shell
            }
        };
        command.arg(subcommand).args(&self.args);
        for (flag, value) in &self.own {
            let given = |arg: &String| arg == flag || arg.starts_with(&format!("{flag}="));
            if !self.args.iter().any(given) {
                command.args([flag, value.as_str()]);
            }
        }
        command.envs(self.env.iter().cloned());
        command
    }

    /// Starts a server, and another one of the same setup when it is called again.
    pub fn start(&self) -> Server {
        self.start_with(&[])
    }

    /// As [`Setup::start`], with further arguments.
    pub fn start_with(&self, args: &[&str]) -> Server {
        let mut child = self
            .command("serve")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the shopwire binary starts");
        let stderr = Arc::new(Mutex::new(String::new()));
        let stderr_reader = collect(child.stderr.take().unwrap(), Arc::clone(&stderr));
        let (stdout, stdout_reader) = lines_of(child.stdout.take().unwrap());
        let mut server = Server {
            child,
            setup: self.clone(),
            stderr,
            readers: vec![stderr_reader, stdout_reader],
            stdout: Mutex::new(stdout),
            ready: String::new(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            socket: PathBuf::new(),
        };
        server.ready = server
            .stdout
            .lock()
            .unwrap()
            .recv_timeout(DEADLINE)
            .unwrap_or_else(|_| panic!("no ready line; stderr:\n{}", server.stderr()));
        server.address = server
            .field("ws")
            .split('/')
            .nth(2)
            .unwrap()
            .parse()
            .unwrap();
        server.socket = server.field("ingest").into();
        server
    }
}

/// A running server.
pub struct Server {
    child: Child,
    setup: Setup,
    stderr: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    stdout: Mutex<Receiver<String>>,
    /// The one line it printed on stdout.
    pub ready: String,
    pub address: SocketAddr,
    pub socket: PathBuf,
}

impl Server {
    pub fn start() -> Self {
        Self::with(&[])
    }

    pub fn with(args: &[&str]) -> Self {
        Setup::new(args).start()
    }

    /// A public connection, welcomed.
    pub fn public(&self) -> Client {
        Client::connect(self, Opening::new())
    }

    /// A connection authenticated by the handshake's header.
    pub fn user(&self, user: &str, role: &str) -> Client {
        Client::connect(self, Opening::new().bearer(&tokens::of(user, role)))
    }

    pub fn emitter(&self) -> Emitter {
        Emitter::connect(&self.socket)
    }

    pub fn get(&self, path: &str) -> http::Response {
        http::get(self.address, path)
    }

    pub fn stats(&self) -> serde_json::Value {
        let response = self.get("/api/ws/stats");
        assert_eq!(response.status, 200, "stats: {response:?}");
        response.json()
    }

    /// `shopwire ctl` with this server's socket.
    pub fn ctl(&self, args: &[&str]) -> Output {
        let mut command = plain_command();
        command.arg("ctl").args(args).arg("--socket");
        command.arg(&self.socket).output().unwrap()
    }

    /// The value of a field of the ready line.
    pub fn field(&self, name: &str) -> String {
        let prefix = format!("{name}=");
        let found = self
            .ready
            .split(' ')
            .find_map(|word| word.strip_prefix(&prefix));
        found
            .unwrap_or_else(|| panic!("no {name} in the ready line: {}", self.ready))
            .to_owned()
    }

    pub fn dir(&self) -> &Path {
        self.setup.dir()
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Stops it; `Signal::CONT` lets it go on.
    pub fn stand_still(&self) {
        super::stand_still(&self.child);
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Lets no file that the process writes grow beyond so many bytes; `None` is no limit.
    pub fn limit_files(&self, most: Option<u64>) {
        let limit = Rlimit {
            current: most,
            maximum: None,
        };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Fsize, limit).unwrap();
    }

    /// Ends it as no process can refuse, or notice.
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        self.exit_within(DEADLINE);
    }

    /// What the process has in memory, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Waits for the end of the process and gives its status and what it printed on stdout after the ready line.
    pub fn exit_within(&mut self, most: Duration) -> (ExitStatus, Vec<String>) {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < most, "still running after {most:?}");
            std::thread::sleep(Duration::from_millis(5));
        };
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        (status, self.stdout.lock().unwrap().try_iter().collect())
    }

    /// Lets another process take over, with these arguments, flags and values, instead of its own; this
    /// one ends well.
    pub fn succeed(mut self, args: &[&str]) -> Server {
        let mut setup = self.setup.clone();
        let is_given = |arg: &String| arg.starts_with("--") && args.contains(&arg.as_str());
        while let Some(at) = setup.args.iter().position(is_given) {
            setup.args.drain(at..at + 2);
        }
        setup.args.extend(args.iter().map(|&arg| arg.to_owned()));
        let successor = setup.start_with(&["--takeover"]);
        let (status, printed) = self.exit_within(DEADLINE);
        assert_eq!(
            status.code(),
            Some(0),
            "exit of a server that was succeeded"
        );
        assert_eq!(printed, Vec::<String>::new());
        successor
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop and waits: the clean exit, with nothing but the ready line on stdout.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let (status, printed) = self.exit_within(DEADLINE + DEADLINE);
        assert_eq!(status.code(), Some(0), "exit of a server told to stop");
        assert_eq!(
            printed,
            Vec::<String>::new(),
            "only the ready line may be on stdout"
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already: then there is nothing to kill, and that is fine.
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("--- stderr of the server ---\n{}---", self.stderr());
        }
    }
}

/// What a command printed, stdout first.
pub fn text(output: &Output) -> String {
    let bytes = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(bytes).unwrap()
}

/// The binary with an environment that holds none of its settings.
pub fn plain_command() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("WS_")
            || text.starts_with("SHOPWIRE_")
            || text == "ALLOWED_ORIGINS"
            || text == "RUST_LOG"
        {
            command.env_remove(&name);
        }
    }
    command
}

fn collect(mut from: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            into.lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
    })
}

fn lines_of(from: impl Read + Send + 'static) -> (Receiver<String>, JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    (receiver, reader)
}
