//! A thread of a server that hangs, as in a loop without end or a call that does not return, while the others go on.

use nix::sys::ptrace;
use nix::unistd::Pid;

use super::{Server, wait_until};

/// Hangs until this is dropped, by the test's thread that made it.
pub struct Hung {
    thread: Pid,
}

impl Hung {
    /// Stops the thread of this name, as a debugger does: the server needs `--core-dumps`, which lets one.
    pub fn thread(server: &Server, name: &str) -> Hung {
        let tasks = format!("/proc/{}/task", server.id());
        let found = std::fs::read_dir(&tasks).unwrap().find_map(|task| {
            let task = task.unwrap();
            let comm = std::fs::read_to_string(task.path().join("comm")).ok()?;
            let id: i32 = task.file_name().to_str()?.parse().ok()?;
            (comm.trim_end() == name).then_some(id)
        });
        let id = found.unwrap_or_else(|| panic!("no thread {name} in {tasks}"));
        let thread = Pid::from_raw(id);
        ptrace::seize(thread, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(thread).unwrap();
        let stat = format!("{tasks}/{id}/stat");
        wait_until("the thread stands still", || {
            let stat = std::fs::read_to_string(&stat).unwrap();
            // The state follows the name, which is in parentheses.
            stat.rsplit(") ")
                .next()
                .is_some_and(|rest| rest.starts_with('t'))
        });
        Hung { thread }
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        // A server that has ended has let go of it.
        ptrace::detach(self.thread, None).ok();
    }
}
