//! The documents against the program: what README, docs/ and deploy/ say must be so.
//!
//! - links lead somewhere, to a heading too ([`links`]);
//! - tables that repeat what the code holds are the code's ([`tables`]);
//! - files that the program makes are as it makes them now ([`generated`]);
//! - the tests that promises are held by are there ([`promises`]);
//! - commands and programs that readers will paste do run ([`commands`]). A block is run if a comment before it says how:
//!   `<!-- runs -->`, `<!-- runs with a server -->`, `<!-- runs with a server: watches -->`, `<!-- node -->`,
//!   `<!-- node: client -->`, `<!-- page -->`, `<!-- python -->`.

#![allow(clippy::unwrap_used)]

mod commands;
mod generated;
mod links;
mod promises;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};

/// A Markdown file of the project.
struct Document {
    path: PathBuf,
    text: String,
}

/// A fenced block, with what the comment before it says.
struct Block {
    /// `path:line` of its first line.
    place: String,
    /// The comment's words; empty without one.
    mark: String,
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Document {
    fn read(path: &Path) -> Document {
        let text = fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
        Document {
            path: path.to_owned(),
            text,
        }
    }

    fn all() -> Vec<Document> {
        let mut paths = ["README.md", "CHANGELOG.md", "deploy/README.md"]
            .map(|name| root().join(name))
            .to_vec();
        let docs = fs::read_dir(root().join("docs")).unwrap();
        paths.extend(docs.map(|entry| entry.unwrap().path()));
        paths.retain(|path| path.extension().is_some_and(|ext| ext == "md"));
        paths.sort();
        paths.iter().map(|path| Document::read(path)).collect()
    }

    fn name(&self) -> String {
        self.path
            .strip_prefix(root())
            .unwrap()
            .display()
            .to_string()
    }

    /// The lines outside fenced blocks.
    fn prose(&self) -> impl Iterator<Item = &str> {
        let mut inside = false;
        self.text.lines().filter(move |line| {
            let fence = line.starts_with("```");
            inside ^= fence;
            !inside && !fence
        })
    }

    fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut mark = "";
        let mut open: Option<Block> = None;
        for (index, line) in self.text.lines().enumerate() {
            match &mut open {
                Some(_) if line == "```" => blocks.extend(open.take()),
                Some(block) => block.code.extend([line, "\n"]),
                None if line.starts_with("```") => {
                    open = Some(Block {
                        place: format!("{}:{}", self.name(), index + 2),
                        mark: mark.to_owned(),
                        code: String::new(),
                    });
                }
                None => {
                    mark = line
                        .strip_prefix("<!-- ")
                        .and_then(|rest| rest.strip_suffix(" -->"))
                        .unwrap_or_default();
                }
            }
        }
        assert!(open.is_none(), "{} ends inside a block", self.name());
        blocks
    }
}
