//! The ingest socket: acks, refusals, counting lines, keys, sizes, ends of connections, and many emitters at once.

use std::io::Write;
use std::thread;

use serde_json::{Value, json};

use crate::harness::emitter::Answer;
use crate::harness::examples::{EXAMPLES, about, data_of, event};
use crate::harness::{Client, Emitter, Fence, Opening, Server, wait_until};

fn product(id: &str) -> Value {
    json!({"type": "product:deleted", "data": {"productId": id}})
}

fn product_of(event: &Value) -> &str {
    event["data"]["productId"].as_str().unwrap()
}

#[test]
fn the_events_own_timestamp_is_passed_on() {
    let server = Server::start();
    let mut public = server.public();
    public.subscribe(&["products"]);
    let mut emitter = server.emitter();
    let mut event = product("p");
    event["timestamp"] = 1_600_000_000_000_u64.into();
    emitter.emit(&event);
    assert_eq!(
        public.expect_event("product:deleted")["timestamp"],
        1_600_000_000_000_u64
    );
}

#[test]
fn lines_are_counted_with_blank_ones_and_carriage_returns() {
    let server = Server::start();
    let mut public = server.public();
    public.subscribe(&["products"]);
    let mut emitter = server.emitter();
    emitter.send_raw(b"\n  \t\r\n\r\n");
    emitter.settle();
    assert_eq!(
        (emitter.settled(), emitter.last_id()),
        (3, None),
        "blank lines are settled, and there is no id yet"
    );
    let lines = format!("bad\r\n\r\n{}\r\n\n{{}}\n", product("a"));
    emitter.send_raw(lines.as_bytes());
    emitter.settle();
    let refused: Vec<(u64, &str)> = emitter
        .refusals()
        .iter()
        .map(|refused| (refused.line, refused.code.as_str()))
        .collect();
    assert_eq!(refused, [(4, "invalid_json"), (8, "unknown_type")]);
    assert_eq!(emitter.settled(), 8);
    let event = public.expect_event("product:deleted");
    assert_eq!(emitter.last_id(), event["id"].as_str());
}

#[test]
fn a_line_may_come_byte_by_byte() {
    let server = Server::start();
    let mut emitter = server.emitter();
    for byte in format!("{}\r\nbad\n", product("slow")).as_bytes() {
        emitter.send_raw(&[*byte]);
    }
    emitter.settle();
    assert_eq!(emitter.refusals()[0].line, 2);
    assert!(emitter.last_id().is_some());
}

#[test]
fn one_batch_gets_one_ack_for_all_its_lines() {
    let server = Server::start();
    let mut emitter = server.emitter();
    let lines: String = (0..200)
        .map(|n| format!("{}\n", product(&n.to_string())))
        .collect();
    emitter.send_raw(lines.as_bytes());
    let mut acks = 0;
    while emitter.settled() < 200 {
        if emitter.read() == Answer::Ack {
            acks += 1;
        }
    }
    // 200 lines of 60 bytes are written at once; reads may cut them, but hardly more than a few times.
    assert!(acks <= 20, "{acks} acks for 200 lines written at once");
}

