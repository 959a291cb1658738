//! The build script: puts the live page into the program, if it has been built (`make page`): the files that
//! `client/page` leaves in `client/page/built`. Node is not needed here, and nothing is when they
//! are missing: then `/` says how to build them.

#![expect(clippy::print_stdout, reason = "cargo is told by it")]

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};

const BUILT: &str = "client/page/built";
const UNBUILT: &str = "src/http/unbuilt.html";

/// File, path on the server, content type. All that are not images lie there compressed, too.
const FILES: [(&str, &str, &str); 4] = [
    ("index.html", "/", "text/html; charset=utf-8"),
    ("page.js", "/page/page.js", "text/javascript; charset=utf-8"),
    ("page.css", "/page/page.css", "text/css; charset=utf-8"),
    ("icon.svg", "/page/icon.svg", "image/svg+xml"),
];

fn main() -> io::Result<()> {
    // The folder is always there, so this runs when its content changes and at no other time.
    println!("cargo::rerun-if-changed={BUILT}");
    println!("cargo::rerun-if-changed={UNBUILT}");
    println!("cargo::rerun-if-changed=src/http/embed_page.rs");
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let built = root.join(BUILT);
    let mut assets = String::new();
    if built.join(FILES[0].0).exists() {
        for (name, path, content_type) in FILES {
            let gzip = built.join(format!("{name}.gz"));
            let gzip = gzip.exists().then_some(gzip);
            assets += &asset(&built.join(name), gzip.as_deref(), path, content_type)?;
        }
    } else {
        let (_, path, content_type) = FILES[0];
        assets += &asset(&root.join(UNBUILT), None, path, content_type)?;
    }
    let code = format!("static ASSETS: &[Asset] = &[\n{assets}];\n");
    fs::write(Path::new(&variable("OUT_DIR")?).join("page.rs"), code)
}

/// The code of one entry of the table.
fn asset(file: &Path, gzip: Option<&Path>, path: &str, content_type: &str) -> io::Result<String> {
    let body = fs::read(file).map_err(|error| {
        let hint = "the page is not whole; `make page` builds it";
        io::Error::new(error.kind(), format!("{}: {error}: {hint}", file.display()))
    })?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&body);
    let etag = format!("W/\"{:016x}\"", hasher.finish());
    let gzip = match gzip {
        Some(file) => format!("Some(include_bytes!({file:?}))"),
        None => "None".to_owned(),
    };
    Ok(format!(
        "    Asset {{ path: {path:?}, content_type: {content_type:?}, body: include_bytes!({file:?}), \
         gzip: {gzip}, etag: {etag:?} }},\n"
    ))
}

fn variable(name: &str) -> io::Result<String> {
    std::env::var(name).map_err(|error| io::Error::other(format!("{name}: {error}")))
}
