//! The journal: what a server that is killed, or stopped, or out of disk still owes.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Client, Fence, Server, Setup, wait_until};

/// A folder that outlives servers.
struct Journal {
    parent: TempDir,
}

impl Journal {
    fn new() -> Self {
        Self {
            parent: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.parent.path().join("journal")
    }

    fn setup(&self, args: &[&str]) -> Setup {
        let path = self.path().display().to_string();
        Setup::new(&[&["--journal", &path], args].concat())
    }

    fn server(&self) -> Server {
        self.setup(&[]).start()
    }

    /// Its files of events, oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path()).unwrap();
        let mut files: Vec<_> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "events"))
            .collect();
        files.sort();
        files
    }
}

fn product(n: usize) -> Value {
    json!({"type": "product:deleted", "data": {"productId": n.to_string()}})
}

fn subscribe(client: &mut Client, start: Value) -> Value {
    let mut data = json!({"namespaces": ["products"]});
    data.as_object_mut()
        .unwrap()
        .append(&mut start.as_object().unwrap().clone());
    client.send(&json!({"type": "subscribe", "data": data}));
    client.expect("subscribed")["data"].clone()
}

fn products(events: &[Value]) -> Vec<String> {
    let product = |event: &Value| event["data"]["productId"].as_str().unwrap().to_owned();
    events.iter().map(product).collect()
}

