//! How many instructions each case of the hot path executes (gungraun, under Valgrind's Callgrind).
//!
//! `make bench` prints them, `make bench-check` holds them against `baseline.toml`. Unlike a time, a
//! count is the same on a busy machine.

#![allow(
    missing_docs,
    reason = "gungraun makes public items of its own for every case"
)]

mod cases;

use gungraun::Callgrind;
use gungraun::prelude::*;
use shopwire::event::EventType;

use cases::Work;

/// The work after a run that nobody counts: its buffers have grown by then.
fn warm(mut work: Work) -> Work {
    work();
    work
}

macro_rules! counted {
    ($($group:ident { $($case:ident = $work:expr,)* })*) => {
        $(#[library_benchmark]
        $(#[bench::$case(warm($work))])*
        fn $group(mut work: Work) -> Work {
            work();
            work
        })*

        library_benchmark_group!(name = hot_path, benchmarks = [$($group),*]);
    };
}
cases::for_each_case!(counted);

main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = hot_path
);
