//! Updates that fail, at whatever moment: the server that runs goes on, and can still be updated.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::redis::Redis;
use crate::harness::server::Setup;
use crate::harness::{Client, DEADLINE, Server, wait_until};

fn product(n: usize) -> Value {
    json!({"type": "product:deleted", "data": {"productId": n.to_string()}})
}

fn watching(server: &Server, namespaces: &[&str]) -> Client {
    let mut client = server.user("root", "admin");
    client.subscribe(namespaces);
    client
}

fn private_socket(server: &Server) -> PathBuf {
    let mut path = server.socket.clone().into_os_string();
    path.push(".takeover");
    path.into()
}

/// A successor of the server that this setup has started, with this stdout.
fn successor(setup: &Setup, args: &[&str], stdout: Stdio) -> Child {
    let mut command = setup.command("serve");
    command.arg("--takeover").args(args);
    command.stdout(stdout).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits for its end and gives its code and what it said.
fn end_of(mut child: Child) -> (Option<i32>, String) {
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    (child.wait().unwrap().code(), said)
}

/// A stdout that takes nothing until the other end is read.
fn full_stdout() -> (UnixStream, Stdio) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    for length in [4096, 1] {
        while match theirs.write(&vec![b'.'; length]) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        } {}
    }
    theirs.set_nonblocking(false).unwrap();
    ours.set_read_timeout(Some(DEADLINE)).unwrap();
    (ours, Stdio::from(OwnedFd::from(theirs)))
}

/// The server serves as if nothing had happened, and can be succeeded.
fn goes_on(mut server: Server, mut client: Client, n: usize) {
    assert!(server.is_running());
    server.emitter().emit(&product(n));
    assert_eq!(client.next()["data"]["productId"], n.to_string());
    let server = server.succeed(&[]);
    server.emitter().emit(&product(n + 1));
    assert_eq!(client.next()["data"]["productId"], (n + 1).to_string());
    server.stop();
}

#[test]
fn a_successor_that_cannot_say_that_it_is_ready_has_not_taken_over() {
    let setup = Setup::new(&[]);
    let server = setup.start();
    let client = watching(&server, &["products"]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (code, said) = end_of(successor(&setup, &[], full.into()));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("could not print the ready line"), "{said}");
    wait_until("the old one goes on", || {
        server.stderr().contains("did not make it")
    });
    goes_on(server, client, 1);
}

#[test]
fn a_successor_killed_while_it_says_that_it_is_ready_has_not_taken_over() {
    let setup = Setup::new(&[]);
    let server = setup.start();
    let client = watching(&server, &["products"]);
    let (_unread, stdout) = full_stdout();
    let mut child = successor(&setup, &[], stdout);
    wait_until("it is told that it may serve", || {
        server.stderr().contains("it may serve")
    });
    child.kill().unwrap();
    end_of(child);
    goes_on(server, client, 1);
}

#[test]
fn a_signal_before_the_ready_line_drains_behind_it() {
    let setup = Setup::new(&[]);
    let mut server = setup.start();
    let mut client = watching(&server, &["products"]);
    let (mut unread, stdout) = full_stdout();
    let child = successor(&setup, &[], stdout);
    wait_until("it is told that it may serve", || {
        server.stderr().contains("it may serve")
    });
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    // Nor does one to the old process take anything away from the new one.
    server.signal(Signal::TERM);
    let printed = std::thread::spawn(move || {
        let mut printed = String::new();
        unread.read_to_string(&mut printed).unwrap();
        printed
    });
    let (code, said) = end_of(child);
    assert_eq!(code, Some(0), "{said}");
    let printed = printed.join().unwrap();
    assert!(
        printed
            .trim_start_matches('.')
            .starts_with("shopwire ready ws="),
        "{}",
        printed.trim_start_matches('.')
    );
    let (status, _) = server.exit_within(DEADLINE);
    assert_eq!(status.code(), Some(0));
    let told = client.expect_close(1001);
    assert_eq!(told.last().unwrap()["type"], "reconnect", "{told:?}");
}

