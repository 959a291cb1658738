//! The access table, every row and column: what a role may subscribe to, and what it is then sent.

use serde_json::{Value, json};

use crate::harness::examples::{EXAMPLES, about, event};
use crate::harness::model::{ROLES, Sees, TABLE, namespace_of, open_to, table};
use crate::harness::{Client, Fence, Server, Setup};

#[test]
fn subscribing_is_answered_as_the_table_says() {
    let server = Server::start();
    for role in ROLES {
        for (namespace, _) in TABLE {
            let mut client = connect(&server, role);
            let question = json!({"type": "subscribe", "data": {"namespaces": [namespace]}});
            let answer = client.ask(&question);
            let context = format!("{role} subscribes to {namespace}: {answer}");
            match (table(role, namespace), role) {
                (Sees::All | Sees::Own, _) => {
                    assert_eq!(answer["type"], "subscribed", "{context}");
                    assert_eq!(
                        answer["data"]["namespaces"],
                        json!([namespace]),
                        "{context}"
                    );
                }
                (Sees::None, "public") => {
                    assert_eq!(answer["data"]["code"], "unauthorized", "{context}")
                }
                (Sees::None, _) => assert_eq!(answer["data"]["code"], "forbidden", "{context}"),
            }
        }
    }
}

#[test]
fn every_type_reaches_the_roles_of_the_table_alone() {
    for workers in ["1", "2"] {
        let server = Server::with(&["--workers", workers]);
        let mut viewers = Vec::new();
        for role in ROLES {
            let mut client = connect(&server, role);
            client.subscribe(&open_to(role));
            viewers.push((role, client));
        }
        let mut emitter = server.emitter();
        for (kind, _) in EXAMPLES {
            let has_customer = event(kind)["data"].get("customerId").is_some();
            // What is narrowed by targetRoles is another test's subject.
            let narrowed = event(kind)["data"].get("targetRoles").is_some();
            let mut of_another = if has_customer {
                about(kind, "another")
            } else {
                event(kind)
            };
            let mut of_customer = if has_customer {
                about(kind, "the-customer")
            } else {
                event(kind)
            };
            // Types without a customer get their owner by name.
            if !has_customer {
                of_customer["to"] = json!({"owners": ["the-customer", "the-guest"]});
            }
            for event in [&mut of_another, &mut of_customer] {
                if narrowed {
                    event["data"].as_object_mut().unwrap().remove("targetRoles");
                }
            }
            let another_id = emitter.emit(&of_another);
            let own_id = emitter.emit(&of_customer);
            let fence = Fence::raise(&mut emitter);
            for (role, client) in &mut viewers {
                let got: Vec<Value> = fence
                    .before(client)
                    .iter()
                    .map(|event| event["id"].clone())
                    .collect();
                let expected: Vec<Value> = match table(role, namespace_of(kind)) {
                    Sees::All => vec![another_id.clone().into(), own_id.clone().into()],
                    Sees::Own => vec![own_id.clone().into()],
                    Sees::None => vec![],
                };
                assert_eq!(got, expected, "{kind} to {role} with {workers} workers");
            }
        }
    }
}

#[test]
fn an_owner_may_be_named_three_ways_and_nothing_widens_the_table() {
    let server = Server::start();
    let mut customer = server.user("ann", "customer");
    customer.subscribe(&["orders", "payments", "products"]);
    let mut guest = server.user("ann", "guest");
    guest.subscribe(&["products"]);
    let mut public = server.public();
    public.subscribe(&["products"]);
    let mut emitter = server.emitter();
    let order = |to: Value, customer: &str| {
        let mut event = about("order:created", customer);
        event["to"] = to;
        event
    };
    let mut expected = Vec::new();
    for own in [
        order(json!({}), "ann"),
        order(json!({"owners": ["bob", "ann"]}), "bob"),
        order(json!({"userIds": ["ann"]}), "bob"),
        order(
            json!({"roles": ["customer"], "userIds": ["ann"], "owners": ["bob"]}),
            "bob",
        ),
    ] {
        expected.push(Value::from(emitter.emit(&own)));
    }
    for not_own in [
        order(json!({}), "bob"),
        order(json!({"roles": ["customer"]}), "bob"),
        order(json!({"roles": ["customer", "guest"]}), "bob"),
        order(json!({"owners": ["bob"]}), "bob"),
        order(json!({"userIds": ["bob"]}), "ann"),
        order(json!({"owners": ["Ann"]}), "ANN"),
        // Naming a user opens no namespace that is closed to the role.
        json!({"type": "inventory:out_of_stock", "data": event("inventory:out_of_stock")["data"], "to": {"userIds": ["ann"], "owners": ["ann"]}}),
        json!({"type": "system:alert", "data": {"title": "t", "message": "m", "severity": "info", "targetRoles": ["customer", "guest"]}, "to": {"userIds": ["ann"]}}),
        about("customer:viewing_product", "ann"),
    ] {
        emitter.emit(&not_own);
    }
    let fence = Fence::raise(&mut emitter);
    let got: Vec<Value> = fence
        .before(&mut customer)
        .iter()
        .map(|event| event["id"].clone())
        .collect();
    assert_eq!(got, expected);
    fence.nothing_before(&mut guest);
    fence.nothing_before(&mut public);
}

#[test]
fn an_access_row_of_the_file_replaces_the_default_row_whole() {
    let setup = Setup::new(&[]).file(
        "[access]\norders = { staff = \"own\", customer = \"all\" }\nproducts = { admin = \"all\", guest = \"all\" }\ninventory = { public = \"all\" }\n",
    );
    let server = setup.start();
    let opens = |role: &str, namespace: &str| {
        let answer = connect(&server, role)
            .ask(&json!({"type": "subscribe", "data": {"namespaces": [namespace]}}));
        answer["type"] == "subscribed"
    };
    for (namespace, roles) in [
        ("orders", vec!["staff", "customer"]),
        ("products", vec!["admin", "guest"]),
        ("inventory", vec!["public"]),
        ("payments", vec!["admin", "manager", "customer"]),
    ] {
        for role in ROLES {
            assert_eq!(
                opens(role, namespace),
                roles.contains(&role),
                "{role} and {namespace}"
            );
        }
    }
    let mut staff = server.user("sam", "staff");
    staff.subscribe(&["orders"]);
    let mut customer = server.user("ann", "customer");
    customer.subscribe(&["orders"]);
    let mut emitter = server.emitter();
    let anns = emitter.emit(&about("order:created", "ann"));
    let sams = emitter.emit(&about("order:created", "sam"));
    assert_eq!(staff.expect_event("order:created")["id"], sams.as_str());
    assert_eq!(customer.expect_event("order:created")["id"], anns.as_str());
    assert_eq!(customer.expect_event("order:created")["id"], sams.as_str());
}

fn connect(server: &Server, role: &str) -> Client {
    match role {
        "public" => server.public(),
        role => server.user(&format!("the-{role}"), role),
    }
}
