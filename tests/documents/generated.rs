//! Files that `make schema` writes and that are checked in.

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
