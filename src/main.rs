//! The `shopwire` program: starts the command that was asked for.

use std::{panic, process};

fn main() -> process::ExitCode {
    end_with_a_panic();
    shopwire::cli::main()
}

/// A thread that panics must not leave the others serving half a shop. A release is built to abort by
/// itself; this holds for every build.
fn end_with_a_panic() {
    let say = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        say(what);
        process::abort();
    }));
}
