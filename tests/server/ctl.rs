//! The operator's commands over the ingest socket.

mod tap;
mod why;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::examples::event;
use crate::harness::server::{binary, plain_command, text};
use crate::harness::{Client, DEADLINE, Emitter, Opening, Server, tokens, wait_until};

#[test]
fn stats_are_those_of_http() {
    let server = Server::start();
    let _admin = server.user("root", "admin");
    let result = server.emitter().command(&json!({"command": "stats"}));
    let over_http = server.stats();
    let names = |stats: &Value| {
        stats
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&result), names(&over_http));
    assert_eq!(result["totalConnections"], 1);
    let output = server.ctl(&["stats", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["connectionsByRole"]["admin"], 1);
    let output = server.ctl(&["stats"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn commands_are_counted_as_lines() {
    let server = Server::start();
    let mut emitter = server.emitter();
    let id = emitter.emit(&event("product:created"));
    emitter.command(&json!({"command": "stats"}));
    assert_eq!(emitter.settled(), 2);
    for bad in [
        r#"{"command":"dance"}"#,
        r#"{"command":7}"#,
        r#"{"command":"disconnect"}"#,
        r#"{"command":"disconnect","user":7}"#,
    ] {
        let refused = emitter.try_emit(bad.as_bytes()).unwrap_err();
        assert!(refused.line > 2, "{refused:?}");
    }
    assert_eq!(emitter.settled(), 6);
    assert_eq!(emitter.last_id(), Some(id.as_str()));
}

#[test]
fn disconnect_closes_those_who_are_named_with_4403() {
    let server = Server::with(&["--workers", "3"]);
    let ann = || {
        Client::connect(
            &server,
            Opening::new().bearer(&tokens::with_session("ann", "customer", "s-ann")),
        )
    };
    let bob = || {
        Client::connect(
            &server,
            Opening::new().bearer(&tokens::with_session("bob", "customer", "s-bob")),
        )
    };
    let (mut ann_1, mut ann_2, mut bob_1, mut bob_2, mut public) =
        (ann(), ann(), bob(), bob(), server.public());
    let mut emitter = server.emitter();
    emitter.command(&json!({"command": "disconnect", "user": "ann"}));
    ann_1.expect_close(4403);
    ann_2.expect_close(4403);
    let connection = bob_1.connection_id();
    emitter.command(&json!({"command": "disconnect", "connection": connection}));
    bob_1.expect_close(4403);
    bob_2.ping();
    let output = server.ctl(&["disconnect", "--session", "s-bob"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    bob_2.expect_close(4403);
    public.ping();
    emitter.command(&json!({"command": "disconnect", "user": "nobody"}));
    public.ping();

    let (mut guest, mut staff) = (server.user("gil", "guest"), server.user("sam", "staff"));
    let output = server.ctl(&["disconnect", "--role", "guest"]);
    assert_eq!(text(&output), "disconnected: 1\n");
    guest.expect_close(4403);
    let answer = emitter.command(&json!({"command": "disconnect", "role": "public"}));
    assert_eq!(answer, json!({"disconnected": 1}));
    public.expect_close(4403);
    staff.ping();
}

/// Needs root, to become somebody else who may still open the socket.
#[test]
fn others_may_emit_but_not_command() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: only root can become another user");
        return;
    }
    let server = Server::start();
    // A folder and a copy of the binary that another user can reach.
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap()
    };
    open(server.dir(), 0o755);
    open(&server.socket, 0o666);
    let copy = server.dir().join("shopwire");
    std::fs::copy(binary(), &copy).unwrap();
    open(&copy, 0o755);
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .arg(&copy)
            .args(args);
        command
            .arg("--socket")
            .arg(&server.socket)
            .output()
            .unwrap()
    };
    let output = as_nobody(&["emit", "product:deleted", "--data", r#"{"productId":"p"}"#]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    for args in [
        &["ctl", "stats"][..],
        &["ctl", "drain"],
        &["ctl", "reload"],
        &["ctl", "disconnect", "--user", "ann"],
        &["ctl", "revoke", "--user", "ann"],
        &["ctl", "connections"],
        &["ctl", "history", "--data"],
        &["ctl", "log-level", "debug"],
        &["ctl", "access", "--try", "/dev/null"],
        &["ctl", "tap"],
        &["ctl", "why", "--event", "e-1", "--user", "ann"],
    ] {
        let output = as_nobody(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output));
        assert!(
            text(&output).to_lowercase().contains("user"),
            "who may do it: {}",
            text(&output)
        );
    }
    assert_eq!(server.get("/readyz").status, 200, "nothing of it was done");
}

#[test]
fn a_changed_access_table_is_tried_and_nothing_happens() {
    let server = Server::with(&["--workers", "2"]);
    let mut staff = [server.user("sam", "staff"), server.user("sue", "staff")];
    staff[0].subscribe(&["orders", "inventory"]);
    let mut ann = server.user("ann", "customer");
    ann.subscribe(&["orders"]);
    let file = server.dir().join("new.toml");
    let table = "[access]\norders = { admin = \"all\", manager = \"all\", customer = \"all\" }\n";
    std::fs::write(&file, table).unwrap();
    let tried = |args: &[&str]| {
        let all = [&["access", "--try", file.to_str().unwrap()], args].concat();
        server.ctl(&all)
    };
    let output = tried(&["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let change = |role: &str, now: &str, then: &str, connections: u64, subscribed: u64| {
        json!({"namespace": "orders", "role": role, "now": now, "then": then, "connections": connections,
            "subscribed": subscribed})
    };
    assert_eq!(
        answer,
        json!({"changes": [change("staff", "all", "none", 2, 1), change("customer", "own", "all", 1, 1)]})
    );
    let said = text(&tried(&[]));
    assert!(said.contains("1 subscriptions end"), "{said}");
    // All of it is as it was.
    let id = server.emitter().emit(&event("order:deleted"));
    assert_eq!(staff[0].expect_event("order:deleted")["id"], id.as_str());
    std::fs::write(&file, "").unwrap();
    let said = text(&tried(&[]));
    assert!(said.contains("nothing would change"), "{said}");
    std::fs::write(&file, "[access]\norder = 1").unwrap();
    let output = tried(&[]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("access.orders"), "{}", text(&output));
}

/// Asks and gives the `connectionId`s of the answer, and all of it.
fn listed(emitter: &mut Emitter, question: Value) -> (Vec<String>, Value) {
    let mut command = json!({"command": "connections"});
    let fields = question.as_object().unwrap().clone();
    command.as_object_mut().unwrap().extend(fields);
    let answer = emitter.command(&command);
    let rows = answer["connections"].as_array().unwrap().iter();
    let ids = rows.map(|row| row["connectionId"].as_str().unwrap().to_owned());
    (ids.collect(), answer)
}

#[test]
fn connections_are_listed_by_what_they_are_and_page_by_page() {
    let server = Server::with(&["--workers", "3"]);
    let mut ann = Client::connect(
        &server,
        Opening::new().bearer(&tokens::with_session("ann", "customer", "s-ann")),
    );
    ann.subscribe(&["orders", "products"]);
    let mut admin = server.user("root", "admin");
    admin.subscribe(&["system"]);
    let public: Vec<Client> = (0..5).map(|_| server.public()).collect();
    let mut all = vec![ann.connection_id(), admin.connection_id()];
    all.extend(public.iter().map(Client::connection_id));
    let mut emitter = server.emitter();

    let (ids, answer) = listed(&mut emitter, json!({}));
    assert_eq!(ids, all, "oldest first, over all workers");
    assert_eq!((&answer["matching"], answer.get("next")), (&json!(7), None));
    let row = &answer["connections"][0];
    assert_eq!(row["userId"], "ann");
    assert_eq!(row["sessionId"], "s-ann");
    assert_eq!(row["role"], "customer");
    assert_eq!(row["ip"], "127.0.0.1");
    assert_eq!(row["namespaces"], json!(["orders", "products"]));
    assert_eq!(
        (&row["waitingBytes"], &row["tls"]),
        (&json!(0), &json!(false))
    );
    assert!(row["worker"].as_u64().unwrap() < 3);
    assert!(row["expiresAt"].as_u64().unwrap() > tokens::now_ms());
    assert_eq!(answer["connections"][2].get("userId"), None);

    for (question, expected) in [
        (json!({"role": "customer"}), &all[..1]),
        (json!({"role": "public"}), &all[2..]),
        (json!({"user": "root"}), &all[1..2]),
        (json!({"user": "nobody"}), &all[..0]),
        (json!({"session": "s-ann"}), &all[..1]),
        (json!({"namespace": "system"}), &all[1..2]),
        (json!({"namespace": "orders", "role": "admin"}), &all[..0]),
        (json!({"slow": true}), &all[..0]),
    ] {
        let (ids, answer) = listed(&mut emitter, question.clone());
        assert_eq!(ids, expected, "{question}");
        assert_eq!(answer["matching"], expected.len(), "{question}");
    }

    let mut seen = Vec::new();
    let mut question = json!({"limit": 2});
    let mut pages = 0;
    loop {
        let (ids, answer) = listed(&mut emitter, question.clone());
        assert!(ids.len() <= 2);
        assert_eq!(answer["matching"], 7);
        seen.extend(ids);
        pages += 1;
        let Some(next) = answer.get("next") else {
            break;
        };
        question["after"] = next.clone();
    }
    assert_eq!((seen, pages), (all.clone(), 4));

    let output = server.ctl(&["connections", "--user", "ann"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.starts_with("CONNECTION"), "{printed}");
    assert!(
        printed.contains(&all[0]) && printed.contains("orders,products"),
        "{printed}"
    );
    assert!(printed.ends_with("\n1 of 1\n"), "{printed}");
    let output = server.ctl(&["connections", "--role", "boss"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("admin, manager"),
        "{}",
        text(&output)
    );
    drop(admin);
    wait_until("who left is not listed", || {
        listed(&mut emitter, json!({"role": "admin"})).0.is_empty()
    });
}

#[test]
fn the_slowest_readers_are_listed_first() {
    let server = Server::with(&["--outbox-limit", "64MiB", "--workers", "2"]);
    let stalled = |user: &str| {
        let opening = Opening::new().bearer(&tokens::of(user, "customer"));
        let mut client = Client::connect(&server, opening.receive_buffer(4096));
        client.subscribe(&["orders"]);
        client
    };
    let (little, much) = (stalled("little"), stalled("much"));
    let mut emitter = server.emitter();
    let pad = "x".repeat(100_000);
    for (customer, events) in [("little", 10), ("much", 20)] {
        for n in 0..events {
            let data = json!({"orderId": n.to_string(), "customerId": customer, "pad": pad});
            emitter.emit(&json!({"type": "order:deleted", "data": data}));
        }
    }
    let (ids, answer) = listed(&mut emitter, json!({"slow": true}));
    assert_eq!(
        ids,
        [much.connection_id(), little.connection_id()],
        "{answer}"
    );
    let waiting = |index: usize| answer["connections"][index]["waitingBytes"].as_u64();
    assert!(waiting(0) > waiting(1) && waiting(1) > Some(0), "{answer}");
    let (first, _) = listed(&mut emitter, json!({"slow": true, "limit": 1}));
    assert_eq!(first, [much.connection_id()]);
}

#[test]
fn history_shows_what_is_kept_and_its_data_only_when_asked() {
    let server = Server::with(&["--workers", "2"]);
    let mut emitter = server.emitter();
    let mut ids = Vec::new();
    for n in 0..5 {
        let data = json!({"productId": n.to_string(), "note": "<b> \",\"timestamp\":1"});
        let event = json!({"type": "product:deleted", "data": data, "timestamp": 1_700_000_000_000_u64 + n});
        ids.push(emitter.emit(&event));
    }
    let mut named = event("order:created");
    named["to"] = json!({"userIds": ["ann"]});
    ids.push(emitter.emit(&named));
    let ids_of = |answer: &Value| -> Vec<String> {
        let events = answer["events"].as_array().unwrap().iter();
        events
            .map(|event| event["id"].as_str().unwrap().to_owned())
            .collect()
    };
    ids.reverse();
    let answer = emitter.command(&json!({"command": "history"}));
    assert_eq!(ids_of(&answer), ids, "the newest first");
    assert_eq!(answer["keptEvents"], 6);
    assert!(answer["keptBytes"].as_u64() > Some(600));
    assert_eq!(answer["events"][0]["named"], true);
    let last = &answer["events"][5];
    assert_eq!(last["type"], "product:deleted");
    assert_eq!(last["timestamp"], 1_700_000_000_000_u64);
    assert_eq!(last["named"], false);
    assert_eq!(last.get("data"), None);
    assert!(!server.stderr().contains("looks at events"));

    let question = json!({"command": "history", "namespace": "products", "limit": 2, "data": true});
    let answer = emitter.command(&question);
    assert_eq!(ids_of(&answer), ids[1..3]);
    assert_eq!(answer["events"][0]["data"]["productId"], "4");
    assert_eq!(
        answer["events"][0]["data"]["note"],
        "<b> \",\"timestamp\":1"
    );
    wait_until("the log tells that it was looked at", || {
        server.stderr().contains("looks at events with their data")
    });
    let answer = emitter.command(&json!({"command": "history", "type": "order:created"}));
    assert_eq!(ids_of(&answer), ids[..1]);

    let output = server.ctl(&["history", "--limit", "3"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        printed.starts_with("TIME") && printed.contains(&ids[0]),
        "{printed}"
    );
    assert!(printed.contains("\n3 of 6 kept events, "), "{printed}");
}

#[test]
fn data_in_a_list_are_bounded() {
    let server = Server::with(&["--max-message", "1MiB"]);
    let mut emitter = server.emitter();
    for n in 0..3 {
        let data = json!({"productId": n.to_string(), "pad": "x".repeat(600_000)});
        emitter.emit(&json!({"type": "product:deleted", "data": data}));
    }
    let answer = emitter.command(&json!({"command": "history", "data": true}));
    let events = answer["events"].as_array().unwrap();
    assert_eq!(events.len(), 3);
    let with_data = events.iter().filter(|event| event.get("data").is_some());
    assert_eq!(with_data.count(), 1, "there is room for one of them");
    assert!(events[0].get("data").is_some(), "the newest");
}

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
