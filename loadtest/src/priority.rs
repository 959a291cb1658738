//! On which cores, and how urgently, processes and threads of a measurement run.

use std::num::NonZeroU64;

use rustix::process::{getpriority_process, setpriority_process};
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
/// Where none of them is there.
pub fn pin(cores: &[usize]) -> Result<(), String> {
    let mut set = CpuSet::new();
    for &core in cores {
        if core >= CpuSet::MAX_CPU {
            return Err(format!("there is no core {core}"));
        }
        set.set(core);
    }
    sched_setaffinity(None, &set)
        .map_err(|error| format!("cannot run on core {}: {error}", list(cores)))
}

fn list(cores: &[usize]) -> String {
    let numbers: Vec<String> = cores.iter().map(ToString::to_string).collect();
    numbers.join(", ")
}

/// Whether this process can be given these cores, whichever it has now.
///
/// # Errors
/// Which of them there is not, and which there are.
pub fn check(cores: &[usize]) -> Result<(), String> {
    let own = allowed()?;
    // Of a set with all numbers in it the kernel takes those that there are.
    let all: Vec<usize> = (0..CpuSet::MAX_CPU).collect();
    pin(&all)?;
    let there = allowed();
    pin(&own)?;
    let there = there?;
    match cores.iter().find(|core| !there.contains(core)) {
        Some(core) => Err(format!(
            "there is no core {core}; the cores are {}",
            list(&there)
        )),
        None => Ok(()),
    }
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

/// Lets the calling thread, which is as nice as its process, give way to the others.
pub fn be_nicer(by: i32) {
    // A thread may always be nicer than it was.
    if let Ok(value) = getpriority_process(None) {
        setpriority_process(None, value + by).unwrap_or_default();
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_core_that_is_not_there_is_named_beside_those_that_are() {
        let own = allowed().unwrap();
        check(&own).unwrap();
        for absent in [CpuSet::MAX_CPU - 1, CpuSet::MAX_CPU, 5000] {
            let message = check(&[own[0], absent]).unwrap_err();
            let there = format!("there is no core {absent}; the cores are ");
            assert!(message.starts_with(&there), "{message}");
        }
        assert_eq!(allowed().unwrap(), own, "nothing has changed");
    }
}
