//! Several hosts as one, while Redis or the way to it fails.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::{Watched, comes, keyed, number, product, products, resume, watcher};
use crate::harness::redis::Redis;
use crate::harness::{Fence, Server, Setup, wait_until};

#[test]
fn a_redis_that_stands_still_holds_lines_and_then_refuses_them_and_all_heals() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let (mut client, _) = watcher(&b);
    let mut emitter = a.emitter();
    emitter.emit(&product(0));
    client.next();
    redis.stand_still();
    let since = Instant::now();
    let refused = emitter
        .try_emit(keyed(1, "held").to_string().as_bytes())
        .unwrap_err();
    assert_eq!(refused.code, "unavailable");
    // Whatever the writer waits for at that moment.
    let took = since.elapsed();
    assert!(took >= Duration::from_secs(5), "{took:?}");
    assert!(took < Duration::from_millis(5900), "{took:?}");
    for host in [&a, &b] {
        host.await_unready();
    }
    // What is held shorter is only late.
    emitter.send_line(keyed(2, "late").to_string().as_bytes());
    redis.signal(Signal::CONT);
    for host in [&a, &b] {
        host.await_ready();
    }
    emitter.settle();
    // The one that was refused may have been on its way: with its key it comes once.
    emitter.emit(&keyed(1, "held"));
    let events = comes(&mut emitter, &mut client);
    let mut got = products(&events);
    got.sort_unstable();
    assert_eq!(got, ["1", "2"]);
    for host in [&a, &b] {
        let told = host.stderr();
        assert_eq!(told.matches("is out of reach").count(), 1, "{told}");
        assert_eq!(told.matches("is in reach again").count(), 1, "{told}");
        assert!(told.contains("no answer in 2 s"), "{told}");
    }
}

#[test]
fn a_redis_that_is_killed_and_has_kept_its_data_costs_nothing() {
    let mut redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (a, b) = (redis.host(), redis.host());
    let (mut client, position) = watcher(&b);
    let mut emitter = a.emitter();
    for n in 0..5 {
        emitter.emit(&product(n));
    }
    redis.kill();
    for host in [&a, &b] {
        host.await_unready();
    }
    emitter.send_line(product(5).to_string().as_bytes());
    redis.run();
    emitter.settle();
    for host in [&a, &b] {
        host.await_ready();
    }
    assert!(emitter.refusals().is_empty(), "{:?}", emitter.refusals());
    let events = comes(&mut b.emitter(), &mut client);
    assert_eq!(products(&events), ["0", "1", "2", "3", "4", "5"]);
    let newcomer = redis.host();
    let (mut late, answer) = resume(&newcomer, &position);
    assert_eq!(answer["recovered"], true);
    for event in &events {
        assert_eq!(late.next()["id"], event["id"]);
    }
}

#[test]
fn when_sentinels_make_another_redis_the_master_hosts_go_on_there() {
    let mut redis = Watched::start();
    let (a, b) = (redis.host("hold"), redis.host("hold"));
    let (mut client, _) = watcher(&b);
    let mut emitter = a.emitter();
    let first = emitter.emit(&keyed(0, "first"));
    assert_eq!(client.next()["id"], first.as_str());
    redis.await_followed();
    redis.main.kill();
    for host in [&a, &b] {
        host.await_unready();
    }
    for host in [&a, &b] {
        host.await_ready();
    }
    let second = emitter.emit(&product(1));
    assert_eq!(client.next()["id"], second.as_str());
    assert_eq!(b.emitter().emit(&keyed(0, "first")), first);
}

