//! Several hosts as one, through a Redis that speaks TLS, or lets its user do what is needed and no more.

use serde_json::json;

use super::{expect_presence, keyed, lookout, product, resume, watcher};
use crate::harness::redis::{Redis, free_port};
use crate::harness::server::text;
use crate::harness::tls::Certificates;
use crate::harness::{Setup, wait_until};

#[test]
fn over_tls_the_certificate_of_redis_is_checked() {
    let (certificates, stranger) = (Certificates::new(), Certificates::new());
    let port = free_port();
    let redis = Redis::secure(&certificates, port, false);
    let setup = |scheme: &str, trusted: &Certificates| {
        let url = format!("{scheme}://localhost:{port}");
        let authority = trusted.authority.display().to_string();
        Setup::new(&["--redis-url", &url, "--max-connections", "100"])
            .env("SSL_CERT_FILE", &authority)
    };
    let host = || {
        let host = setup("rediss", &certificates).start();
        host.await_ready();
        host
    };
    let (a, b) = (host(), host());
    let (mut client, position) = watcher(&b);
    let first = a.emitter().emit(&product(0));
    assert_eq!(client.next()["id"], first.as_str());
    // Again and again, as one that comes back does.
    redis.ask("CLIENT KILL TYPE normal");
    let second = a.emitter().emit(&product(1));
    assert_eq!(client.next()["id"], second.as_str());
    let late = host();
    assert_eq!(resume(&late, &position).1["recovered"], true);

    let says = |setup: &Setup, words: &str| {
        let host = setup.start();
        wait_until("it says why", || host.stderr().contains(words));
        assert_eq!(host.get("/readyz").status, 503);
        let output = setup.command("doctor").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains(words), "{}", text(&output));
    };
    says(&setup("rediss", &stranger), "SSL_CERT_FILE names a file");
    says(&setup("redis", &certificates), "the connection was closed");
    // By another name than the certificate has.
    let url = format!("rediss://127.0.0.2:{port}");
    let authority = certificates.authority.display().to_string();
    let elsewhere = Setup::new(&["--redis-url", &url]).env("SSL_CERT_FILE", &authority);
    says(&elsewhere, "its certificate is not good");

    let port = free_port();
    let _strict = Redis::secure(&certificates, port, true);
    let url = format!("rediss://localhost:{port}");
    let strict = Setup::new(&["--redis-url", &url]).env("SSL_CERT_FILE", &authority);
    says(&strict, "tls-auth-clients no");
}

/// With the very line of docs/cluster.md, which names no command that is not needed (`doctor` says so).
#[test]
fn a_user_of_redis_who_may_do_no_more_than_is_documented_is_enough() {
    let redis = Redis::start();
    let page = std::fs::read_to_string("docs/cluster.md").unwrap();
    let mut lines = page.lines();
    let line = lines
        .find_map(|line| line.strip_prefix("redis-cli "))
        .unwrap();
    let line = line.replace('\'', "").replace("PASSWORD", "hush");
    assert_eq!(redis.ask(&line), "+OK");
    redis.ask("ACL SETUSER default resetpass nopass -@all +acl +client");
    let url = format!("{}?db=3&user=shopwire&pass=hush", redis.url());
    let host = || {
        let host = Setup::new(&["--redis-url", &url]).start();
        host.await_ready();
        host
    };
    let (a, b) = (host(), host());
    let (mut client, position) = watcher(&b);
    let (mut staff, _) = lookout(&b);
    let ann = a.user("ann", "customer");
    expect_presence(&mut staff, "customer:online", "ann");
    let first = a.emitter().emit(&keyed(0, "first"));
    assert_eq!(b.emitter().emit(&keyed(0, "first")), first);
    assert_eq!(client.next()["id"], first.as_str());
    let answer = b
        .emitter()
        .command(&json!({"command": "revoke", "user": "bob"}));
    assert_eq!(answer["stored"], true);
    drop(ann);
    expect_presence(&mut staff, "customer:offline", "ann");
    let (_, answer) = resume(&host(), &position);
    assert_eq!(answer["recovered"], true);
    wait_until("statistics", || {
        a.get("/api/ws/stats?scope=cluster").json()["hosts"]
            .as_array()
            .is_some_and(|hosts| hosts.len() >= 2)
    });
    b.stop();
    assert!(!a.stderr().contains("out of reach"), "{}", a.stderr());
    assert_eq!(redis.ask("ACL LOG"), "*0", "nothing was refused");
}
