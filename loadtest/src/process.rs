//! What the kernel says about a process: memory and CPU, and the limit on open files.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Resource, getrlimit, pidfd_open, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Resident set.
    pub rss: u64,
    /// The same with shared pages divided among those who share them.
    pub pss: u64,
}

/// CPU time a process has used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    /// In its own code, as the kernel's accounting divides it: exact to a clock tick at best.
    pub user: Duration,
    /// In the kernel on its behalf, likewise.
    pub system: Duration,
    /// What the scheduler has let its threads run, to the nanosecond.
    pub run: Duration,
    /// What they were ready to run and waited for a core, likewise.
    pub waited: Duration,
}

impl std::ops::Add for Cpu {
    type Output = Cpu;

    fn add(self, other: Cpu) -> Cpu {
        Cpu {
            user: self.user + other.user,
            system: self.system + other.system,
            run: self.run + other.run,
            waited: self.waited + other.waited,
        }
    }
}

impl std::ops::Add for Memory {
    type Output = Memory;

    fn add(self, other: Memory) -> Memory {
        Memory {
            rss: self.rss + other.rss,
            pss: self.pss + other.pss,
        }
    }
}

impl std::ops::Sub for Cpu {
    type Output = Cpu;

    fn sub(self, earlier: Cpu) -> Cpu {
        Cpu {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
            run: self.run.saturating_sub(earlier.run),
            waited: self.waited.saturating_sub(earlier.waited),
        }
    }
}

/// A hold on process `pid`: readable once it has ended, and never another process that is given the
/// same number later.
///
/// # Errors
/// Where there is no such process.
pub fn open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Waits until a process that [`open`] holds has ended, no longer than `timeout`. Returns whether it has.
pub fn ends_within(process: &OwnedFd, timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            ready => return ready.is_ok_and(|ready| ready > 0),
        }
    }
}

/// What `of` says of all these processes together; `None` where there are none, or it fails for one.
pub fn together<T: std::ops::Add<Output = T>>(
    pids: &[u32],
    of: impl Fn(u32) -> Result<T, String>,
) -> Option<T> {
    let each = pids.iter().map(|&pid| of(pid).ok());
    each.reduce(|sum, one| Some(sum? + one?)).flatten()
}

/// Memory of process `pid` now.
///
/// # Errors
/// Where /proc does not say, because the process is gone or another user's.
pub fn memory(pid: u32) -> Result<Memory, String> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    match (field("Rss:"), field("Pss:")) {
        (Some(rss), Some(pss)) => Ok(Memory {
            rss: rss * 1024,
            pss: pss * 1024,
        }),
        _ => Err(format!("{path} has no Rss and Pss")),
    }
}

/// Resident set of process `pid` now, in bytes: what [`memory`] says of it, but cheap.
///
/// # Errors
/// Where /proc does not say.
pub fn rss(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/statm");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    text.split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok())
        .map(|pages| pages * rustix::param::page_size() as u64)
        .ok_or_else(|| format!("{path} has no resident set"))
}

/// CPU time of process `pid` so far, all threads.
///
/// # Errors
/// Where /proc does not say.
pub fn cpu(pid: u32) -> Result<Cpu, String> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let mut cpu = parse_cpu(&text, rustix::param::clock_ticks_per_second())
        .ok_or_else(|| format!("{path} has no CPU times"))?;
    (cpu.run, cpu.waited) =
        scheduled(pid).unwrap_or_else(|| (cpu.user + cpu.system, Duration::ZERO));
    Ok(cpu)
}

/// CPU time of this process so far, threads that have ended included.
pub fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// CPU time of the calling thread so far.
pub fn own_thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// What the calling thread has waited for a core so far, where the kernel says.
pub fn own_wait() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    parse_schedstat(&text).map(|(_, waited)| waited)
}

/// Time that the cores of this machine have idled so far, added up, where the kernel says.
pub fn idle() -> Option<Duration> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let fields = text.lines().next()?.strip_prefix("cpu ")?;
    let mut fields = fields.split_whitespace().skip(3);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let (idle, waiting) = (ticks()?, ticks()?);
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    Some(Duration::from_secs_f64(
        (idle + waiting) as f64 / per_second,
    ))
}

/// Open files of process `pid`.
///
/// # Errors
/// Where /proc does not say.
pub fn open_files(pid: u32) -> Result<usize, String> {
    let path = format!("/proc/{pid}/fd");
    fs::read_dir(&path)
        .map(Iterator::count)
        .map_err(|error| format!("{path}: {error}"))
}

