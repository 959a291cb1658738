//! Other people's WebSocket clients: Node's `ws` and Python's `websockets`, by small scripts in `tests/interop/`.
//!
//! They are installed once, beside the scripts (`make test` does it):
//!
//! ```text
//! npm ci --prefix tests/interop
//! python3 -m pip install --quiet --target tests/interop/python_modules -r tests/interop/requirements.txt
//! ```

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::examples::about;
use crate::harness::tokens::{SECRET, of, signed_by};
use crate::harness::{Client, Ending, Server};

const WAYS: [&str; 3] = ["header", "subprotocol", "message"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/interop")
}

fn node() -> Command {
    let modules = folder().join("node_modules/ws");
    assert!(
        modules.exists(),
        "Node's ws is not installed: run `npm ci --prefix tests/interop` (make test does)"
    );
    let mut command = Command::new("node");
    command.arg(folder().join("client.mjs"));
    command
}

fn python() -> Command {
    let modules = folder().join("python_modules");
    assert!(
        modules.join("websockets").exists(),
        "Python's websockets is not installed: run `python3 -m pip install --target tests/interop/python_modules -r tests/interop/requirements.txt` (make test does)"
    );
    let mut command = Command::new("python3");
    command
        .arg(folder().join("client.py"))
        .env("PYTHONPATH", modules);
    command
}

/// A running script; it is killed with the test if it does not end by itself.
struct Script {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Script {
    fn start(mut command: Command, server: &Server, token: &str, way: &str) -> Self {
        let program = command.get_program().to_owned();
        let child = command
            .args([&server.field("ws"), token, way])
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!(
                "{} must be installed for this test: {error}",
                program.display()
            )
        });
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn expect(&mut self, kind: &str) -> Value {
        let line = self
            .lines
            .next()
            .unwrap_or_else(|| panic!("the script ended before {kind}"))
            .unwrap();
        let message: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(message["type"], kind, "{message}");
        message
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn connects_authenticates_subscribes_and_receives(command: fn() -> Command) {
    let server = Server::start();
    let mut emitter = server.emitter();
    for way in WAYS {
        let mut script = Script::start(command(), &server, &of("ann", "customer"), way);
        script.expect("welcome");
        assert_eq!(script.expect("authenticated")["data"]["userId"], "ann");
        assert_eq!(
            script.expect("subscribed")["data"]["namespaces"],
            json!(["orders"])
        );
        let mut order = about("order:created", "ann");
        order["data"]["customerName"] = "Zoë </script> \u{2028} 😀".into();
        emitter.emit(&about("order:created", "bob"));
        let id = emitter.emit(&order);
        let got = script.expect("order:created");
        assert_eq!((&got["id"], &got["data"]), (&json!(id), &order["data"]));
        let closed = script.expect("closed");
        assert_eq!(closed["code"], 1000, "the close is answered: {closed}");
        assert_eq!(
            closed["protocol"],
            if way == "subprotocol" {
                "shopwire.v1"
            } else {
                ""
            }
        );
        assert!(script.child.wait().unwrap().success());
    }
    let forged = signed_by(
        &json!({"sub": "ann", "role": "admin", "exp": 9_999_999_999_u64}),
        jsonwebtoken::Algorithm::HS256,
        &SECRET.replace('a', "b"),
    );
    let mut script = Script::start(command(), &server, &forged, "message");
    script.expect("welcome");
    assert_eq!(script.expect("error")["data"]["code"], "unauthorized");
    assert_eq!(script.expect("closed")["code"], 4401);
}

#[test]
fn nodes_ws_connects_authenticates_subscribes_and_receives() {
    connects_authenticates_subscribes_and_receives(node);
}

#[test]
fn pythons_websockets_connects_authenticates_subscribes_and_receives() {
    connects_authenticates_subscribes_and_receives(python);
}

/// What a browser sends: an Origin of the same host, offers of compression, and its token as a subprotocol.
#[test]
fn a_browsers_handshake_is_taken() {
    let server = Server::start();
    let opening = crate::harness::Opening::new()
        .origin(&format!("http://{}", server.address))
        .header("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36")
        .header("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
        .header("Accept-Language", "de,en;q=0.9")
        .header("Cookie", "session=1; theme=dark")
        .header("Sec-WebSocket-Protocol", &format!("shopwire.v1, token.{}", of("ann", "customer")));
    let mut client = Client::connect(&server, opening);
    assert_eq!(
        client.response.headers().get("sec-websocket-extensions"),
        None
    );
    client.subscribe(&["orders"]);
    client.socket.close(None).unwrap();
    let (ending, _) = client.read_to_end();
    assert!(matches!(ending, Ending::Closed(1000 | 1005)), "{ending:?}");
}