fn expected(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// What comes before a fence that is raised now.
fn comes(server: &Server, client: &mut Client) -> Vec<String> {
    products(&Fence::raise(&mut server.emitter()).before(client))
}

#[test]
fn a_client_of_a_killed_server_goes_on_at_the_next_one() {
    let journal = Journal::new();
    let server = journal.server();
    let mut client = server.public();
    let position = subscribe(&mut client, json!({}))["position"].clone();
    let mut emitter = server.emitter();
    let ids: Vec<String> = (0..10).map(|n| emitter.emit(&product(n))).collect();
    for id in &ids {
        assert_eq!(client.next()["id"], id.as_str());
    }
    server.kill();

    let server = journal.server();
    let mut client = server.public();
    let answer = subscribe(&mut client, json!({"since": ids[3]}));
    assert_eq!(answer["recovered"], true);
    for id in &ids[4..] {
        assert_eq!(client.next()["id"], id.as_str(), "the same id as before");
    }
    let new = server.emitter().emit(&product(10));
    assert_eq!(client.next()["id"], new.as_str());
    assert!(!ids.contains(&new));
    server.stop();

    // A third one, from where the first began, and from where the second did.
    let server = journal.server();
    let mut client = server.public();
    assert_eq!(
        subscribe(&mut client, json!({"since": position}))["recovered"],
        true
    );
    assert_eq!(comes(&server, &mut client), expected(0..11));
    let answer = subscribe(&mut client, json!({"since": answer["position"]}));
    assert_eq!(answer["recovered"], true);
    let again = comes(&server, &mut client);
    assert_eq!(again[0], "10", "{again:?}");
}

#[test]
fn an_empty_server_s_position_holds_after_a_restart() {
    let journal = Journal::new();
    let server = journal.server();
    let position = subscribe(&mut server.public(), json!({}))["position"].clone();
    server.kill();
    journal.server().kill();
    let server = journal.server();
    let mut client = server.public();
    assert_eq!(
        subscribe(&mut client, json!({"since": position}))["recovered"],
        true
    );
    server.emitter().emit(&product(1));
    assert_eq!(client.next()["data"]["productId"], "1");
}

#[test]
fn last_and_permissions_of_today_hold_for_events_of_yesterday() {
    let journal = Journal::new();
    let server = journal.server();
    let mut emitter = server.emitter();
    for customer in ["ann", "bob"] {
        let data = json!({"orderId": "o", "customerId": customer});
        emitter.emit(
            &json!({"type": "order:deleted", "data": data, "to": {"excludeUserIds": ["eve"]}}),
        );
    }
    server.kill();
    let server = journal.server();
    for (user, role, customers) in [
        ("ann", "customer", vec!["ann"]),
        ("sam", "staff", vec!["ann", "bob"]),
        ("eve", "staff", vec![]),
    ] {
        let mut client = server.user(user, role);
        client.subscribe_with(json!({"namespaces": ["orders"], "last": 10}));
        client.subscribe(&["products"]);
        let events = Fence::raise(&mut server.emitter()).before(&mut client);
        let found: Vec<_> = events
            .iter()
            .map(|event| &event["data"]["customerId"])
            .collect();
        assert_eq!(found, customers, "{user}");
    }
}

#[test]
fn keys_are_known_to_the_next_run() {
    let journal = Journal::new();
    let mut event = product(1);
    event["key"] = "once".into();
    let server = journal.server();
    let first = server.emitter().emit(&event);
    server.kill();
    let server = journal.server();
    let mut client = server.public();
    client.subscribe(&["products"]);
    assert_eq!(
        server.emitter().emit(&event),
        first,
        "acknowledged as the first"
    );
    assert_eq!(comes(&server, &mut client), Vec::<String>::new());
    assert_eq!(server.stats()["eventsIn"], 1, "the fence");
}

#[test]
fn all_that_several_emitters_had_acknowledged_is_there_once_in_order() {
    const EVENTS: usize = 3_000;
    for sync in ["batch", "interval:50ms", "never"] {
        let journal = Journal::new();
        let server = journal.setup(&["--journal-sync", sync]).start();
        let position = subscribe(&mut server.public(), json!({}))["position"].clone();
        let emitters: Vec<_> = (0..3)
            .map(|emitter| {
                let mut connection = server.emitter();
                thread::spawn(move || {
                    for n in 0..EVENTS {
                        connection.send_line(product(emitter * EVENTS + n).to_string().as_bytes());
                    }
                    connection.settle();
                    assert_eq!(connection.refusals().len(), 0);
                })
            })
            .collect();
        for emitter in emitters {
            emitter.join().unwrap();
        }
        server.kill();
        let server = journal.server();
        let mut client = server.public();
        assert_eq!(
            subscribe(&mut client, json!({"since": position}))["recovered"],
            true
        );
        let got = comes(&server, &mut client);
        assert_eq!(got.len(), 3 * EVENTS, "{sync}");
        for emitter in 0..3 {
            let range = emitter * EVENTS..(emitter + 1) * EVENTS;
            let own: Vec<_> = got
                .iter()
                .filter(|product| range.contains(&product.parse().unwrap()))
                .cloned()
                .collect();
            assert_eq!(own, expected(range), "{sync}");
        }
    }
}

#[test]
fn a_torn_end_is_cut_and_told() {
    let journal = Journal::new();
    let server = journal.server();
    let position = subscribe(&mut server.public(), json!({}))["position"].clone();
    (0..5).for_each(|n| drop(server.emitter().emit(&product(n))));
    server.kill();
    let path = journal.files().pop().unwrap();
    let mut file = std::fs::File::options().append(true).open(&path).unwrap();
    file.write_all(b"half a record").unwrap();
    let server = journal.server();
    let told = format!(
        "{} ended in 13 bytes of an unfinished write",
        path.display()
    );
    wait_until(&told, || server.stderr().contains(&told));
    let mut client = server.public();
    assert_eq!(
        subscribe(&mut client, json!({"since": position}))["recovered"],
        true
    );
    assert_eq!(comes(&server, &mut client), expected(0..5));
}

#[test]
fn nobody_is_led_over_a_damaged_place() {
    let journal = Journal::new();
    let server = journal.server();
    let position = subscribe(&mut server.public(), json!({}))["position"].clone();
    let ids: Vec<_> = (0..9).map(|n| server.emitter().emit(&product(n))).collect();
    server.kill();
    let path = journal.files().pop().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let id = format!("\"{}\"", ids[4]);
    let at = bytes
        .windows(id.len())
        .position(|window| window == id.as_bytes());
    bytes[at.unwrap()] ^= 1;
    std::fs::write(&path, bytes).unwrap();

    let server = journal.server();
    let told = format!("{} is damaged", path.display());
    wait_until(&told, || server.stderr().contains(&told));
    let mut client = server.public();
    for since in [&position, &json!(ids[3])] {
        let answer = subscribe(&mut client, json!({"since": since}));
        assert_eq!(answer["recovered"], false, "{since}");
    }
    let answer = subscribe(&mut client, json!({"since": ids[4]}));
    assert_eq!(answer["recovered"], true);
    assert_eq!(comes(&server, &mut client), expected(5..9));
}

#[test]
fn a_full_disk_stops_acks_and_nothing_else_and_passes() {
    let journal = Journal::new();
    let server = journal.server();
    let mut client = server.public();
    let position = subscribe(&mut client, json!({}))["position"].clone();
    let mut emitter = server.emitter();
    emitter.emit(&product(0));
    client.next();

    server.limit_files(Some(1));
    let mut event = product(1);
    event["key"] = "one".into();
    emitter.send_line(b"{}");
    emitter.send_line(event.to_string().as_bytes());
    emitter.send_line(b"");
    emitter.settle();
    let refusals: Vec<_> = emitter
        .refusals()
        .iter()
        .map(|r| (r.line, r.code.as_str()))
        .collect();
    assert_eq!(refusals, [(2, "unknown_type"), (3, "unavailable")]);
    let message = &emitter.refusals()[1].message;
    assert!(
        message.contains("was delivered") && message.contains("File too large"),
        "{message}"
    );
    let live = client.next();
    assert_eq!(live["data"]["productId"], "1", "delivered all the same");
    let ready = server.get("/readyz");
    assert_eq!(
        (ready.status, ready.json()["status"].clone()),
        (503, json!("journal unavailable"))
    );
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.stats()["journal"]["failing"], true);
    let repeated = server.emitter().emit_refused(&event.to_string());
    assert_eq!(repeated.code, "unavailable", "it is still not safe");

    server.limit_files(None);
    wait_until("the journal works again", || {
        server.get("/readyz").status == 200
    });
    let id = server.emitter().emit(&event);
    assert_eq!(
        live["id"],
        id.as_str(),
        "the repeated key stands for the event that was delivered"
    );
    for line in [
        "cannot be written: File too large",
        "the journal can be written again",
    ] {
        wait_until(line, || server.stderr().contains(line));
    }
    server.kill();
    let server = journal.server();
    let mut client = server.public();
    assert_eq!(
        subscribe(&mut client, json!({"since": position}))["recovered"],
        true
    );
    assert_eq!(comes(&server, &mut client), expected(0..2));
}

