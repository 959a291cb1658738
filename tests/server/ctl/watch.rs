//! Statistics again and again: in a pipe, and in a terminal.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::examples::event;
use crate::harness::server::{binary, plain_command};
use crate::harness::{DEADLINE, Server};

/// `ctl stats --watch` with its output read by a thread.
fn watching(server: &Server, args: &[&str]) -> (Child, Receiver<String>) {
    let mut child = plain_command()
        .args(["ctl", "stats", "--watch", "--every", "100ms"])
        .args(args)
        .arg("--socket")
        .arg(&server.socket)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (sender, receiver) = channel();
    thread::spawn(move || {
        stdout
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    (child, receiver)
}

#[test]
fn watching_into_a_pipe_is_a_line_each_time() {
    let server = Server::start();
    let mut client = server.public();
    client.subscribe(&["products"]);
    let (mut child, lines) = watching(&server, &[]);
    let heading = lines.recv_timeout(DEADLINE).unwrap();
    assert!(
        heading.contains("connections") && heading.contains("p99"),
        "{heading}"
    );
    let quiet = lines.recv_timeout(DEADLINE).unwrap();
    assert_eq!(quiet.split_whitespace().next(), Some("1"), "{quiet}");
    let mut emitter = server.emitter();
    let started = Instant::now();
    loop {
        emitter.emit(&event("product:created"));
        client.expect_event("product:created");
        if let Ok(line) = lines.try_recv() {
            let rate: f64 = line.split_whitespace().nth(2).unwrap().parse().unwrap();
            assert!(
                !line.contains('\u{1b}'),
                "no signs for a terminal: {line:?}"
            );
            if rate > 0.0 {
                break;
            }
        }
        assert!(started.elapsed() < DEADLINE, "no deliveries are shown");
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(
        child.wait().unwrap().code(),
        Some(0),
        "^C is the way to end it"
    );

    let (mut child, lines) = watching(&server, &["--json"]);
    for _ in 0..2 {
        let line = lines.recv_timeout(DEADLINE).unwrap();
        let stats: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(stats["totalConnections"], 1);
    }
    // Nobody reads any more.
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));

    let (mut child, lines) = watching(&server, &[]);
    lines.recv_timeout(DEADLINE).unwrap();
    server.stop();
    assert_eq!(child.wait().unwrap().code(), Some(1), "the server has gone");
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(said.contains("server"), "{said}");
}

/// In a terminal of Python's: what it shows, and that it is as it was after ^C.
#[test]
fn watching_in_a_terminal_fills_it_and_gives_it_back() {
    const TERMINAL: &str = r#"
import fcntl, os, pty, struct, sys, termios
pid, screen = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack('HHHH', 12, 60, 0, 0))
shown = b''
asked = False
while True:
    try:
        part = os.read(screen, 65536)
    except OSError:
        break
    if not part:
        break
    shown += part
    if not asked and shown.count(b'\x1b[H') >= 3:
        asked = True
        os.write(screen, b'\x03')
os.write(1, shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;
    let server = Server::start();
    let _client = server.user("root", "admin");
    let output = Command::new("python3")
        .args(["-c", TERMINAL, &binary()])
        .args(["ctl", "stats", "--watch", "--every", "100ms", "--socket"])
        .arg(&server.socket)
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}{shown:?}");
    assert!(shown.starts_with("\u{1b}[?1049h\u{1b}[?25l"), "{shown:?}");
    // The terminal shows ^C where it was typed.
    assert!(shown.ends_with("\u{1b}[?25h\u{1b}[?1049l"), "{shown:?}");
    let pages: Vec<&str> = shown.split("\u{1b}[H").skip(1).collect();
    assert!(pages.len() >= 3);
    for page in &pages[1..pages.len() - 1] {
        assert!(page.contains("connections     1"), "{page:?}");
        assert!(page.contains("admin 1"), "{page:?}");
        let lines: Vec<&str> = page.split('\n').collect();
        assert!(lines.len() <= 12, "as many as the terminal has: {page:?}");
        let last = lines.last().unwrap();
        assert!(last.contains("more lines: the terminal"), "{page:?}");
        for line in lines {
            let mut shown = line.to_owned();
            // The terminal adds carriage returns, and the ^C that was typed.
            for sign in ["\u{1b}[K", "\u{1b}[J", "\r", "^C"] {
                shown = shown.replace(sign, "");
            }
            assert!(shown.chars().count() <= 60, "{line:?}");
        }
    }
}
