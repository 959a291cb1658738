//! Who is online: the events of the server itself, the grace after the last connection, and the count.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::examples::about;
use crate::harness::tokens::{now_ms, of};
use crate::harness::{Client, Server};

/// A member of staff who watches customers come and go; and how many are online when it starts.
fn watcher(server: &Server) -> (Client, u64) {
    let mut staff = server.user("sam", "staff");
    let answer = staff.subscribe_with(
        json!({"namespaces": ["customers"], "events": ["customer:online", "customer:offline"]}),
    );
    let online = answer["online"]
        .as_u64()
        .unwrap_or_else(|| panic!("no count of those online: {answer}"));
    (staff, online)
}

fn expect_online(staff: &mut Client, customer: &str) {
    let event = staff.expect_event("customer:online");
    assert_eq!(event["data"]["customerId"], customer, "{event}");
    assert_eq!(event["data"]["isOnline"], true, "{event}");
    let seen = event["data"]["lastSeen"].as_u64().unwrap();
    assert!(now_ms().abs_diff(seen) < 10_000, "{event}");
}

fn expect_offline(staff: &mut Client, customer: &str) {
    let event = staff.expect_event("customer:offline");
    assert_eq!(event["data"]["customerId"], customer, "{event}");
    assert_eq!(event["data"]["isOnline"], false, "{event}");
}

/// The first and second connection of a customer, a reload, and the last one's end: the whole story on one server.
#[test]
fn a_customer_is_online_from_the_first_connection_to_5_seconds_after_the_last() {
    let server = Server::with(&["--workers", "3"]);
    let (mut staff, online) = watcher(&server);
    assert_eq!(online, 0);
    let first = server.user("ann", "customer");
    expect_online(&mut staff, "ann");
    // More connections, on whichever worker, are no news; nor are other roles.
    let others: Vec<Client> = (0..6).map(|_| server.user("ann", "customer")).collect();
    let _admin = server.user("ann", "admin");
    let _guest = server.user("gus", "guest");
    let bob = server.user("bob", "customer");
    expect_online(&mut staff, "bob");
    assert_eq!(watcher(&server).1, 2);
    // A page reload: the connections go and another one comes within the grace.
    drop((first, others));
    let reloaded = server.user("ann", "customer");
    drop(bob);
    let left = Instant::now();
    expect_offline(&mut staff, "bob");
    let took = left.elapsed();
    assert!(
        (4_500..8_000).contains(&took.as_millis()),
        "offline {took:?} after the last connection closed"
    );
    assert_eq!(watcher(&server).1, 1);
    drop(reloaded);
    expect_offline(&mut staff, "ann");
    assert_eq!(watcher(&server).1, 0);
    // Offline customers that come back are news again.
    let _back = server.user("ann", "customer");
    expect_online(&mut staff, "ann");
}

#[test]
fn authenticating_later_counts_from_then_on() {
    let server = Server::start();
    let (mut staff, _) = watcher(&server);
    let mut public = server.public();
    let _marker = server.user("marker", "customer");
    expect_online(&mut staff, "marker");
    assert_eq!(public.auth(&of("ann", "customer"))["type"], "authenticated");
    expect_online(&mut staff, "ann");
    // A refresh is no second coming.
    assert_eq!(public.auth(&of("ann", "customer"))["type"], "authenticated");
    let _other = server.user("other", "customer");
    expect_online(&mut staff, "other");
}

#[test]
fn a_role_that_changes_counts_as_coming_and_going() {
    let server = Server::start();
    let (mut staff, _) = watcher(&server);
    let mut client = server.user("ann", "staff");
    let _marker = server.user("marker", "customer");
    expect_online(&mut staff, "marker");
    client.auth(&of("ann", "customer"));
    expect_online(&mut staff, "ann");
    client.auth(&of("ann", "staff"));
    let left = Instant::now();
    expect_offline(&mut staff, "ann");
    assert!(
        left.elapsed() > Duration::from_millis(4_500),
        "the grace holds here, too"
    );
}

#[test]
fn an_emitters_own_presence_events_change_no_count() {
    let server = Server::start();
    let (mut staff, _) = watcher(&server);
    let _ann = server.user("ann", "customer");
    expect_online(&mut staff, "ann");
    let mut emitter = server.emitter();
    for (kind, customer) in [("customer:online", "ghost"), ("customer:offline", "ann")] {
        let id = emitter.emit(&about(kind, customer));
        assert_eq!(staff.expect_event(kind)["id"], id.as_str());
    }
    assert_eq!(watcher(&server).1, 1);
}

#[test]
fn a_count_goes_with_the_position_it_is_told_with() {
    let server = Server::with(&["--workers", "2"]);
    let customers: Vec<Client> = (0..20)
        .map(|n| server.user(&format!("c{n}"), "customer"))
        .collect();
    let (mut staff, mut online) = watcher(&server);
    let late: Vec<Client> = (20..40)
        .map(|n| server.user(&format!("c{n}"), "customer"))
        .collect();
    // What was counted is not told again, what was not yet counted is: both add up.
    while online < 40 {
        let event: Value = staff.expect_event("customer:online");
        assert!(
            event["data"]["customerId"]
                .as_str()
                .unwrap()
                .starts_with('c')
        );
        online += 1;
    }
    assert_eq!(watcher(&server).1, 40);
    drop((customers, late));
}