#[test]
fn a_redis_that_has_lost_everything_is_told_to_all_clients() {
    let mut redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let (mut on_a, _) = watcher(&a);
    let (mut on_b, _) = watcher(&b);
    let seen = a.emitter().emit(&product(0));
    on_a.next();
    on_b.next();
    redis.kill();
    for host in [&a, &b] {
        host.await_unready();
    }
    redis.run();
    for host in [&a, &b] {
        host.await_ready();
    }
    let new = a.emitter().emit(&product(1));
    assert!(number(&new) > number(&seen), "{new} after {seen}");
    for client in [&mut on_a, &mut on_b] {
        let messages = client.expect_close(1001);
        assert_eq!(
            messages.last().unwrap()["type"],
            "reconnect",
            "{messages:?}"
        );
    }
    for host in [&a, &b] {
        let (mut client, answer) = resume(host, &seen.clone().into());
        assert_eq!(answer["recovered"], false);
        let next = b.emitter().emit(&product(2));
        wait_until("the next event", || client.next()["id"] == next.as_str());
    }
}

#[test]
fn what_redis_has_lost_is_told_also_where_nobody_had_seen_it() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let (mut on_a, _) = watcher(&a);
    let (mut on_b, _) = watcher(&b);
    b.stand_still();
    // What b has asked Redis for, and so will find, is this one and no more.
    let kept = a.emitter().emit(&product(0));
    let lost = a.emitter().emit(&product(1));
    for id in [&kept, &lost] {
        assert_eq!(on_a.next()["id"], id.as_str());
    }
    // As after a power failure, or a failover to a replica that lagged.
    redis.ask(&format!("XDEL {{shopwire}}:events {}-0", number(&lost)));
    redis.ask(&format!("HSET {{shopwire}}:state last {}", number(&kept)));
    b.signal(Signal::CONT);
    a.emitter().emit(&product(2));
    on_a.expect_close(1001);
    // This host has everything that Redis has, and its clients have not what others had.
    let messages = on_b.expect_close(1001);
    assert_eq!(
        messages.last().unwrap()["type"],
        "reconnect",
        "{messages:?}"
    );
    for (host, since) in [(&a, &kept), (&b, &kept), (&b, &lost)] {
        let answer = resume(host, &since.clone().into()).1;
        assert_eq!(answer["recovered"], false, "{since}");
    }
    assert_eq!(resume(&redis.host(), &lost.into()).1["recovered"], false);
}

#[test]
fn a_host_that_was_away_for_longer_than_redis_keeps_tells_its_clients() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let (mut on_a, _) = watcher(&a);
    let (mut on_b, _) = watcher(&b);
    let seen = a.emitter().emit(&product(0));
    on_b.next();
    b.stand_still();
    let mut emitter = a.emitter();
    (1..5).for_each(|n| drop(emitter.emit(&product(n))));
    redis.ask("XTRIM {shopwire}:events MAXLEN 2");
    b.signal(Signal::CONT);
    emitter.emit(&product(5));
    let messages = on_b.expect_close(1001);
    assert_eq!(
        messages.last().unwrap()["type"],
        "reconnect",
        "{messages:?}"
    );
    let (_client, answer) = resume(&b, &seen.clone().into());
    assert_eq!(answer["recovered"], false);
    // Nothing is wrong with the others.
    assert_eq!(comes(&mut emitter, &mut on_a).len(), 6);
    assert_eq!(resume(&a, &seen.into()).1["recovered"], true);
}

#[test]
fn a_redis_that_is_full_refuses_lines_and_is_told_and_heals() {
    let redis = Redis::start();
    let host = redis.host();
    let (mut client, _) = watcher(&host);
    redis.ask("CONFIG SET maxmemory-policy noeviction");
    redis.ask("CONFIG SET maxmemory 1");
    let refused = host
        .emitter()
        .try_emit(product(0).to_string().as_bytes())
        .unwrap_err();
    assert_eq!(refused.code, "unavailable");
    host.await_unready();
    assert!(host.stderr().contains("OOM"), "{}", host.stderr());
    redis.ask("CONFIG SET maxmemory 0");
    host.await_ready();
    let id = host.emitter().emit(&product(1));
    assert_eq!(client.next()["id"], id.as_str());
}

