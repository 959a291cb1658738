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

use std::hint::black_box;

use cases::Work;

/// The work after a run that nobody counts: its buffers have grown by then.
fn warm(make: impl FnOnce() -> Work) -> Work {
    even_out_the_heap();
    let mut work = make();
    work();
    work
}

/// Lets every case find the same heap: what the allocator does next depends on the holes and the
/// end that the process's start left, and so on the length of the path it was started by.
fn even_out_the_heap() {
    let take = |size: usize| black_box(Vec::<u8>::with_capacity(size)).leak().as_ptr();
    for size in (16..=1024).step_by(16) {
        for _ in 0..16 {
            take(size);
        }
    }
    take(4096 - take(16).addr() % 4096);
}

macro_rules! counted {
    ($($group:ident { $($case:ident = $work:expr,)* })*) => {
        $(#[library_benchmark]
        $(#[bench::$case(warm(|| $work))])*
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
