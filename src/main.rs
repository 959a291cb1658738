//! The `shopwire` program.
fn main() {}