#[test]
fn a_redis_that_lets_nothing_be_added_is_one_lasting_state_until_it_does() {
    let redis = Redis::start();
    redis.ask("ACL SETUSER shop on >hush ~{shopwire}:* +@all -xadd");
    let url = format!("{}?user=shop&pass=hush", redis.url());
    let host = Setup::new(&["--redis-url", &url]).start();
    host.await_ready();
    let (mut client, _) = watcher(&host);
    for n in 0..2 {
        let refused = host
            .emitter()
            .try_emit(product(n).to_string().as_bytes())
            .unwrap_err();
        assert_eq!(refused.code, "unavailable");
        // Also when nothing waits any more.
        assert_eq!(host.get("/readyz").status, 503);
    }
    let told = host.stderr();
    assert!(told.contains("can't run this command"), "{told}");
    assert_eq!(told.matches("out of reach").count(), 1, "{told}");
    redis.ask("ACL SETUSER shop +xadd");
    host.await_ready();
    let id = host.emitter().emit(&product(2));
    assert_eq!(client.next()["id"], id.as_str());
    assert_eq!(redis.ask("KEYS *trial*"), "*0");
}

#[test]
fn a_host_starts_without_redis_and_is_ready_when_that_comes() {
    let mut redis = Redis::stopped(&["--requirepass", "hush"]);
    let wrong = redis.setup(&[]).start();
    let right = format!("{}?pass=hush", redis.url());
    let right = Setup::new(&["--redis-url", &right]).start();
    assert_eq!(right.get("/readyz").status, 503);
    assert_eq!(right.get("/healthz").status, 200);
    redis.run();
    right.await_ready();
    let (mut client, _) = watcher(&right);
    let id = right.emitter().emit(&product(1));
    assert_eq!(client.next()["id"], id.as_str());
    // The one without the password has said once that it waits, and goes on waiting.
    assert_eq!(wrong.get("/readyz").status, 503);
    assert_eq!(wrong.stderr().matches("is out of reach").count(), 1);
    // One that is told another password says so.
    let other = format!("{}?pass=guess", redis.url());
    let other = Setup::new(&["--redis-url", &other]).start();
    wait_until("the reason", || {
        other.stderr().contains("authentication failed")
    });
    for host in [&wrong, &right, &other] {
        let told = host.stderr();
        assert!(!told.contains("hush") && !told.contains("guess"), "{told}");
    }
}

/// Those that come while two batches are on their way gather for the next one, and are not held for longer
/// by that.
#[test]
fn no_line_waits_for_more_than_five_seconds_for_a_redis_that_stands_still() {
    let redis = Redis::start();
    let host = redis.host();
    host.emitter().emit(&product(0));
    redis.stand_still();
    let emitters: Vec<_> = (0..6)
        .map(|n| {
            let mut emitter = host.emitter();
            let sender = thread::spawn(move || {
                let since = Instant::now();
                let refused = emitter.try_emit(product(n).to_string().as_bytes());
                (refused.unwrap_err().code, since.elapsed())
            });
            // So that they are not one batch.
            thread::sleep(Duration::from_millis(300));
            sender
        })
        .collect();
    for emitter in emitters {
        let (code, took) = emitter.join().unwrap();
        assert_eq!(code, "unavailable");
        // It counts from the first line of a batch, which gathers for a second at most.
        assert!(took >= Duration::from_millis(3900), "{took:?}");
        assert!(took < Duration::from_millis(5900), "{took:?}");
    }
}

#[test]
fn another_reason_is_told_when_it_takes_the_first_one_s_place() {
    let redis = Redis::start();
    let host = redis.host();
    // Together: whoever comes later would have to show it.
    redis.ask("CONFIG SET requirepass hush\r\nCLIENT KILL TYPE normal");
    wait_until("the other reason", || {
        let told = host.stderr();
        let later = told.split("still out of reach, for another reason").nth(1);
        later.is_some_and(|later| later.contains("NOAUTH"))
    });
    assert_eq!(host.stderr().matches("is tried again").count(), 1);
}

