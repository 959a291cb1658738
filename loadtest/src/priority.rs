//! On which cores, and how urgently, processes and threads of a measurement run.

use std::num::NonZeroU64;

use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, sched_setaffinity, set_current_timer_slack};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Real-time priority of the emitter's thread: the lowest there is suffices to come before all
/// usual threads.
const EMITTER_PRIORITY: u8 = 1;

/// Pins the calling thread, and those it will start, to these cores.
///
/// # Errors
/// Where there is no such core.
pub fn pin(cores: &[usize]) -> Result<(), String> {
    let mut set = CpuSet::new();
    for &core in cores {
        if core >= CpuSet::MAX_CPU {
            return Err(format!("there is no core {core}"));
        }
        set.set(core);
    }
    sched_setaffinity(None, &set).map_err(|error| {
        format!(
            "cannot run on core {}: {error}",
            cores
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(",")
        )
    })
}

/// The cores that the calling thread may run on.
///
/// # Errors
/// Where the kernel does not say.
pub fn allowed() -> Result<Vec<usize>, String> {
    let set = rustix::thread::sched_getaffinity(None)
        .map_err(|error| format!("cannot ask for the allowed cores: {error}"))?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|&core| set.is_set(core))
        .collect())
}

/// Gives this process, and those it will start, a nice value. Returns whether it was allowed to.
pub fn be_nice(value: i32) -> bool {
    setpriority_process(None, value).is_ok()
}

/// Lets the calling thread wake up on time: before all usual threads where that is allowed, and
/// without the kernel's rounding of sleeps.
pub fn be_punctual() {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let priority = ThreadPriorityValue::try_from(EMITTER_PRIORITY)
        .map_or(ThreadPriority::Min, ThreadPriority::Crossplatform);
    let became = set_thread_priority_and_policy(thread_native_id(), priority, policy);
    let slack = set_current_timer_slack(NonZeroU64::new(1));
    // Without them events go out a little later, which the report tells as the emitter's delay.
    if let (Err(_), _) | (_, Err(_)) = (became, slack) {
        eprintln!("loadtest: not allowed to send with real-time priority; sending may be late");
    }
}
