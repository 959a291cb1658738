//! Whether memory is about to run out, for this machine or for the control group that the server is in.
//!
//! Asked by the observer; reads and says, and changes nothing. What cannot be read is no shortage.

use std::fs;
use std::path::Path;

use procfs::{FromRead, Meminfo};

/// Memory is scarce while less than one part in so many is left.
const PARTS: u64 = 50;

/// Whether memory is scarce, by the files below `root`. Once it was, twice as much has to be left, so that it does not
/// come and go.
pub(super) fn is_scarce(root: &Path, was_scarce: bool) -> bool {
    let parts = if was_scarce { PARTS / 2 } else { PARTS };
    [of_machine(root), of_group(root)]
        .into_iter()
        .flatten()
        .any(|(left, all)| left < all / parts)
}

/// What is left, and what there is, in bytes.
fn of_machine(root: &Path) -> Option<(u64, u64)> {
    let memory = Meminfo::from_file(root.join("proc/meminfo")).ok()?;
    Some((memory.mem_available?, memory.mem_total))
}

/// The same for the group (cgroups(7), version 2), if it has a limit. Files that were not used of late are let go of
/// before anybody is killed.
fn of_group(root: &Path) -> Option<(u64, u64)> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let folder = root.join("sys/fs/cgroup").join(group);
    let number = |name: &str| -> Option<u64> {
        let text = fs::read_to_string(folder.join(name)).ok()?;
        text.trim().parse().ok()
    };
    let most = number("memory.max")?;
    let unused = fs::read_to_string(folder.join("memory.stat")).ok()?;
    let unused = unused
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file "))
        .and_then(|bytes| bytes.parse().ok())
        .unwrap_or(0);
    let used = number("memory.current")?.saturating_sub(unused);
    Some((most.saturating_sub(used), most))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn machine(available: u64, group: Option<[u64; 3]>) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: String| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let (all, available) = (16 * GIB / 1024, available / 1024);
        put(
            "proc/meminfo",
            format!(
                "MemTotal: {all} kB\nMemFree: 1 kB\nMemAvailable: {available} kB\nBuffers: 0 kB\nCached: 0 kB\n\
                 SwapCached: 0 kB\nActive: 0 kB\nInactive: 0 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\nDirty: 0 kB\n\
                 Writeback: 0 kB\nMapped: 0 kB\nSlab: 0 kB\nCommitted_AS: 0 kB\nVmallocTotal: 0 kB\nVmallocUsed: 0 kB\n\
                 VmallocChunk: 0 kB\n"
            ),
        );
        if let Some([most, current, inactive]) = group {
            put(
                "proc/self/cgroup",
                "4:memory:/old\n0::/shop.slice/shopwire.service\n".to_owned(),
            );
            let of_group = |name: &str| format!("sys/fs/cgroup/shop.slice/shopwire.service/{name}");
            put(&of_group("memory.max"), format!("{most}\n"));
            put(&of_group("memory.current"), format!("{current}\n"));
            put(
                &of_group("memory.stat"),
                format!("anon 1\ninactive_file {inactive}\n"),
            );
        }
        root
    }

    #[test]
    fn a_machine_is_short_of_memory_when_little_is_available() {
        for (available, was_scarce, expected) in [
            (8 * GIB, false, false),
            (GIB / 2, false, false),
            (GIB / 4, false, true),
            (GIB / 2, true, true),
            (GIB, true, false),
        ] {
            let root = machine(available, None);
            assert_eq!(is_scarce(root.path(), was_scarce), expected, "{available}");
        }
    }

    #[test]
    fn so_is_a_group_that_comes_to_its_limit_but_not_by_files_that_nobody_reads() {
        for (current, inactive, expected) in [
            (GIB / 2, 0, false),
            (GIB - GIB / 100, 0, true),
            (GIB - GIB / 100, GIB / 2, false),
            (GIB + 4096, 0, true),
        ] {
            let root = machine(8 * GIB, Some([GIB, current, inactive]));
            assert_eq!(
                is_scarce(root.path(), false),
                expected,
                "{current} {inactive}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_shortage() {
        let root = tempfile::tempdir().unwrap();
        assert!(!is_scarce(root.path(), true));
    }
}
