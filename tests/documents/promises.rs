//! Every test that docs/reliability.md names is there.

use std::fs;

use crate::{Document, root};

#[test]
fn every_promise_is_held_by_tests_that_are_there() {
    let document = Document::read(&root().join("docs/reliability.md"));
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
        assert!(tests > 0, "nothing holds this promise: {row}");
        rows += 1;
    }
    assert!(rows > 10, "only {rows} promises were found");
}
