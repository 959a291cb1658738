//! The fuzz targets with the stable toolchain: every committed seed, and a bounded number of random
//! variations of them.
//!
//! The properties are those that `make fuzz` gives to libFuzzer, from `fuzz/src`. What it finds is put
//! among the seeds, and so is tried here from then on. `cargo test --test fuzzing -- --ignored` writes
//! anew the seeds that are no text.

#![allow(clippy::unwrap_used)]

mod examples;
#[path = "../../fuzz/src/lib.rs"]
mod properties;
mod seeds;
mod variations;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

macro_rules! bounded {
    ($($name:ident)*) => {
        $(mod $name {
            #[test]
            fn holds_for_every_seed() {
                crate::seeds::hold(stringify!($name));
            }

            #[test]
            fn holds_for_variations_of_seeds() {
                crate::variations::hold(stringify!($name));
            }
        })*

        const BOUNDED: &[&str] = &[$(stringify!($name)),*];
    };
}

bounded! {
    ingest_line published client_message http_head frames proxy_header token claims journal takeover cluster_entry
    configuration
}

/// Each property is tried here and by libFuzzer, under the same name.
#[test]
fn no_target_is_forgotten() {
    let names: Vec<&str> = properties::TARGETS
        .iter()
        .map(|target| target.name)
        .collect();
    assert_eq!(BOUNDED, names);
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    for name in &names {
        let path = format!("fuzz_targets/{name}.rs");
        assert!(
            manifest.contains(&format!("name = \"{name}\"\npath = \"{path}\"\n")),
            "{path}"
        );
        let source = fs::read_to_string(folder().join(&path)).unwrap();
        let call = format!("shopwire_fuzz::target(\"{name}\").holds");
        assert!(source.contains(&call), "{path} does not call {call}");
    }
    let in_folder = |name: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(folder().join(name)).unwrap();
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        entries.map(|entry| stem(entry.unwrap().path())).collect()
    };
    let names: BTreeSet<String> = names.into_iter().map(str::to_owned).collect();
    assert_eq!(in_folder("fuzz_targets"), names);
    assert_eq!(in_folder("seeds"), names);
    assert!(in_folder("dictionaries").is_subset(&names));
}
