//! Tokens that the operator has withdrawn.

use serde_json::{Value, json};

use crate::harness::server::text;
use crate::harness::tokens::{newer, now_ms, now_seconds, signed};
use crate::harness::{Client, Opening, Server, Setup, http, wait_until};

/// A token that was made so many seconds ago.
fn made(user: &str, session: Option<&str>, seconds_ago: u64) -> String {
    let now = now_seconds();
    let mut claims =
        json!({"sub": user, "role": "customer", "iat": now - seconds_ago, "exp": now + 600});
    if let Some(session) = session {
        claims["sid"] = session.into();
    }
    signed(&claims)
}

fn without_time(user: &str) -> String {
    signed(&json!({"sub": user, "role": "customer", "exp": now_seconds() + 600}))
}

fn status(server: &Server, token: &str) -> Option<u16> {
    Client::try_connect(server.address, Opening::new().bearer(token)).err()
}

fn connect(server: &Server, token: &str) -> Client {
    Client::connect(server, Opening::new().bearer(token))
}

#[test]
fn a_user_whose_tokens_are_revoked_is_out_until_he_signs_in_again() {
    let server = Server::with(&["--workers", "3"]);
    let (old, timeless) = (made("ann", Some("s"), 5), without_time("ann"));
    let mut here = [connect(&server, &old), connect(&server, &timeless)];
    let mut bob = connect(&server, &made("bob", None, 5));
    let before = now_ms();
    let output = server.ctl(&["revoke", "--user", "ann", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let answer: Value = serde_json::from_str(&text(&output)).unwrap();
    assert_eq!(answer["disconnected"], 2, "{answer}");
    assert_eq!(answer["revoked"], true, "{answer}");
    assert_eq!(answer["stored"], false, "there is no journal: {answer}");
    let until = answer["until"].as_u64().unwrap();
    let day = 24 * 3_600_000;
    assert!((before + day..=now_ms() + day).contains(&until), "{answer}");

    for client in &mut here {
        client.expect_close(4403);
    }
    // By header, by sub-protocol, by message: on every reactor.
    for token in [&old, &timeless, &made("ann", None, 1)] {
        for _ in 0..6 {
            assert_eq!(status(&server, token), Some(401));
        }
        let by_protocol = Client::try_connect(server.address, Opening::new().subprotocol(token));
        assert_eq!(by_protocol.err(), Some(401));
        let mut public = server.public();
        let refused = public.auth(token);
        assert_eq!(refused["data"]["code"], "unauthorized", "{refused}");
        assert!(
            refused["data"]["message"]
                .as_str()
                .unwrap()
                .contains("revoked"),
            "{refused}"
        );
        public.expect_close(4401);
    }
    // Who signs in again gets in: the token is newer than the command.
    let new = newer("ann", Some("s"));
    let mut again = connect(&server, &new);
    let refresh = again.auth(&old);
    assert_eq!(refresh["data"]["code"], "unauthorized", "{refresh}");
    again.ping();
    assert_eq!(again.auth(&new)["type"], "authenticated");
    bob.ping();
    assert_eq!(status(&server, &without_time("bob")), None);
    wait_until("the log says whose", || {
        let log = server.stderr();
        log.contains("the operator revoked tokens connections=2 whose=user")
    });
    assert!(!server.stderr().contains("ann"), "no user id is logged");
}

#[test]
fn a_session_is_revoked_alone() {
    let server = Server::start();
    let (stolen, own) = (made("ann", Some("s-1"), 5), made("ann", Some("s-2"), 5));
    let mut thief = connect(&server, &stolen);
    let mut ann = connect(&server, &own);
    let output = server.ctl(&["revoke", "--session", "s-1", "--for", "30d"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.starts_with("disconnected: 1\nremembered until: 20"),
        "{said}"
    );
    thief.expect_close(4403);
    ann.ping();
    assert_eq!(status(&server, &stolen), Some(401));
    assert_eq!(status(&server, &own), None);
    // A refresh by a token of the revoked session does not bring it back.
    assert_eq!(ann.auth(&stolen)["data"]["code"], "unauthorized");
    ann.ping();
}

#[test]
fn statistics_are_not_for_whoever_was_revoked() {
    let server = Server::start();
    let claims = json!({"sub": "root", "role": "admin", "exp": now_seconds() + 600});
    let bearer = format!("Authorization: Bearer {}", signed(&claims));
    let ask = || http::get_with(server.address, "/api/ws/stats", &[&bearer]).status;
    assert_eq!(ask(), 200);
    server
        .emitter()
        .command(&json!({"command": "revoke", "user": "root"}));
    assert_eq!(ask(), 401);
}

#[test]
fn it_is_remembered_as_long_as_a_token_that_was_seen_lasts() {
    let server = Server::start();
    let exp = now_seconds() + 90 * 24 * 3600;
    let long = signed(&json!({"sub": "ann", "role": "customer", "exp": exp}));
    let mut emitter = server.emitter();
    let mut ann = connect(&server, &long);
    let answer = emitter.command(&json!({"command": "revoke", "user": "ann", "for": 1000}));
    assert_eq!(answer["until"], exp * 1000, "its connection told");
    ann.expect_close(4403);
    // Nobody of whom anything is known.
    let answer = emitter.command(&json!({"command": "revoke", "user": "eve", "for": 1000}));
    assert_eq!(answer["disconnected"], 0);
    let until = answer["until"].as_u64().unwrap();
    assert!(until <= now_ms() + 1000, "{answer}");
    wait_until("it is over for eve", || {
        now_ms() > until && status(&server, &without_time("eve")).is_none()
    });
    assert_eq!(status(&server, &long), Some(401));
}

#[test]
fn what_is_revoked_stays_so_over_a_reload_and_a_takeover() {
    let server = Setup::new(&[]).start();
    let (ann, session) = (made("ann", None, 5), made("bob", Some("s-1"), 5));
    let mut emitter = server.emitter();
    emitter.command(&json!({"command": "revoke", "user": "ann"}));
    emitter.command(&json!({"command": "revoke", "session": "s-1"}));
    let is_out = |server: &Server| {
        assert_eq!(status(server, &ann), Some(401));
        assert_eq!(status(server, &session), Some(401));
        assert_eq!(status(server, &newer("ann", None)), None);
    };
    is_out(&server);
    emitter.command(&json!({"command": "reload"}));
    is_out(&server);
    let server = server.succeed(&["--workers", "1"]);
    is_out(&server);
}

#[test]
fn with_a_journal_what_is_revoked_stays_so_over_a_restart() {
    let setup = Setup::new(&[]);
    let journal = setup.dir().join("journal");
    let mut setup_with = Setup::new(&["--journal", &journal.display().to_string()]);
    setup_with.same_place_as(&setup);
    let (ann, session) = (made("ann", None, 5), made("bob", Some("s-1"), 5));
    let server = setup_with.start();
    let mut emitter = server.emitter();
    for command in [
        json!({"command": "revoke", "user": "ann"}),
        json!({"command": "revoke", "session": "s-1"}),
    ] {
        let answer = emitter.command(&command);
        assert_eq!(answer["stored"], true, "{answer}");
    }
    server.kill();
    let server = setup_with.start();
    for token in [&ann, &session] {
        assert_eq!(status(&server, token), Some(401));
    }
    assert_eq!(status(&server, &newer("ann", None)), None);
    assert_eq!(status(&server, &made("bob", Some("s-2"), 5)), None);
    // Takes it along, and keeps on storing.
    let server = server.succeed(&["--workers", "1"]);
    let answer = server
        .emitter()
        .command(&json!({"command": "revoke", "user": "eve"}));
    assert_eq!(answer["stored"], true, "{answer}");
    server.stop();
    let server = setup_with.start();
    for token in [&ann, &session, &without_time("eve")] {
        assert_eq!(status(&server, token), Some(401));
    }
    server.stop();

    // Who cannot know whom to refuse does not begin.
    std::fs::write(journal.join("revoked.json"), "{").unwrap();
    let output = setup_with.command("serve").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("revoked.json"), "{}", text(&output));
}

#[test]
fn commands_that_make_no_sense_are_told() {
    let server = Server::start();
    let mut emitter = server.emitter();
    for (line, field) in [
        (r#"{"command":"revoke"}"#, "command"),
        (r#"{"command":"revoke","user":""}"#, "user"),
        (
            r#"{"command":"revoke","user":"a","session":"b"}"#,
            "session",
        ),
        (r#"{"command":"revoke","user":"a","for":1}"#, "for"),
        (r#"{"command":"revoke","user":"a","for":"1h"}"#, "for"),
    ] {
        let refused = emitter.emit_refused(line);
        assert_eq!(refused.code, "invalid_command", "{line}");
        assert_eq!(refused.field.as_deref(), Some(field), "{line}");
    }
    for wrong in ["10000d", "0", "999", "abc"] {
        let output = server.ctl(&["revoke", "--user", "a", "--for", wrong]);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{wrong}: {said}");
        assert!(
            said.contains("from 1s to 366d") && said.contains("24h"),
            "{wrong}: {said}"
        );
    }
}
