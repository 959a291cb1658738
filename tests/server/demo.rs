//! The demo shop of `emit --demo`: it plays through the real socket, outlives the server, and ends when it is to.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::harness::server::plain_command;
use crate::harness::{DEADLINE, Server, Setup, wait_until};

fn demo(socket: &std::path::Path) -> Command {
    let mut command = plain_command();
    command
        .args(["emit", "--demo", "--demo-rate", "500", "--demo-seed", "7"])
        .arg("--socket")
        .arg(socket)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// A process that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_shop_is_played_and_goes_on_when_the_server_is_back() {
    let setup = Setup::new(&[]);
    let socket = setup.dir().join("shopwire.sock");
    // It may be there before the server.
    let mut demo = Ended(demo(&socket).stdin(Stdio::null()).spawn().unwrap());
    for _ in 0..2 {
        let server = setup.start();
        let mut admin = server.user("root", "admin");
        admin.subscribe(&["orders", "inventory", "payments"]);
        for kind in [
            "order:status_changed",
            "inventory:updated",
            "payment:received",
        ] {
            while admin.next()["type"] != kind {}
        }
        assert_eq!(server.stats()["rejected"], 0, "{}", server.stats());
        server.kill();
    }
    demo.0.kill().unwrap();
    let printed = std::io::read_to_string(demo.0.stdout.take().unwrap()).unwrap();
    assert_eq!(printed, "", "stdout is not the demo's");
}

#[test]
fn it_ends_with_its_input_where_that_is_asked_for() {
    for has_server in [true, false] {
        let setup = Setup::new(&[]);
        let socket = setup.dir().join("shopwire.sock");
        let server = has_server.then(|| setup.start());
        let mut demo = Ended(
            demo(&socket)
                .arg("--entrance-from-stdin")
                .stdin(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let mut stdin = demo.0.stdin.take().unwrap();
        writeln!(stdin, r#"{{"address":"127.0.0.1:9","tokens":{{}}}}"#).unwrap();
        if let Some(server) = &server {
            wait_until("events come", || {
                server.stats()["eventsIn"].as_u64() > Some(20)
            });
        }
        assert!(demo.0.try_wait().unwrap().is_none(), "it ended too early");
        drop(stdin);
        wait_until("the demo ends", || demo.0.try_wait().unwrap().is_some());
        assert_eq!(demo.0.wait().unwrap().code(), Some(0));
        drop(server);
    }
}

#[test]
fn what_cannot_be_played_is_refused_with_what_can() {
    let server = Server::start();
    for (args, expected) in [
        (&["--demo", "--demo-rate", "0"][..], "from 0.1 to 1000"),
        (&["--demo", "order:created"][..], "cannot be used with"),
        (
            &["--demo-rate", "2", "order:created"][..],
            "cannot be used with",
        ),
    ] {
        let output = plain_command()
            .arg("emit")
            .arg("--socket")
            .arg(&server.socket)
            .args(args)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}

/// The processes that `parent` has started and that still run.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|&id| state(id).is_some_and(|(of, _)| of == parent))
        .collect()
}

/// A process's parent and state; `None` for one that is gone.
fn state(id: u32) -> Option<(u32, char)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((fields.next()?.parse().ok()?, state))
}

#[test]
fn a_dev_server_plays_the_shop_for_as_long_as_it_runs() {
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        let mut server = Setup::new(&["--dev"]).start_with(&["--demo"]);
        wait_until("events come", || {
            server.stats()["eventsIn"].as_u64() > Some(12)
        });
        wait_until("a customer is online", || {
            server.stats()["connectionsByRole"]["customer"].as_u64() > Some(0)
        });
        let started = children(server.id());
        assert_eq!(started.len(), 1, "{started:?}");
        server.signal(signal);
        let (status, printed) = server.exit_within(DEADLINE);
        assert_eq!(printed, Vec::<String>::new(), "{signal:?}");
        assert_eq!(status.success(), signal != Signal::KILL, "{status}");
        wait_until("the demo ends", || {
            state(started[0]).is_none_or(|(_, state)| state == 'Z')
        });
    }
}

#[test]
fn a_server_of_a_real_shop_plays_none() {
    let output = Setup::new(&["--demo"]).command("serve").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--dev"), "{said}");
}
