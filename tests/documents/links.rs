//! Every relative link leads to a file, and to a heading where it names one.

use crate::Document;

#[test]
fn every_relative_link_leads_somewhere() {
    let documents = Document::all();
    let mut followed = 0;
    for document in &documents {
        for link in document.prose().flat_map(targets) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = match file {
                "" => document.path.clone(),
                file => document.path.parent().unwrap().join(file),
            };
            let place = format!("{}: ({link})", document.name());
            assert!(path.exists(), "{place} leads to no file");
            if !anchor.is_empty() {
                let target = Document::read(&path);
                assert!(
                    headings(&target).any(|slug| slug == anchor),
                    "{place} leads to no heading"
                );
            }
            followed += 1;
        }
    }
    assert!(followed > 20, "only {followed} links were found");
}

/// What stands in the parentheses of a line's links.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
}

/// The anchors of a document's headings: lower case, spaces as hyphens, other signs left out.
fn headings(document: &Document) -> impl Iterator<Item = String> {
    document
        .prose()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
}
