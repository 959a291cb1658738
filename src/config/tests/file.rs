//! The file's form and its tables.

use super::*;
use crate::access::{Access, Namespace, Role};

#[test]
fn an_unknown_key_is_named_with_the_nearest() {
    assert_says(
        &file("max-mesage = 1").error(),
        &["shop.toml", "\"max-mesage\"", "mean \"max-message\""],
    );
    assert_says(&file("acess = 1").error(), &["mean \"access\""]);
    let error = file("colour = 1").error();
    assert_says(&error, &["\"colour\""]);
    assert!(!error.contains("did you mean"));
    assert_says(
        &file("[access]\norder = { admin = \"all\" }").error(),
        &["access.order", "mean \"access.orders\""],
    );
    assert_says(
        &file("[access]\norders = { amdin = \"all\" }").error(),
        &["access.orders.amdin", "access.orders.admin"],
    );
    assert_says(
        &file("[orders]\nstatus = []").error(),
        &["orders.status", "orders.statuses"],
    );
    assert_says(&file("[other]\nx = 1").error(), &["\"other\""]);
}

#[test]
fn a_broken_file_is_told_by_line_without_its_text() {
    let error = file("port = 1\n\njwt = top-secret-value\n").error();
    assert_says(&error, &["shop.toml", "line 3"]);
    assert!(!error.contains("top-secret-value"), "{error}");
    let missing = File::read(Path::new("/nonexistent/shop.toml"))
        .unwrap_err()
        .to_string();
    assert_says(&missing, &["/nonexistent/shop.toml", "cannot be read"]);
}

#[test]
fn an_access_row_replaces_the_default_row_whole() {
    let config =
        file("[access]\norders = { admin = \"all\", customer = \"own\", public = \"none\" }")
            .resolve()
            .unwrap();
    let access = |role| config.access.get(role, Namespace::Orders);
    assert_eq!(access(Role::Admin), Access::All);
    assert_eq!(access(Role::Customer), Access::Own);
    assert_eq!(access(Role::Manager), Access::None, "left out");
    assert_eq!(
        config.access.get(Role::Public, Namespace::Products),
        Access::All,
        "another row"
    );
}

#[test]
fn a_wrong_access_row_is_refused() {
    assert_says(
        &file("[access]\norders = { admin = \"some\" }").error(),
        &["access.orders.admin", "\"all\""],
    );
    assert_says(
        &file("[access]\norders = { admin = true }").error(),
        &["access.orders.admin"],
    );
    assert_says(
        &file("[access]\norders = \"all\"").error(),
        &["access.orders", "table"],
    );
    assert_says(&file("access = 1").error(), &["access", "table"]);
    for role in ["guest", "public"] {
        let toml = format!("[access]\norders = {{ {role} = \"own\" }}");
        assert_says(&file(&toml).error(), &["access.orders", "own"]);
    }
}

#[test]
fn order_statuses_are_strings_that_are_not_empty() {
    let config = file("[orders]\nstatuses = [\"on_hold\", \"ü\"]")
        .resolve()
        .unwrap();
    assert_eq!(config.order_statuses, ["on_hold", "ü"]);
    let long = format!("[orders]\nstatuses = [\"{}\"]", "x".repeat(4097));
    for toml in [
        "[orders]\nstatuses = [\"\"]",
        "[orders]\nstatuses = \"a\"",
        "[orders]\nstatuses = [1]",
        &long,
    ] {
        assert_says(&file(toml).error(), &["orders.statuses", "1 to 4096 bytes"]);
    }
    assert_says(&file("orders = 1").error(), &["orders", "table"]);
}