#[test]
fn a_place_that_cannot_be_had_is_found_out_before_the_server_is_drained() {
    let setup = Setup::new(&[]);
    let server = setup.start();
    let mut client = watching(&server, &["products"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let in_folder = |name: &str| folder.path().join(name).display().to_string();
    let (file, in_use) = (in_folder("file"), in_folder("in_use"));
    std::fs::write(&file, "").unwrap();
    let _other = Server::with(&["--journal", &in_use]);
    let places = [
        (["--port", port.as_str()], "in use; choose another --port"),
        (["--host", "192.0.2.1"], "could not listen on 192.0.2.1"),
        (
            ["--journal", "/proc/nowhere"],
            "/proc/nowhere cannot be used",
        ),
        (["--journal", file.as_str()], "cannot be used"),
        (["--journal", in_use.as_str()], "in use by another shopwire"),
    ];
    for (n, (place, reason)) in places.into_iter().enumerate() {
        let mut args = Setup::new(&place);
        args.same_place_as(&setup);
        let (code, said) = end_of(successor(&args, &[], Stdio::null()));
        assert_eq!(code, Some(1), "{place:?}: {said}");
        assert!(said.contains(reason), "{place:?}: {said}");
        server.emitter().emit(&product(n));
        assert_eq!(client.next()["data"]["productId"], n.to_string());
    }
    goes_on(server, client, 10);
}

#[test]
fn a_journal_that_cannot_be_written_is_neither_taken_over_nor_drained() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (own, other) = (path("own"), path("other"));
    let setup = Setup::new(&["--journal", &own]);
    let mut server = setup.start();
    let mut client = watching(&server, &["products"]);
    server.limit_files(Some(1));
    let mut emitter = server.emitter();
    emitter.send_line(product(1).to_string().as_bytes());
    wait_until("it is in trouble", || {
        server.stats()["journal"]["failing"] == true
    });
    for journal in [&own, &other] {
        let mut args = Setup::new(&["--journal", journal]);
        args.same_place_as(&setup);
        let (code, said) = end_of(successor(&args, &[], Stdio::null()));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("cannot be written"), "{said}");
        assert!(server.is_running());
    }
    client.ping();
    server.limit_files(None);
    emitter.settle();
    server.stop();
}

#[test]
fn a_server_that_drains_already_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let setup = Setup::new(&["--journal", path.to_str().unwrap()]);
    let mut server = setup.start();
    // It reads no goodbye, so the drain lingers over it.
    let client = watching(&server, &["products"]);
    server.signal(Signal::TERM);
    wait_until("it drains", || !server.socket.exists());
    let next = setup.start_with(&["--takeover"]);
    let (status, _) = server.exit_within(DEADLINE);
    assert_eq!(status.code(), Some(0));
    drop(client);
    next.stop();
}

#[test]
fn a_folder_that_is_gone_is_named_as_the_journal_s() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let setup = Setup::new(&["--journal", path.to_str().unwrap()]);
    let mut server = setup.start();
    std::fs::rename(&path, folder.path().join("gone")).unwrap();
    let (code, said) = end_of(successor(&setup, &[], Stdio::null()));
    assert_eq!(code, Some(1), "{said}");
    let named = format!("the journal's folder {}", path.display());
    assert!(said.contains(&named), "{said}");
    assert!(server.is_running());
}

#[test]
fn the_private_socket_stays_and_comes_back_when_somebody_removes_it() {
    let server = Server::start();
    let path = private_socket(&server);
    let inode = || {
        std::fs::symlink_metadata(&path)
            .ok()
            .map(|found| found.ino())
    };
    let first = inode();
    let mut server = server.succeed(&[]);
    assert_eq!(
        (inode(), first.is_some()),
        (first, true),
        "nobody touched it"
    );
    for _ in 0..2 {
        wait_until("it is watched over", || inode().is_some());
        std::fs::remove_file(&path).unwrap();
        wait_until("it is there again", || UnixStream::connect(&path).is_ok());
        server = server.succeed(&[]);
    }
    server.stop();
    assert_eq!(inode(), None, "a clean end removes it");
}

#[test]
fn who_says_nothing_does_not_keep_a_successor_waiting() {
    let server = Server::start();
    let idle = UnixStream::connect(private_socket(&server)).unwrap();
    let started = std::time::Instant::now();
    let server = server.succeed(&[]);
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
    drop(idle);
    server.stop();
}

/// A successor that asks and then does nothing more.
fn false_successor(server: &Server) -> UnixStream {
    let mut path = server.socket.clone().into_os_string();
    path.push(".takeover");
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let place = json!({"host": "", "port": 0, "socket": "", "journal": null});
    let hello = json!({"takeover": 1, "program": "a false one", "words": [], "place": place});
    stream.write_all(format!("{hello}\n").as_bytes()).unwrap();
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte).unwrap();
    }
    // One byte of message, no descriptors, no bytes: begin.
    stream
        .write_all(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        .unwrap();
    stream
}

