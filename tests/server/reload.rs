//! Settings and keys that change while the server runs, on SIGHUP and `ctl reload`.

use std::path::{Path, PathBuf};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rustix::fs::{CWD, mkfifoat};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::server::text;
use crate::harness::tls::Certificates;
use crate::harness::tokens::{SECRET, now_seconds, of, signed_by};
use crate::harness::{Client, Fence, Opening, Server, Setup, wait_until};

const NEXT: &str = "the secret that comes into use next, long enough";

fn signed_with(secret: &str) -> String {
    let claims = json!({"sub": "ann", "role": "customer", "exp": now_seconds() + 600});
    signed_by(&claims, Algorithm::HS256, secret)
}

fn status(server: &Server, token: &str) -> Option<u16> {
    Client::try_connect(server.address, Opening::new().bearer(token)).err()
}

/// Every reactor judges so: a connection goes to whichever its port leads to.
fn all_say(server: &Server, token: &str, expected: Option<u16>) -> bool {
    (0..8).all(|_| status(server, token) == expected)
}

fn reload(server: &Server) -> Value {
    let output = server.ctl(&["reload", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    serde_json::from_str(&text(&output)).unwrap()
}

fn fail_to_reload(server: &Server, words: &[&str]) {
    let output = server.ctl(&["reload"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in words.iter().chain(&["reload_failed"]) {
        assert!(said.contains(word), "{word:?} in {said}");
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Two secret files: the harness' own, and one that holds the next secret.
fn two_secrets() -> (Setup, PathBuf, PathBuf) {
    let setup = Setup::new(&[]);
    let (old, new) = (setup.dir().join("secret"), setup.dir().join("next"));
    std::fs::write(&new, NEXT).unwrap();
    (setup, old, new)
}

#[test]
fn a_secret_is_rotated_without_a_moment_in_which_nobody_gets_in() {
    let (setup, path, next) = two_secrets();
    let setup = setup.without("--jwt-secret-file");
    let setup = setup.file(&format!("jwt-secret-file = {:?}\n", shown(&path)));
    let config = setup.dir().join("shopwire.toml");
    let server = setup.start();
    let (old, new) = (signed_with(SECRET), signed_with(NEXT));
    assert_eq!(status(&server, &old), None);
    assert_eq!(status(&server, &new), Some(401));
    let mut before = Client::connect(&server, Opening::new().bearer(&old));

    // The new one is added, and signs; the old one's tokens still come in.
    let both = format!(
        "jwt-secret-file = [{:?}, {:?}]\n",
        shown(&next),
        shown(&path)
    );
    std::fs::write(&config, both).unwrap();
    let answer = reload(&server);
    assert_eq!(
        answer,
        json!({"reloaded": ["jwt-secret-file"], "changed": [], "afterRestart": [], "keys": 2, "warnings": []})
    );
    wait_until("both secrets are good", || {
        all_say(&server, &new, None) && all_say(&server, &old, None)
    });
    assert_eq!(before.auth(&new)["type"], "authenticated");
    assert_eq!(before.auth(&old)["type"], "authenticated");

    // The old one is withdrawn: who came by it stays, its tokens are refused, a refresh by one too.
    std::fs::write(&config, format!("jwt-secret-file = {:?}\n", shown(&next))).unwrap();
    server.signal(Signal::HUP);
    wait_until("the old secret is withdrawn", || {
        all_say(&server, &old, Some(401))
    });
    assert_eq!(status(&server, &new), None);
    before.ping();
    assert_eq!(before.auth(&old)["data"]["code"], "unauthorized");
    assert_eq!(before.auth(&new)["type"], "authenticated");
    let mut public = server.public();
    assert_eq!(public.auth(&old)["data"]["code"], "unauthorized");
    public.expect_close(4401);
    assert!(!server.stderr().contains(NEXT) && !server.stderr().contains(SECRET));
}

#[test]
fn what_is_wrong_changes_nothing() {
    let (setup, path, next) = two_secrets();
    let pem = setup.dir().join("keys.pem");
    let ed = fixture("ed.pub.pem");
    std::fs::write(&pem, &ed).unwrap();
    let setup = setup.file(&format!(
        "message-rate = 7\njwt-public-key = {:?}\n",
        shown(&pem)
    ));
    let config = setup.dir().join("shopwire.toml");
    let good = std::fs::read(&config).unwrap();
    let server = setup.start();
    let token = signed_with(SECRET);

    // The secret alone would be good, the public keys are not: neither is taken.
    std::fs::write(&path, NEXT).unwrap();
    for (bytes, word) in [
        (b"junk".to_vec(), "PEM"),
        (fixture("rsa.pem"), "private key"),
        ([ed.clone(), fixture("rsa1024.pub.pem")].concat(), "block 2"),
    ] {
        std::fs::write(&pem, bytes).unwrap();
        fail_to_reload(&server, &["jwt-public-key", &shown(&pem), word]);
    }
    std::fs::write(&pem, &ed).unwrap();
    for (toml, words) in [
        ("message-rate = \"fast\"", vec!["message-rate", "fast"]),
        ("message-rat = 8", vec!["message-rat", "message-rate"]),
        ("[access]\norders = 1", vec!["access.orders"]),
        ("message-rate = ", vec!["line 1"]),
    ] {
        std::fs::write(&config, toml).unwrap();
        fail_to_reload(&server, &words);
    }
    std::fs::remove_file(&config).unwrap();
    fail_to_reload(&server, &["shopwire.toml", "cannot be read"]);
    std::fs::write(&config, &good).unwrap();
    std::fs::write(&path, "short").unwrap();
    fail_to_reload(&server, &["jwt-secret-file", "32 bytes"]);
    std::fs::remove_file(&path).unwrap();
    fail_to_reload(
        &server,
        &["jwt-secret-file", &shown(&path), "cannot be read"],
    );

    assert!(all_say(&server, &token, None), "all is as it was");
    assert!(server.stderr().contains("all stays as it was"));
    std::fs::copy(&next, &path).unwrap();
    reload(&server);
    wait_until("the new secret is in force", || {
        all_say(&server, &signed_with(NEXT), None)
    });
    assert_eq!(status(&server, &token), Some(401));
}

/// Opening one waits for its other end, for ever.
#[test]
fn a_pipe_in_the_place_of_a_key_is_refused_and_holds_up_no_later_reload() {
    let certificates = Certificates::new();
    let setup = certificates.setup(&[]);
    let secret = setup.dir().join("secret");
    let server = setup.start();
    for (path, setting) in [
        (&secret, "jwt-secret-file"),
        (&certificates.cert, "tls-cert"),
        (&certificates.key, "tls-key"),
    ] {
        let good = std::fs::read(path).unwrap();
        std::fs::remove_file(path).unwrap();
        mkfifoat(CWD, path, 0o600.into()).unwrap();
        fail_to_reload(&server, &[setting, &shown(path), "a pipe", "regular file"]);
        let refused = setup.command("check").output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, good).unwrap();
        reload(&server);
    }
}

#[test]
fn public_keys_and_sets_are_read_again() {
    let setup = Setup::new(&[]);
    let (pem, set) = (setup.dir().join("keys.pem"), setup.dir().join("set.json"));
    let keys =
        |names: &[&str]| -> Vec<u8> { names.iter().flat_map(|name| fixture(name)).collect() };
    let jwks = |kid: &str| {
        let secret = crate::keys::base64url_of(NEXT.as_bytes());
        json!({"keys": [{"kty": "oct", "kid": kid, "k": secret}]}).to_string()
    };
    std::fs::write(&pem, keys(&["ed.pub.pem"])).unwrap();
    std::fs::write(&set, jwks("one")).unwrap();
    let (pem_path, set_path) = (shown(&pem), shown(&set));
    let args = ["--jwt-public-key", &pem_path, "--jwks-file", &set_path];
    let server = Setup::new(&args).without("--jwt-secret-file").start();
    let by = |algorithm, key: EncodingKey, kid: Option<&str>| {
        let claims = json!({"sub": "ann", "role": "customer", "exp": now_seconds() + 600});
        let mut header = Header::new(algorithm);
        header.kid = kid.map(str::to_owned);
        encode(&header, &claims, &key).unwrap()
    };
    let ed = by(
        Algorithm::EdDSA,
        EncodingKey::from_ed_pem(&fixture("ed.pem")).unwrap(),
        None,
    );
    let rsa = by(
        Algorithm::RS256,
        EncodingKey::from_rsa_pem(&fixture("rsa.pem")).unwrap(),
        None,
    );
    let named = |kid| {
        by(
            Algorithm::HS256,
            EncodingKey::from_secret(NEXT.as_bytes()),
            Some(kid),
        )
    };
    let statuses =
        |tokens: [&str; 4]| -> Vec<Option<u16>> { tokens.map(|each| status(&server, each)).into() };
    let (one, two) = (named("one"), named("two"));
    let tokens = [&ed, &rsa, &one, &two].map(String::as_str);
    assert_eq!(statuses(tokens), [None, Some(401), None, Some(401)]);

    std::fs::write(&pem, keys(&["ed.pub.pem", "rsa.pub.pem"])).unwrap();
    std::fs::write(&set, jwks("two")).unwrap();
    let answer = reload(&server);
    assert_eq!(answer["reloaded"], json!(["jwt-public-key", "jwks-file"]));
    assert_eq!(answer["keys"], 3);
    wait_until("every reactor has them", || {
        all_say(&server, tokens[1], None) && all_say(&server, tokens[2], Some(401))
    });
    assert_eq!(statuses(tokens), [None, None, Some(401), None]);
}

#[test]
fn a_secret_in_the_environment_stays_and_that_is_told() {
    let setup = Setup::new(&[]).without("--jwt-secret-file");
    let server = setup.env("WS_JWT_SECRET", SECRET).start();
    server.signal(Signal::HUP);
    wait_until("the log says so", || {
        server.stderr().contains("WS_JWT_SECRET stands in") && server.stderr().contains("reloaded:")
    });
    let output = server.ctl(&["reload"]);
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output);
    assert!(said.starts_with("nothing to reload"), "{said}");
    assert!(said.contains("warning: WS_JWT_SECRET"), "{said}");
    let answer = reload(&server);
    assert_eq!(
        (&answer["reloaded"], &answer["keys"]),
        (&json!([]), &json!(1))
    );
    assert_eq!(status(&server, &of("ann", "customer")), None);

    // Nor does the secret of a run of its own change.
    let dev = Setup::new(&["--dev"]).without("--jwt-secret-file").start();
    wait_until("the hints are there", || dev.stderr().contains("onopen"));
    let hints = dev.stderr();
    let token = hints.split("dev-admin:").nth(1).unwrap();
    let token = token.split_whitespace().next().unwrap().to_owned();
    assert_eq!(status(&dev, &token), None);
    assert_eq!(reload(&dev)["keys"], 1);
    assert!(all_say(&dev, &token, None));
}

#[test]
fn tokens_are_made_with_the_first_of_several_secrets() {
    let (setup, path, next) = two_secrets();
    let server = setup.start();
    let mint = |files: &[&Path]| {
        let mut command = crate::harness::server::plain_command();
        command.args(["token", "--user", "ann", "--role", "customer"]);
        for file in files {
            command.arg("--jwt-secret-file").arg(file);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        text(&output).trim().to_owned()
    };
    let (path, next) = (path.as_path(), next.as_path());
    assert_eq!(status(&server, &mint(&[path, next])), None);
    assert_eq!(status(&server, &mint(&[next, path])), Some(401));
}

/// A rate of which what was said before takes nothing from the next one.
const BEFORE: &str = r#"
message-rate = 1000000
allowed-origins = ["https://old.example"]
"#;

const AFTER: &str = r#"
message-rate = 2
connect-rate = 9
ping-interval = "59s"
allowed-origins = ["https://new.example"]
[access]
orders = { admin = "all" }
inventory = { admin = "all", customer = "all" }
"#;

#[test]
fn settings_that_can_change_do_and_the_others_are_named() {
    let setup = Setup::new(&[]).without("--ping-interval");
    let setup = setup.without("--connect-rate").env("WS_CONNECT_RATE", "0");
    let setup = setup.file(BEFORE);
    let config = setup.dir().join("shopwire.toml");
    let server = setup.start();
    let mut emitter = server.emitter();
    let mut admin = server.user("root", "admin");
    admin.subscribe(&["orders", "products"]);
    let mut staff = server.user("sam", "staff");
    staff.subscribe(&["orders", "products", "inventory"]);
    let mut ann = server.user("ann", "customer");
    ann.subscribe(&["orders", "products"]);
    let origin =
        |origin: &str| Client::try_connect(server.address, Opening::new().origin(origin)).err();
    assert_eq!(origin("https://old.example"), None);
    assert_eq!(origin("https://new.example"), Some(403));

    std::fs::write(&config, AFTER).unwrap();
    let output = server.ctl(&["reload"]);
    assert_eq!(
        text(&output),
        "reloaded jwt-secret-file\nchanged allowed-origins, message-rate, access\n\
         only a restart changes ping-interval\n",
        "the environment wins over the file's connect-rate"
    );
    // Who may not see a namespace any more is told, and is sent none of it.
    let left = staff.expect("unsubscribed");
    assert_eq!(left["data"]["namespaces"], json!(["products"]));
    let left = ann.expect("unsubscribed");
    assert_eq!(left["data"]["namespaces"], json!(["products"]));
    let order = json!({"type": "order:deleted", "data": {"orderId": "o", "customerId": "ann"}});
    emitter.emit(&order);
    let fence = Fence::raise(&mut emitter);
    fence.nothing_before(&mut staff);
    fence.nothing_before(&mut ann);
    assert_eq!(fence.before(&mut admin)[0]["type"], "order:deleted");
    staff.ask_refused(
        &json!({"type": "subscribe", "data": {"namespace": "orders"}}),
        "forbidden",
    );
    // Who may see more asks for it.
    ann.subscribe(&["inventory"]);
    // The rate is new for those who are here: two messages a minute.
    ann.send(&json!({"type": "ping"}));
    ann.send(&json!({"type": "ping"}));
    ann.send(&json!({"type": "ping"}));
    let codes = [(); 3].map(|()| ann.answer()["data"]["code"].clone());
    assert_eq!(
        codes,
        [json!(null), json!("rate_limited"), json!("rate_limited")]
    );
    assert_eq!(origin("https://old.example"), Some(403));
    assert_eq!(origin("https://new.example"), None);
    let info = server.get("/api/ws/info").json();
    assert_eq!(info["features"]["limits"]["messageRate"], 2);
    let stats = server.stats();
    assert_eq!(stats["connectionsByNamespace"]["orders"], 1, "{stats}");

    // And back again: the file is read each time.
    std::fs::write(&config, BEFORE).unwrap();
    let answer = reload(&server);
    assert_eq!(
        answer["changed"],
        json!(["allowed-origins", "message-rate", "access"])
    );
    assert_eq!(answer["afterRestart"], json!([]));
    staff.subscribe(&["orders"]);
    emitter.emit(&order);
    assert_eq!(staff.expect_event("order:deleted")["data"]["orderId"], "o");
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/auth/fixtures");
    std::fs::read(format!("{folder}/{name}")).unwrap()
}
