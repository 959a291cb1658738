//! Files that repeat what the program has: those that `make schema` writes, and the version.

use std::fs;
use std::process::Command;

use shopwire::schema;

use crate::root;

fn written(path: &str) -> String {
    fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{path} cannot be read: {error}; `make schema` writes it"))
}

fn expect_current(path: &str, text: &str) {
    expect_same(path, &written(path), text);
}

fn expect_same(path: &str, written: &str, text: &str) {
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
fn the_settings_are_those_of_help() {
    let path = "docs/operations.md";
    let operations = written(path);
    let (_, behind) = operations
        .split_once("<!-- settings: `make schema` writes them -->\n")
        .unwrap();
    let (table, _) = behind
        .split_once("<!-- the end of the settings -->\n")
        .unwrap();
    expect_same(path, table, &schema::settings_table());
    let help = Command::new(env!("CARGO_BIN_EXE_shopwire"))
        .args(["serve", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let flags = help.matches("[env:").count();
    assert_eq!(
        table.lines().count(),
        flags + 2,
        "a row for each that has a variable"
    );
}

#[test]
fn what_hosts_carry_is_what_the_example_computes() {
    // Beside the folder of test programs; `cargo test --workspace` has built it.
    let mut program = std::env::current_exe().unwrap();
    program.pop();
    program.set_file_name("examples/scaling");
    let output = std::process::Command::new(&program)
        .output()
        .unwrap_or_else(|error| panic!("{error}: cargo build --example scaling"));
    let told = String::from_utf8(output.stdout).unwrap();
    let document = fs::read_to_string(root().join("docs/scaling.md")).unwrap();
    let tables: Vec<&str> = told.trim_end().split("\n\n").collect();
    assert_eq!(tables.len(), 3);
    for table in tables {
        assert!(document.contains(table), "not in docs/scaling.md:\n{table}");
    }
}

#[test]
fn the_npm_package_is_of_the_programs_version() {
    for name in ["client/package.json", "client/package-lock.json"] {
        let text = fs::read_to_string(root().join(name)).unwrap();
        let package: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(package["version"], env!("CARGO_PKG_VERSION"), "{name}");
    }
}
