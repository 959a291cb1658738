//! A Redis of the run's own, which makes several hosts one: on a Unix socket in a folder of its own, and it keeps nothing.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Cluster, READY_TIMEOUT, STOP_TIMEOUT, Started, log_tail, new_folder, spawn_on};
use crate::interrupt::Interrupt;

/// How often it is asked whether it is ready.
const ASKED_EVERY: Duration = Duration::from_millis(10);

/// Starts it, and waits until it answers. With it, the address for `--redis-url`.
pub fn start(cluster: &Cluster, interrupt: &Interrupt) -> Result<(Started, String), String> {
    let folder = new_folder()?;
    let socket = folder.path().join("redis.sock");
    let log = File::create(folder.path().join("log"))
        .map_err(|error| format!("cannot write into the folder of Redis: {error}"))?;
    let mut command = Command::new(&cluster.redis);
    command
        .args(["--port", "0", "--save", "", "--unixsocket"])
        .arg(&socket)
        .arg("--dir")
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(log)
        // Ctrl-C is for this program, as with the hosts.
        .process_group(0);
    let child = spawn_on(cluster.redis_cores.as_deref(), &mut command)?.map_err(|error| {
        let program = cluster.redis.display();
        format!("cannot start {program} ({error}); install redis-server, or name it with --redis")
    })?;
    let mut redis = Started::watch(child, folder, STOP_TIMEOUT, interrupt)?;
    let asked_until = Instant::now() + READY_TIMEOUT;
    while !answers(&socket) {
        let has_ended = !matches!(redis.child.try_wait(), Ok(None));
        if has_ended || Instant::now() > asked_until {
            let log = log_tail(redis.folder.path());
            return Err(format!("Redis does not answer\n{log}"));
        }
        thread::sleep(ASKED_EVERY);
    }
    let url = format!("unix://{}", socket.display());
    Ok((redis, url))
}

fn answers(socket: &Path) -> bool {
    let mut answer = [0; 5];
    let asked = UnixStream::connect(socket).and_then(|mut stream| {
        stream.set_read_timeout(Some(READY_TIMEOUT))?;
        stream.write_all(b"PING\r\n")?;
        stream.read_exact(&mut answer)
    });
    asked.is_ok() && answer == *b"+PONG"
}
