//! Every test that docs/reliability.md and docs/security.md name is there.

use std::fs;

use crate::{Document, root};

#[test]
fn every_promise_is_held_by_tests_that_are_there() {
    assert_held("docs/reliability.md", 10);
}

#[test]
fn every_threat_is_met_by_tests_that_are_there() {
    assert_held("docs/security.md", 30);
}

/// Each row of the document's tables that names tests names such as are there; there are more than so
/// many of them.
fn assert_held(document: &str, least: usize) {
    let document = Document::read(&root().join(document));
    let mut rows = 0;
    for row in document.prose().filter(|line| line.contains(".rs`: ")) {
        let held_by = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let mut source = String::new();
        let mut tests = 0;
        // What stands between backticks: a file, and then names of tests in it.
        for word in held_by.split('`').skip(1).step_by(2) {
            if word.ends_with(".rs") {
                let path = root().join(word);
                source = fs::read_to_string(&path)
                    .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
            } else {
                assert!(
                    source.contains(&format!("fn {word}(")),
                    "there is no test {word}: {row}"
                );
                tests += 1;
            }
        }
        assert!(tests > 0, "nothing holds this: {row}");
        rows += 1;
    }
    assert!(rows > least, "only {rows} rows were found");
}
