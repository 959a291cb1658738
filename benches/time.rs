//! How long each case of the hot path takes (divan).
//!
//! `make bench` prints it. Times are for comparing two runs on one machine, not for quoting.

mod cases;

use divan::Bencher;
use shopwire::event::EventType;

macro_rules! timed {
    ($($group:ident { $($case:ident = $work:expr,)* })*) => {
        $(mod $group {
            use super::*;

            $(#[divan::bench]
            fn $case(bencher: Bencher<'_, '_>) {
                let mut work = $work;
                bencher.bench_local(|| work());
            })*
        })*
    };
}
cases::for_each_case!(timed);

fn main() {
    divan::main();
}
