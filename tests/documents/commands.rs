//! Commands and programs from the documents, run as a reader would.
//!
//! They meet a server of their own: its address stands in for `127.0.0.1:3001`, and the program under test for
//! `target/release/shopwire`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Block, Document, root};

const PROGRAM: &str = env!("CARGO_BIN_EXE_shopwire");
const SECRET: &str = "a secret for documents, 32 bytes or more";
const ADDRESS: &str = "127.0.0.1:3001";
const DEADLINE: Duration = Duration::from_secs(30);

/// The blocks marked so, at least one.
fn marked(mark: &str) -> Vec<Block> {
    let blocks: Vec<Block> = Document::all()
        .iter()
        .flat_map(Document::blocks)
        .filter(|block| block.mark == mark)
        .collect();
    assert!(!blocks.is_empty(), "no block is marked <!-- {mark} -->");
    blocks
}

/// A process that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A folder to work in, with the program in reach.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        symlink(PROGRAM, folder.path().join("shopwire")).unwrap();
        Place { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A command in this folder, free of the settings of whoever runs the tests.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap();
        command
            .current_dir(self.path())
            .env("PATH", format!("{}:{path}", self.path().display()))
            .stdin(Stdio::null());
        for (name, _) in std::env::vars() {
            if name.starts_with("WS_") || name == "ALLOWED_ORIGINS" {
                command.env_remove(name);
            }
        }
        command
    }

    fn shell(&self, code: &str) -> Command {
        let mut command = self.command("bash");
        command.args(["-euo", "pipefail", "-c", code]);
        command
    }
}

/// `serve --dev`, ready.
struct Server {
    place: Place,
    address: String,
    token: String,
    _process: Ended,
}

impl Server {
    fn start() -> Server {
        let place = Place::new();
        let mut process = place
            .command(PROGRAM)
            .args(["serve", "--dev", "--port", "0", "--socket"])
            .arg(place.path().join("sock"))
            .env("WS_JWT_SECRET", SECRET)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = lines_of(process.stdout.take().unwrap());
        let process = Ended(process);
        let ready = lines.recv_timeout(DEADLINE).unwrap();
        let address = ready.split("ws://").nth(1).unwrap();
        let address = address.split("/api/ws").next().unwrap().to_owned();
        let output = place
            .command(PROGRAM)
            .args(["token", "--user", "ann", "--role", "admin"])
            .env("WS_JWT_SECRET", SECRET)
            .output()
            .unwrap();
        let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Server {
            place,
            address,
            token,
            _process: process,
        }
    }

    /// A block's code for this server.
    fn adapted(&self, code: &str) -> String {
        let watching = format!("shopwire tail --url ws://{}/api/ws ", self.address);
        code.replace(ADDRESS, &self.address)
            .replace("target/release/shopwire", "shopwire")
            .replace("shopwire tail ", &watching)
    }

    fn with_environment(&self, mut command: Command) -> Command {
        let socket = self.place.path().join("sock");
        command
            .env("WS_SOCKET", &socket)
            .env("SOCKET", &socket)
            .env("TOKEN", &self.token);
        command
    }

    /// Runs a watcher and sends orders until it shows one.
    fn expect_order(&self, command: Command, place: &str) {
        let mut watcher = self
            .with_environment(command)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{place}: the program cannot be started: {error}"));
        let lines = lines_of(watcher.stdout.take().unwrap());
        let _watcher = Ended(watcher);
        let order = r#"{"orderId":"o-1","customerId":"c-1","customerName":"Ada","total":1,"status":"pending","channel":"web"}"#;
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            let mut emit = self.place.command(PROGRAM);
            emit.args(["emit", "order:created", "--data", order]);
            let emitted = self.with_environment(emit).output().unwrap();
            assert!(emitted.status.success(), "{emitted:?}");
            match lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) if line.contains("order:created") => return,
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("{place} ended without an event"),
            }
        }
        panic!("{place} showed no event");
    }
}

/// A process's lines, read by a thread of its own.
fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let lines = BufReader::new(stdout).lines();
        lines
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    receiver
}

fn expect_success(mut command: Command, place: &str) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{place} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn commands_run() {
    for block in marked("runs") {
        expect_success(Place::new().shell(&block.code), &block.place);
    }
}

#[test]
fn commands_run_with_a_server() {
    let server = Server::start();
    for block in marked("runs with a server") {
        let command = server.place.shell(&server.adapted(&block.code));
        expect_success(server.with_environment(command), &block.place);
    }
}

#[test]
fn watching_commands_show_an_event() {
    let server = Server::start();
    for block in marked("runs with a server: watches") {
        let code = format!("exec {}", server.adapted(&block.code));
        server.expect_order(server.place.shell(&code), &block.place);
    }
}

#[test]
fn the_node_program_shows_an_event() {
    let server = Server::start();
    for block in marked("node") {
        let code = server.adapted(&block.code);
        server.expect_order(node(&server, &code), &block.place);
    }
}

#[test]
fn the_client_for_pages_hands_on_an_event() {
    let server = Server::start();
    for block in marked("node: client") {
        let url = format!("ws://{}/api/ws", server.address);
        let code = format!(
            "import WebSocket from 'ws';\n{}\n\
             follow({{ url: '{url}', getToken: async () => process.env.TOKEN, namespaces: ['orders'],\n\
               onEvent: (event) => console.log(event.type), reload: () => {{}} }});",
            block.code
        );
        server.expect_order(node(&server, &code), &block.place);
    }
}

/// As in a browser's console, of which it takes a WebSocket and a page to write to.
#[test]
fn the_page_shows_an_event() {
    let server = Server::start();
    for block in marked("page") {
        let code = server.adapted(&block.code);
        assert!(code.contains("PASTE THE TOKEN HERE"), "{}", block.place);
        let code = code.replace("PASTE THE TOKEN HERE", &server.token);
        let console = "import WebSocket from 'ws';\nglobalThis.WebSocket = WebSocket;\n\
            const body = { append: (text) => console.log('order:created', text.trim()) };\n\
            globalThis.document = { body };\n";
        fs::write(server.place.path().join("page.mjs"), &code).unwrap();
        let code = format!("{console}await import('./page.mjs');");
        server.expect_order(node(&server, &code), &block.place);
    }
}

fn node(server: &Server, code: &str) -> Command {
    let modules = installed("node_modules/ws").parent().unwrap().to_owned();
    symlink(modules, server.place.path().join("node_modules")).unwrap();
    fs::write(server.place.path().join("watch.mjs"), code).unwrap();
    let mut command = server.place.command("node");
    command.arg("watch.mjs");
    command
}

#[test]
fn the_python_program_shows_an_event() {
    let server = Server::start();
    let modules = installed("python_modules/websockets");
    for block in marked("python") {
        let code = server.adapted(&block.code);
        let mut command = server.place.command("python3");
        command
            .args(["-c", &code])
            .env("PYTHONPATH", modules.parent().unwrap());
        server.expect_order(command, &block.place);
    }
}

fn installed(package: &str) -> std::path::PathBuf {
    let path = root().join("tests/interop").join(package);
    assert!(
        path.exists(),
        "{package} is not installed: run `make interop` (make test does)"
    );
    path
}