#[test]
fn a_host_that_was_stopped_and_scripts_that_are_forgotten_are_no_outage() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let (mut client, _) = watcher(&a);
    let mut emitter = b.emitter();
    for n in 0..4 {
        // Stopped while both threads wait for Redis: their calls are interrupted.
        a.stand_still();
        a.signal(Signal::CONT);
        redis.ask("SCRIPT FLUSH");
        let id = emitter.emit(&product(n));
        assert_eq!(client.next()["id"], id.as_str());
    }
    for host in [&a, &b] {
        let told = host.stderr();
        assert!(!told.contains("out of reach"), "{told}");
    }
}

#[test]
fn what_somebody_else_has_written_to_the_stream_is_passed_over_and_told_once() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let (mut client, position) = watcher(&a);
    let mut emitter = b.emitter();
    emitter.emit(&product(0));
    let foreign = redis.ask("XADD {shopwire}:events * a b");
    let mut expected = vec!["0".to_owned()];
    for n in 1..4 {
        emitter.emit(&product(n));
        expected.push(n.to_string());
    }
    // The connections are made anew, and find it again.
    redis.ask("CLIENT KILL TYPE normal");
    let late = redis.host();
    for host in [&a, &b] {
        host.await_ready();
    }
    for n in 4..6 {
        emitter.emit(&product(n));
        expected.push(n.to_string());
    }
    assert_eq!(products(&comes(&mut emitter, &mut client)), expected);
    let (mut resumed, answer) = resume(&late, &position);
    assert_eq!(answer["recovered"], true);
    assert_eq!(products(&comes(&mut emitter, &mut resumed))[..6], expected);
    for host in [&a, &b, &late] {
        let told = host.stderr();
        let remedy = format!("redis-cli XDEL '{{shopwire}}:events' {foreign}");
        assert_eq!(told.matches("is passed over").count(), 1, "{told}");
        assert!(told.contains(&remedy), "{told}");
        assert!(!told.contains("gone from Redis"), "{told}");
    }
    assert_eq!(
        redis.ask(&format!("XDEL {{shopwire}}:events {foreign}")),
        ":1"
    );
    emitter.emit(&product(6));
    let events = comes(&mut emitter, &mut client);
    assert_eq!(products(&events).last(), Some(&"6"));
}

/// Its id is so far ahead that nothing can be added behind it.
#[test]
fn an_entry_ahead_of_the_clock_is_one_lasting_state_until_it_is_removed_as_the_log_says() {
    let redis = Redis::start();
    let (a, b) = (
        redis.host(),
        redis.setup(&["--redis-outage", "local"]).start(),
    );
    b.await_ready();
    let ((mut on_a, _), (mut on_b, _)) = (watcher(&a), watcher(&b));
    let (mut to_a, mut to_b) = (a.emitter(), b.emitter());
    to_a.emit(&product(0));
    for client in [&mut on_a, &mut on_b] {
        client.next();
    }
    let foreign = "9000000000000000000-5";
    redis.ask(&format!("XADD {{shopwire}}:events {foreign} a b"));
    to_a.send_line(product(1).to_string().as_bytes());
    to_b.send_line(product(2).to_string().as_bytes());
    let status = |host: &Server| host.get("/readyz").json();
    let blocked = json!({"status": "Redis stream blocked"});
    let alone = json!({"status": "ready", "redis": "cut off, stream blocked, delivering locally"});
    wait_until("both have noticed", || {
        status(&a) == blocked && status(&b) == alone
    });
    // For as long as a line is held, and through many tries of both.
    while a.get("/api/ws/stats").json()["rejected"] == 0 {
        assert_eq!((status(&a), status(&b)), (blocked.clone(), alone.clone()));
    }
    to_a.settle();
    assert_eq!(to_a.refusals()[0].code, "unavailable");
    to_b.settle();
    assert!(to_b.is_local());
    assert_eq!(on_b.next()["data"]["productId"], "2");
    // What the log says is pasted.
    let told = a.stderr();
    let remedy = told.split("to mend it: ").nth(1).expect(&told);
    let commands = remedy.lines().next().unwrap().split("redis-cli ").skip(1);
    let commands: Vec<String> = commands
        .map(|command| command.replace(['\'', '"', ';'], "").trim().to_owned())
        .collect();
    assert!(commands[0].ends_with(foreign), "{commands:?}");
    for command in &commands {
        let said = redis.ask(command);
        assert!(!said.starts_with('-'), "{command}: {said}");
    }
    for host in [&a, &b] {
        wait_until("it is over", || {
            let owed = host.get("/api/ws/stats").json()["redis"]["localEvents"].clone();
            status(host) == json!({"status": "ready"}) && owed == 0
        });
    }
    to_a.emit(&product(3));
    assert_eq!(products(&comes(&mut to_a, &mut on_a)), ["2", "3"]);
    assert_eq!(products(&comes(&mut to_a, &mut on_b)).first(), Some(&"3"));
    for host in [&a, &b] {
        let told = host.stderr();
        for line in [
            "is closed to new entries, and is tried again",
            "is in reach again",
        ] {
            assert_eq!(told.matches(line).count(), 1, "{told}");
        }
        for line in ["out of reach", "another reason", "gone from Redis"] {
            assert!(!told.contains(line), "{told}");
        }
    }
}