#[test]
fn little_is_kept_of_much_and_the_rest_can_be_recovered() {
    let journal = Journal::new();
    let args = ["--history", "200KiB"];
    let server = journal.setup(&args).start();
    let position = subscribe(&mut server.public(), json!({}))["position"].clone();
    let mut emitter = server.emitter();
    let pad = "x".repeat(1000);
    let mut ids = Vec::new();
    for n in 0..2_000 {
        let data = json!({"productId": n.to_string(), "pad": pad});
        let event = json!({"type": "product:deleted", "data": data, "key": format!("k{n}")});
        ids.push(emitter.emit(&event));
    }
    let on_disk: u64 = journal
        .files()
        .iter()
        .map(|path| std::fs::metadata(path).unwrap().len())
        .sum();
    assert!(on_disk < 500 << 10, "{on_disk} bytes");
    let stats = server.stats();
    assert_eq!(stats["journal"]["failing"], false);
    assert!(stats["journal"]["syncs"].as_u64().unwrap() > 0, "{stats}");
    server.kill();

    let server = journal.setup(&args).start();
    let mut client = server.public();
    assert_eq!(
        subscribe(&mut client, json!({"since": position}))["recovered"],
        false
    );
    let answer = subscribe(&mut client, json!({"since": ids[1900]}));
    assert_eq!(answer["recovered"], true);
    assert_eq!(comes(&server, &mut client), expected(1901..2000));
    let event = json!({"type": "product:deleted", "data": {"productId": "0"}, "key": "k0"});
    assert_eq!(
        server.emitter().emit(&event),
        ids[0],
        "its key outlives the event"
    );
}

#[test]
fn the_folder_is_its_owner_s_and_one_server_s() {
    let journal = Journal::new();
    let server = journal.server();
    server.emitter().emit(&product(1));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&journal.path()), 0o700);
    for file in journal.files() {
        assert_eq!(mode(&file), 0o600);
    }
    let second = journal.setup(&[]).command("serve").output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("in use by another shopwire"), "{said}");
}

#[test]
fn settings_that_make_no_sense_are_named() {
    for (args, words) in [
        (
            vec!["--journal", "/tmp/j", "--history", "0"],
            "history and history-age must not be 0",
        ),
        (vec!["--journal", ""], "must be the path of a folder"),
        (
            vec!["--journal-sync", "sometimes"],
            "must be batch, never, or interval:",
        ),
        (
            vec!["--journal-sync", "interval:0"],
            "must be batch, never, or interval:",
        ),
    ] {
        let output = Setup::new(&args).command("check").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    let output = Setup::new(&["--journal", &path])
        .command("serve")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&path), "{said}");
}