/// What the scheduler has let the threads of process `pid` run and wait, where the kernel says. Threads
/// that have ended are not in it: the servers measured here keep theirs.
fn scheduled(pid: u32) -> Option<(Duration, Duration)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let mut sum = (Duration::ZERO, Duration::ZERO);
    for task in tasks {
        // A thread that has just ended is gone from here.
        if let Ok(text) = fs::read_to_string(task.ok()?.path().join("schedstat")) {
            let (run, waited) = parse_schedstat(&text)?;
            sum = (sum.0 + run, sum.1 + waited);
        }
    }
    Some(sum)
}

/// Time run and time waited for a core, of the text of a schedstat file.
fn parse_schedstat(text: &str) -> Option<(Duration, Duration)> {
    let mut fields = text.split_whitespace();
    let mut time = || fields.next()?.parse().ok().map(Duration::from_nanos);
    Some((time()?, time()?))
}

/// Memory the kernel holds for all TCP sockets of this machine, in bytes, where it says.
pub fn kernel_tcp_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/net/sockstat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let pages: u64 = line
        .split_whitespace()
        .skip_while(|word| *word != "mem")
        .nth(1)?
        .parse()
        .ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Raises the soft limit of open files to the hard one.
///
/// # Errors
/// Where that is fewer than `needed`: with the command that helps.
pub fn raise_file_limit(needed: u64) -> Result<(), String> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)
            .map_err(|error| format!("cannot raise the limit of open files: {error}"))?;
    }
    match limit.current {
        Some(current) if current < needed => Err(format!(
            "{needed} open files are needed and {current} allowed; run this first: \
             sudo prlimit --pid $$ --nofile={needed}:{needed}"
        )),
        _ => Ok(()),
    }
}

/// Reads user and system time from the text of a stat file, unless the process has ended. The program's
/// name, in parentheses, may itself hold spaces and parentheses.
fn parse_cpu(text: &str, ticks_per_second: u64) -> Option<Cpu> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    let mut fields = fields.skip(10);
    let mut time = || {
        let ticks: u64 = fields.next()?.parse().ok()?;
        Some(Duration::from_secs_f64(
            ticks as f64 / ticks_per_second as f64,
        ))
    };
    Some(Cpu {
        user: time()?,
        system: time()?,
        ..Cpu::default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::process::Command;

    #[test]
    fn cpu_times_stand_behind_the_name_whatever_it_is() {
        let text = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        let cpu = parse_cpu(text, 100).unwrap();
        assert_eq!(cpu.user, Duration::from_millis(2500));
        assert_eq!(cpu.system, Duration::from_millis(500));
        assert!(parse_cpu("42 (a", 100).is_none());
        assert!(
            parse_cpu(&text.replace(" S ", " Z "), 100).is_none(),
            "it has ended"
        );
    }

    #[test]
    fn what_ran_and_what_waited_are_told_apart() {
        let expected = (Duration::from_micros(2), Duration::from_micros(3));
        assert_eq!(parse_schedstat("2000 3000 17\n"), Some(expected));
        assert_eq!(parse_schedstat("2000"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let before = own_cpu();
        std::thread::spawn(|| while own_cpu() < Duration::from_millis(20) {})
            .join()
            .unwrap();
        assert!(own_cpu() > before, "with a thread that has ended");
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.rss >= memory.pss && memory.pss > 0);
        cpu(std::process::id()).unwrap();
    }

    #[test]
    fn a_process_is_waited_for_until_it_ends_and_no_longer_than_asked() {
        let sleep = |seconds: &str| Command::new("sleep").arg(seconds).spawn().unwrap();
        let mut brief = sleep("0.1");
        let held = open(brief.id()).unwrap();
        assert!(ends_within(&held, Duration::from_secs(60)));
        assert!(brief.try_wait().unwrap().is_some(), "it has ended");
        let mut long = sleep("600");
        let held = open(long.id()).unwrap();
        assert!(!ends_within(&held, Duration::from_millis(10)));
        long.kill().unwrap();
        assert!(ends_within(&held, Duration::from_secs(60)));
        long.wait().unwrap();
    }

    #[test]
    fn a_limit_that_does_not_suffice_names_the_command() {
        if getrlimit(Resource::Nofile).maximum.is_some() {
            let message = raise_file_limit(u64::MAX).unwrap_err();
            assert!(message.contains("sudo prlimit"), "{message}");
        }
        raise_file_limit(1).unwrap();
    }
}