/// An entry is on its way, or its answer is, when the connection breaks: again and again.
#[test]
fn connections_that_break_at_any_moment_lose_and_double_and_reorder_nothing() {
    const EVENTS: usize = 3000;
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let mut clients = [&a, &b].map(|host| watcher(host).0);
    let mut emitter = a.emitter();
    let all_sent = Arc::new(AtomicBool::new(false));
    let sender = {
        let mut writer = emitter.writer();
        emitter.count_sent(EVENTS as u64);
        let all_sent = Arc::clone(&all_sent);
        thread::spawn(move || {
            // Without keys: nothing else tells a line that comes twice from two lines.
            for n in 0..EVENTS {
                writeln!(writer, "{}", product(n)).unwrap();
                if n % 10 == 0 {
                    thread::sleep(Duration::from_millis(5));
                }
            }
            all_sent.store(true, Ordering::Relaxed);
        })
    };
    let mut cuts = 0;
    while !all_sent.load(Ordering::Relaxed) {
        cuts += redis
            .ask("CLIENT KILL TYPE normal")
            .trim_start_matches(':')
            .parse::<u32>()
            .unwrap();
        thread::sleep(Duration::from_millis(fastrand::u64(1..40)));
    }
    sender.join().unwrap();
    emitter.settle();
    assert!(cuts > 20, "only {cuts} connections were cut");
    assert!(emitter.refusals().is_empty(), "{:?}", emitter.refusals());
    for host in [&a, &b] {
        host.await_ready();
    }
    let fence = Fence::raise(&mut emitter);
    let expected: Vec<String> = (0..EVENTS).map(|n| n.to_string()).collect();
    for client in &mut clients {
        assert_eq!(products(&fence.before(client)), expected);
    }
}

/// Nothing may come for long that would show it.
#[test]
fn a_host_that_was_away_while_all_was_let_go_of_tells_its_clients_at_once() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let (mut on_b, _) = watcher(&b);
    let seen = a.emitter().emit(&product(0));
    on_b.next();
    b.stand_still();
    let mut emitter = a.emitter();
    (1..5).for_each(|n| drop(emitter.emit(&product(n))));
    redis.ask("XTRIM {shopwire}:events MAXLEN 0");
    b.signal(Signal::CONT);
    let messages = on_b.expect_close(1001);
    // The one that it had asked for may have come.
    assert!(messages.len() <= 2, "{messages:?}");
    assert_eq!(messages.last().unwrap()["type"], "reconnect");
    assert_eq!(resume(&b, &seen.into()).1["recovered"], false);
}
