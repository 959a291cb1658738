//! What there is to know of this machine before a server runs on it.
//!
//! Reads and judges nothing. What cannot be read is not known, and no fault: another kernel, a
//! container that hides it.

use std::fs;
use std::path::Path;
use std::process::Command;

use procfs::{FromRead, Meminfo};
use rustix::fs::{StatVfs, statfs, statvfs};
use rustix::process::{Resource, getrlimit};

/// The machine, as far as it can be seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    /// The most files a process of this user may open; the soft limit is raised to it at start.
    pub(super) files: Option<u64>,
    /// The most files any process may open: `fs.nr_open`.
    pub(super) files_of_any: Option<u64>,
    /// `net.core.somaxconn`.
    pub(super) backlog: Option<u64>,
    /// `net.core.wmem_max`, in bytes.
    pub(super) send_buffer: Option<u64>,
    /// The most that all TCP buffers may take, in bytes: `net.ipv4.tcp_mem`.
    pub(super) tcp_memory: Option<u64>,
    /// First and last of the ports that a connection outwards gets one of.
    pub(super) ports: Option<(u64, u64)>,
    /// In bytes.
    pub(super) memory: Option<u64>,
    pub(super) cores: Option<usize>,
    /// Whether the clock is put right by others.
    pub(super) clock_is_synchronized: Option<bool>,
    /// The journal's folder, or the nearest one above that is there.
    pub(super) journal: Option<Disk>,
}

/// Where a folder lies.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    /// For this user, in bytes.
    pub(super) free: u64,
    /// Gone with the power.
    pub(super) is_memory: bool,
}

/// `f_type` of tmpfs and ramfs (statfs(2)).
const MEMORY_FILE_SYSTEMS: [u64; 2] = [0x0102_1994, 0x8584_58f6];

impl Machine {
    /// Reads what is below `root`, and what the kernel says of this process.
    pub(super) fn read(root: &Path, journal: Option<&Path>) -> Self {
        let setting = |name: &str| numbers(&root.join("proc/sys").join(name));
        let one = |name: &str| setting(name).first().copied();
        let page = rustix::param::page_size() as u64;
        let ports = setting("net/ipv4/ip_local_port_range");
        let memory = Meminfo::from_file(root.join("proc/meminfo")).ok();
        Self {
            files: Some(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)),
            files_of_any: one("fs/nr_open"),
            backlog: one("net/core/somaxconn"),
            send_buffer: one("net/core/wmem_max"),
            tcp_memory: setting("net/ipv4/tcp_mem")
                .get(2)
                .map(|pages| pages.saturating_mul(page)),
            ports: match ports[..] {
                [first, last] => Some((first, last)),
                _ => None,
            },
            memory: memory.map(|memory| memory.mem_total),
            cores: std::thread::available_parallelism().ok().map(usize::from),
            clock_is_synchronized: clock_is_synchronized(root),
            journal: journal.and_then(Disk::of),
        }
    }
}

impl Disk {
    /// The one that the folder is on, or will be.
    fn of(folder: &Path) -> Option<Self> {
        let there = folder.ancestors().find(|above| above.exists());
        // Above a relative path is where this runs.
        let there = there.unwrap_or(Path::new("."));
        let StatVfs {
            f_bavail, f_frsize, ..
        } = statvfs(there).ok()?;
        // The kernel's type of it differs from machine to machine.
        let kind = statfs(there).ok()?.f_type as u64;
        Some(Self {
            free: f_bavail.saturating_mul(f_frsize),
            is_memory: MEMORY_FILE_SYSTEMS.contains(&kind),
        })
    }
}

/// The numbers in a file; none if it cannot be read.
fn numbers(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let words = text.split_whitespace();
    words.filter_map(|word| word.parse().ok()).collect()
}

/// By the mark of systemd's own client, or by what systemd knows of any.
fn clock_is_synchronized(root: &Path) -> Option<bool> {
    if root.join("run/systemd/timesync/synchronized").exists() {
        return Some(true);
    }
    let told = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .output()
        .ok()?;
    match told.stdout.trim_ascii() {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_what_is_not_there_is_not_known() {
        let root = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("proc/sys/fs/nr_open", "1048576\n");
        put("proc/sys/net/core/somaxconn", "128\n");
        put("proc/sys/net/ipv4/tcp_mem", "10\t20\t30\n");
        put("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
        put(
            "proc/meminfo",
            "MemTotal:        2048 kB\nMemFree: 10 kB\nBuffers: 1 kB\nCached: 1 kB\n",
        );
        put("run/systemd/timesync/synchronized", "");
        let journal = root.path().join("not/there/yet");
        let machine = Machine::read(root.path(), Some(&journal));
        assert_eq!(machine.files_of_any, Some(1 << 20));
        assert_eq!(machine.backlog, Some(128));
        assert_eq!(machine.send_buffer, None);
        let page = rustix::param::page_size() as u64;
        assert_eq!(machine.tcp_memory, Some(30 * page));
        assert_eq!(machine.ports, Some((32_768, 60_999)));
        assert_eq!(machine.clock_is_synchronized, Some(true));
        assert!(machine.journal.is_some_and(|disk| disk.free > 0));
        assert!(machine.files.is_some() && machine.cores.is_some());
    }

    #[test]
    fn this_machine_has_memory() {
        let machine = Machine::read(Path::new("/"), None);
        assert!(machine.memory > Some(1 << 20), "{machine:?}");
        assert!(machine.journal.is_none());
    }
}