#[test]
fn a_successor_that_fails_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal").display().to_string();
    let mut server = Server::with(&["--journal", &path]);
    let mut client = watching(&server, &["products", "orders"]);
    let mut emitter = server.emitter();
    for round in 0..3 {
        let mut successor = false_successor(&server);
        // It has been sent something, so everything stands still.
        successor.read_exact(&mut [0]).unwrap();
        emitter.send_line(product(round).to_string().as_bytes());
        if round == 1 {
            successor.shutdown(Shutdown::Both).unwrap();
        }
        drop(successor);
        emitter.settle();
        assert_eq!(client.next()["data"]["productId"], round.to_string());
        client.ping();
    }
    assert!(server.is_running());
    let mut late = watching(&server, &["products"]);
    emitter.emit(&product(9));
    assert_eq!(late.next()["data"]["productId"], "9");
    assert_eq!(client.next()["data"]["productId"], "9");
    // And a good one is still welcome.
    let server = server.succeed(&[]);
    emitter.emit(&product(10));
    assert_eq!(client.next()["data"]["productId"], "10");
    server.stop();
}

/// Reads what the old process sends until it has said this, by its number in `FromOld`.
fn read_until(successor: &mut UnixStream, word: u8) {
    loop {
        let mut head = [0; 16];
        successor.read_exact(&mut head).unwrap();
        let message = u64::from(u32::from_le_bytes(head[..4].try_into().unwrap()));
        let body = u64::from_le_bytes(head[8..].try_into().unwrap());
        let mut text = Vec::new();
        let mut all = successor.take(message + body);
        all.read_to_end(&mut text).unwrap();
        if text[0] == word {
            return;
        }
        assert_ne!(text[0], STAYS, "{}", String::from_utf8_lossy(&text));
    }
}

const DONE: u8 = 5;
const GO: u8 = 6;
const STAYS: u8 = 7;
/// Messages of one byte, without descriptors.
const COMMIT: [u8; 17] = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const SERVES: [u8; 17] = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

#[test]
fn a_stop_and_a_continue_in_the_middle_are_no_end_of_the_other_side() {
    let mut server = Server::start();
    let mut successor = false_successor(&server);
    read_until(&mut successor, DONE);
    let is_stopped = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.id())).unwrap();
        stat.rsplit_once(')').unwrap().1.starts_with(" T")
    };
    // It waits for our word, or soon does: one of these finds it there.
    for _ in 0..20 {
        server.signal(Signal::STOP);
        wait_until("it is stopped", is_stopped);
        server.signal(Signal::CONT);
        wait_until("it goes on", || !is_stopped());
    }
    successor.write_all(&COMMIT).unwrap();
    read_until(&mut successor, GO);
    successor.write_all(&SERVES).unwrap();
    let (status, _) = server.exit_within(DEADLINE);
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_process_that_dies_in_the_middle_is_no_loss() {
    let mut server = Server::start();
    let mut client = watching(&server, &["products"]);
    let mut emitter = server.emitter();
    let setup = Setup::new(&[]);
    // Its secret is not there, so it fails before it asks; the one that runs does not even notice.
    let mut command = setup.command("serve");
    let socket = server.socket.display().to_string();
    command
        .args(["--takeover", "--jwt-secret-file", "/nowhere"])
        .env("WS_SOCKET", socket);
    let output = command.output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(2),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    emitter.emit(&product(1));
    assert_eq!(client.next()["data"]["productId"], "1");
    assert!(server.is_running());
}

#[test]
fn a_server_that_ends_while_it_is_asked_leaves_its_place() {
    let setup = Setup::new(&[]);
    let false_server = UnixListener::bind(setup.dir().join("shopwire.sock.takeover")).unwrap();
    let asked = std::thread::spawn(move || {
        let (stream, _) = false_server.accept().unwrap();
        let mut hello = String::new();
        BufReader::new(stream).read_line(&mut hello).unwrap();
        hello
    });
    let server = setup.start_with(&["--takeover"]);
    let hello = asked.join().unwrap();
    assert!(hello.contains("\"program\":\"shopwire"), "{hello}");
    server.public();
    server.stop();
}

#[test]
fn one_that_redis_does_not_let_in_ends_and_leaves_the_old_one() {
    let redis = Redis::with(&["--requirepass", "hush"]);
    let url = |password: &str| format!("{}?pass={password}", redis.url());
    let setup = Setup::new(&[]).env("WS_REDIS_URL", &url("hush"));
    let server = setup.start();
    server.await_ready();
    let client = watching(&server, &["products"]);
    let wrong = ["--redis-url", &url("guess")];
    let (code, said) = end_of(successor(&setup, &wrong, Stdio::null()));
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("redis-url: Redis does not let this process in"),
        "{said}"
    );
    assert!(!said.contains("guess"), "{said}");
    goes_on(server, client, 0);
}
