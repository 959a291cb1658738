//! Files that repeat what the program has: those that `make schema` writes, and the version.

use std::fs;

use shopwire::schema;

use crate::root;

fn expect_current(path: &str, text: &str) {
    let written = fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{path} cannot be read: {error}; `make schema` writes it"));
    let difference = written
        .lines()
        .zip(text.lines())
        .find(|(old, new)| old != new);
    assert!(
        written == text,
        "{path} is not what the program makes now, first at {difference:?}: run `make schema`"
    );
}

#[test]
fn the_clients_types_are_the_catalogues() {
    expect_current("client/src/generated/events.ts", &schema::typescript());
}

#[test]
fn the_asyncapi_document_is_the_protocols() {
    expect_current("docs/asyncapi.json", &schema::asyncapi());
}

#[test]
fn the_npm_package_is_of_the_programs_version() {
    for name in ["client/package.json", "client/package-lock.json"] {
        let text = fs::read_to_string(root().join(name)).unwrap();
        let package: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(package["version"], env!("CARGO_PKG_VERSION"), "{name}");
    }
}
