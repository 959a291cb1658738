//! The rules, the dashboard and the documents about metrics: they may name nothing that is not there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::scrape::{Scrape, assert_promtool};
use crate::harness::redis::Redis;
use crate::harness::tls::Certificates;

/// A file of the project: where it is, and what is in it.
fn of_project(path: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
    (path, text)
}

/// The names of metrics in a text.
fn names_in(text: &str) -> BTreeSet<&str> {
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.split(|c: char| !is_of_name(c) && c != '-' && c != '.')
        .filter(|word| word.starts_with("shopwire_") || word.starts_with("process_"))
        .filter(|word| word.chars().all(is_of_name))
        .collect()
}

/// What is measured and in no panel and no alert, and why.
const ASKED_FOR_BY_HAND: [(&str, &str); 4] = [
    (
        "shopwire_build_info",
        "says which version runs, and never whether it is well",
    ),
    (
        "shopwire_history_events",
        "history is bounded by its bytes, which have a panel",
    ),
    ("process_threads", "they are as many as at the start"),
    (
        "process_virtual_memory_bytes",
        "what is mapped costs nothing; what is resident has a panel",
    ),
];

/// Scrapes of a server with all that one host can have, and of one of several: a journal and Redis exclude each other.
fn of_one_and_of_several() -> [Scrape; 2] {
    let certificates = Certificates::new();
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let server = certificates.serve(&["--canary", "1s", "--journal", journal.to_str().unwrap()]);
    let response = certificates.browser().get(&server, "/metrics", &[]);
    let of_one = Scrape::read(String::from_utf8(response.body).unwrap());
    [of_one, Scrape::of(&Redis::start().host())]
}

fn families(scrapes: &[Scrape]) -> BTreeSet<&str> {
    scrapes
        .iter()
        .flat_map(|scrape| scrape.families.keys().map(String::as_str))
        .collect()
}

/// What the panels of the dashboard ask for, as text.
fn asked_by_panels() -> String {
    let (_, text) = of_project("deploy/grafana/shopwire.json");
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten()
        .map(|target| target["expr"].as_str().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whoever is woken looks at the dashboard, and not through a page of a hundred names.
#[test]
fn what_is_measured_is_seen_or_watched() {
    let (_, rules) = of_project("deploy/prometheus/alerts.yml");
    let panels = asked_by_panels();
    let named: BTreeSet<&str> = names_in(&panels)
        .union(&names_in(&rules))
        .copied()
        .collect();
    // A histogram is asked for by its parts.
    let is_named = |family: &str| {
        let parts = ["", "_bucket", "_sum", "_count"];
        let mut names = parts.iter().map(|part| format!("{family}{part}"));
        names.any(|name| named.contains(name.as_str()))
    };
    let scrapes = of_one_and_of_several();
    let families = families(&scrapes);
    let unseen: BTreeSet<&str> = families
        .iter()
        .copied()
        .filter(|family| !is_named(family))
        .collect();
    let by_hand: BTreeSet<&str> = ASKED_FOR_BY_HAND.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        unseen, by_hand,
        "left: in no panel and no alert; right: those that need none"
    );
}

/// A rule on a name that is not there never fires, and nobody hears of it.
#[test]
fn rules_and_dashboard_name_only_what_is_there() {
    let scrapes = of_one_and_of_several();
    let there: BTreeSet<&str> = scrapes.iter().flat_map(|scrape| scrape.names()).collect();
    let families = families(&scrapes);
    for path in [
        "deploy/prometheus/alerts.yml",
        "deploy/grafana/shopwire.json",
        "docs/operations.md",
    ] {
        let (_, text) = of_project(path);
        let names = names_in(&text);
        assert!(names.len() > 10, "{path} names {names:?}");
        for name in &names {
            let is_there = there.contains(name) || families.contains(name);
            assert!(is_there, "{path} names {name}, which no scrape has");
        }
        if path.starts_with("docs") {
            let untold: Vec<_> = families.difference(&names).collect();
            assert!(untold.is_empty(), "{path} says nothing of {untold:?}");
        }
    }
}

#[test]
fn rules_are_good_and_fire_when_they_should() {
    let (rules, text) = of_project("deploy/prometheus/alerts.yml");
    assert_promtool(&["check", "rules", rules.to_str().unwrap()], "");
    let (tests, _) = of_project("deploy/prometheus/alerts_test.yml");
    assert_promtool(&["test", "rules", tests.to_str().unwrap()], "");
    // Each rule says what to do, and where more is said.
    let alerts = text.matches("- alert: ").count();
    assert!(alerts >= 10);
    for word in ["summary: ", "description: ", "runbook_url: ", "severity: "] {
        assert_eq!(text.matches(word).count(), alerts, "{word}");
    }
}

#[test]
fn the_dashboard_is_one_that_grafana_can_import() {
    let (_, text) = of_project("deploy/grafana/shopwire.json");
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(dashboard["uid"], "shopwire");
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let title = panel["title"].as_str().unwrap();
        if panel["type"] == "row" {
            continue;
        }
        assert!(
            panel["description"]
                .as_str()
                .is_some_and(|text| text.len() > 20),
            "{title}"
        );
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            assert!(
                !names_in(target["expr"].as_str().unwrap()).is_empty(),
                "{title}"
            );
        }
    }
    // No panel lies on another.
    let at =
        |panel: &Value| ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
    for (index, one) in panels.iter().enumerate() {
        for other in &panels[index + 1..] {
            let ([x1, y1, w1, h1], [x2, y2, w2, h2]) = (at(one), at(other));
            let apart = x1 + w1 <= x2 || x2 + w2 <= x1 || y1 + h1 <= y2 || y2 + h2 <= y1;
            assert!(apart, "{} and {}", one["title"], other["title"]);
        }
    }
}
