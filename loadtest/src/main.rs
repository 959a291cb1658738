//! The load test program.
fn main() {}