#[test]
fn a_key_is_sent_once_and_answered_with_the_first_id() {
    let server = Server::start();
    let mut public = server.public();
    public.subscribe(&["products"]);
    let keyed = |id: &str, key: &str| {
        let mut event = product(id);
        event["key"] = key.into();
        event
    };
    let mut first = server.emitter();
    let mut second = server.emitter();
    let refused = first.emit_refused(r#"{"type":"product:deleted","data":{},"key":"k"}"#);
    assert_eq!(refused.code, "invalid_payload");
    let id = first.emit(&keyed("one", "k"));
    assert_eq!(first.emit(&keyed("two", "k")), id, "the same emitter again");
    assert_eq!(second.emit(&keyed("three", "k")), id, "another emitter");
    // Within one write, too, and whatever the type.
    second.send_raw(format!("{}\n{}\n", keyed("four", "l"), keyed("five", "l")).as_bytes());
    second.settle();
    let other_type =
        json!({"type": "product:updated", "data": {"productId": "x", "changes": {}}, "key": "k"});
    assert_eq!(second.emit(&other_type), id);
    let other_key = second.emit(&keyed("six", "K"));
    assert_ne!(other_key, id);
    let fence = Fence::raise(&mut first);
    let got = fence.before(&mut public);
    let products: Vec<&str> = got.iter().map(product_of).collect();
    assert_eq!(products, ["one", "four", "six"]);
    assert_eq!(got[0]["id"], id.as_str());
    assert_eq!(
        server.stats()["eventsIn"],
        4,
        "repeats by key are not counted: {}",
        server.stats()
    );
}

#[test]
fn a_line_of_exactly_the_greatest_size_is_taken_and_one_more_byte_is_not() {
    let server = Server::with(&["--max-message", "65536"]);
    let mut public = server.public();
    public.subscribe(&["products"]);
    let mut emitter = server.emitter();
    let line = |size: usize| {
        let empty = r#"{"type":"product:deleted","data":{"productId":"p","pad":""}}"#;
        empty.replace(
            r#""pad":"""#,
            &format!(r#""pad":"{}""#, "x".repeat(size - empty.len())),
        )
    };
    assert_eq!(line(65536).len(), 65536);
    emitter.try_emit(line(65536).as_bytes()).unwrap();
    let refused = emitter.emit_refused(&line(65537));
    assert_eq!(
        (refused.code.as_str(), refused.line, &refused.field),
        ("too_large", 2, &None)
    );
    let refused = emitter.emit_refused(&line(1_000_000));
    assert_eq!((refused.code.as_str(), refused.line), ("too_large", 3));
    // What is escaped grows sixfold: then the frame is what is too large.
    let grows = line(20_000).replace("xxxx", "<><>");
    assert_eq!(emitter.emit_refused(&grows).code, "too_large");
    emitter.emit(&product("still there"));
    assert_eq!(
        public.expect_event("product:deleted")["data"]["pad"]
            .as_str()
            .unwrap()
            .len(),
        65536 - 60
    );
    assert_eq!(
        product_of(&public.expect_event("product:deleted")),
        "still there"
    );
}

#[test]
fn a_final_line_without_newline_is_taken_at_half_close_if_whole() {
    let server = Server::start();
    let mut public = server.public();
    public.subscribe(&["products"]);
    let mut whole = server.emitter();
    whole.send_raw(format!("{}\n{}", product("a"), product("b")).as_bytes());
    whole.half_close();
    whole.read_to_end();
    assert_eq!(
        whole.settled(),
        2,
        "the final line is settled like any other"
    );
    let mut cut = server.emitter();
    cut.send_raw(format!("{}\n{}", product("c"), &product("d").to_string()[..30]).as_bytes());
    cut.half_close();
    cut.read_to_end();
    assert!(cut.settled() >= 1);
    let mut emitter = server.emitter();
    let fence = Fence::raise(&mut emitter);
    let got = fence.before(&mut public);
    assert_eq!(
        got.iter().map(product_of).collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
}

#[test]
fn an_emitter_that_dies_in_a_line_loses_that_line_alone() {
    let server = Server::start();
    let mut public = server.public();
    public.subscribe(&["products"]);
    let mut dying = server.emitter();
    dying.emit(&product("before"));
    dying.send_raw(&product("cut").to_string().as_bytes()[..25]);
    drop(dying);
    let mut emitter = server.emitter();
    let fence = Fence::raise(&mut emitter);
    let got = fence.before(&mut public);
    assert_eq!(got.iter().map(product_of).collect::<Vec<_>>(), ["before"]);
}

#[test]
fn whole_lines_of_an_emitter_that_leaves_at_once_are_all_taken() {
    let server = Server::start();
    let mut public = server.public();
    public.subscribe(&["products"]);
    let mut leaving = server.emitter();
    let lines: String = (0..300)
        .map(|n| format!("{}\n", product(&n.to_string())))
        .collect();
    leaving.send_raw(lines.as_bytes());
    drop(leaving);
    for n in 0..300 {
        assert_eq!(
            product_of(&public.expect_event("product:deleted")),
            n.to_string()
        );
    }
}

#[test]
fn many_emitters_keep_their_own_order_and_all_subscribers_see_one() {
    const EMITTERS: usize = 20;
    const LINES: usize = 250;
    let server = Server::start();
    let mut clients: Vec<Client> = (0..8).map(|_| server.public()).collect();
    for client in &mut clients {
        client.subscribe(&["products"]);
    }
    let writers: Vec<_> = (0..EMITTERS)
        .map(|emitter| {
            let mut connection = server.emitter();
            thread::spawn(move || {
                for line in 0..LINES {
                    connection
                        .send_line(product(&format!("{emitter}/{line}")).to_string().as_bytes());
                    if line % 50 == emitter {
                        connection.settle();
                    }
                }
                connection.settle();
                assert_eq!(connection.refusals(), []);
            })
        })
        .collect();
    let orders: Vec<Vec<(String, String)>> = clients
        .into_iter()
        .map(|client| thread::spawn(move || read_all(client, EMITTERS * LINES)))
        .collect::<Vec<_>>()
        .into_iter()
        .map(|reader| reader.join().unwrap())
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    for order in &orders[1..] {
        assert!(order == &orders[0], "two subscribers saw different orders");
    }
    let mut next = [0; EMITTERS];
    for (product, _) in &orders[0] {
        let (emitter, line) = product.split_once('/').unwrap();
        let emitter: usize = emitter.parse().unwrap();
        assert_eq!(
            line.parse::<usize>().unwrap(),
            next[emitter],
            "emitter {emitter}'s own order"
        );
        next[emitter] += 1;
    }
    let mut ids: Vec<&String> = orders[0].iter().map(|(_, id)| id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), EMITTERS * LINES, "no id twice");
}

#[test]
fn a_hundred_thousand_lines_at_full_speed_arrive_in_order() {
    const LINES: u64 = 100_000;
    let server = Server::with(&["--outbox-limit", "64MiB"]);
    let mut customer = Client::connect(
        &server,
        Opening::new().bearer(&crate::harness::tokens::of("ann", "customer")),
    );
    customer.subscribe(&["orders"]);
    let mut emitter = server.emitter();
    let mut writer = emitter.writer();
    let sending = thread::spawn(move || {
        let data = Value::Object(data_of("order:created")).to_string();
        let mut block = Vec::new();
        for n in 0..LINES {
            let data = data
                .replace("\"c-1\"", "\"ann\"")
                .replace("\"o-1\"", &format!("\"{n}\""));
            block.extend_from_slice(
                format!("{{\"type\":\"order:created\",\"data\":{data}}}\n").as_bytes(),
            );
            if block.len() > 100_000 || n + 1 == LINES {
                writer.write_all(&block).unwrap();
                block.clear();
            }
        }
    });
    let reading = thread::spawn(move || {
        for n in 0..LINES {
            let event = customer.expect_event("order:created");
            assert_eq!(event["data"]["orderId"].as_str().unwrap(), n.to_string());
        }
    });
    emitter.count_sent(LINES);
    emitter.settle();
    sending.join().unwrap();
    reading.join().unwrap();
    assert_eq!(emitter.refusals(), []);
    let counted = server.stats()["eventsIn"].as_u64().unwrap();
    assert!(
        (LINES..=LINES + 1).contains(&counted),
        "{counted} events in: the lines and Ann's coming online"
    );
}

#[test]
fn refused_lines_between_good_ones_lose_nothing() {
    let server = Server::start();
    let mut admin = server.user("root", "admin");
    admin.subscribe(&[
        "orders",
        "customers",
        "products",
        "inventory",
        "payments",
        "system",
    ]);
    let mut emitter = server.emitter();
    let mut block = String::new();
    for (kind, _) in EXAMPLES {
        block.push_str(&format!(
            "{}\n{{\"type\":\"{kind}\",\"data\":{{}}}}\n",
            event(kind)
        ));
    }
    emitter.send_raw(block.as_bytes());
    emitter.settle();
    let lines: Vec<u64> = emitter
        .refusals()
        .iter()
        .map(|refused| refused.line)
        .collect();
    assert_eq!(lines, (1..=23).map(|n| n * 2).collect::<Vec<u64>>());
    for (kind, _) in EXAMPLES {
        admin.expect_event(kind);
    }
    wait_until("the stats count them", || {
        let stats = server.stats();
        stats["eventsIn"] == 23 && stats["rejected"] == 23
    });
}

#[test]
fn an_emitter_that_never_reads_its_answers_slows_nobody_else() {
    const MOST: usize = 8_000_000;
    let server = Server::start();
    let mut deaf = server.emitter();
    let mut writer = deaf.writer();
    writer
        .set_write_timeout(Some(std::time::Duration::from_millis(300)))
        .unwrap();
    // Each bad line is answered by an error line, which nobody reads: at some point the server must stop reading it.
    let block = "bad\n".repeat(10_000);
    let mut written = 0;
    while written < MOST {
        match writer.write(block.as_bytes()) {
            Ok(bytes) => written += bytes,
            Err(_) => break,
        }
    }
    assert!(
        written < MOST,
        "8 MB of bad lines were taken in while no answer was read"
    );
    let mut public = server.public();
    public.subscribe(&["products"]);
    let mut emitter: Emitter = server.emitter();
    let id = emitter.emit(&product("p"));
    assert_eq!(public.expect_event("product:deleted")["id"], id.as_str());
    assert!(
        matches!(deaf.read(), Answer::Refused),
        "the answers are still there for the one who reads"
    );
}

#[test]
fn an_ack_comes_when_the_event_is_on_its_way_to_every_worker() {
    let server = Server::with(&["--workers", "4"]);
    let mut clients: Vec<Client> = (0..12)
        .map(|n| server.user(&format!("u{n}"), "staff"))
        .collect();
    for client in &mut clients {
        client.subscribe(&["orders"]);
    }
    let mut emitter = server.emitter();
    for n in 0..50 {
        let id = emitter.emit(&about("order:created", &n.to_string()));
        for client in &mut clients {
            assert_eq!(client.expect_event("order:created")["id"], id.as_str());
        }
    }
}

/// Whether one worker shares its loop with the router or not.
#[test]
fn gathered_events_keep_their_order_and_are_acknowledged_once_they_are_out() {
    for workers in ["1", "2"] {
        let server = Server::with(&["--gather", "100ms", "--workers", workers]);
        let mut public = server.public();
        public.subscribe(&["products"]);
        let mut emitter = server.emitter();
        let sent: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        for id in &sent {
            // Each in a write of its own: the first is alone, the others wait for one another.
            emitter.send_line(product(id).to_string().as_bytes());
        }
        let got = read_all(public, sent.len());
        emitter.settle();
        assert_eq!(emitter.last_id(), Some(got[sent.len() - 1].1.as_str()));
        let ids: Vec<&String> = got.iter().map(|(id, _)| id).collect();
        assert_eq!(ids, sent.iter().collect::<Vec<_>>());
    }
}

fn read_all(mut client: Client, count: usize) -> Vec<(String, String)> {
    (0..count)
        .map(|_| {
            let event = client.expect_event("product:deleted");
            (
                product_of(&event).to_owned(),
                event["id"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}
