//! Which machine a run was on: figures mean little without it.

use std::fs;

use serde::{Deserialize, Serialize};

const CONGESTION_CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// A machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Its cores.
    pub cores: usize,
    /// Memory in GiB.
    pub memory_gib: f64,
    /// The kernel's release.
    pub kernel: String,
    /// TCP's congestion control: it decides a good part of what a send costs.
    pub congestion_control: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(file).ok()?;
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_string())
        };
        let memory_kib = field("/proc/meminfo", "MemTotal")
            .and_then(|text| text.split(' ').next()?.parse::<f64>().ok())
            .unwrap_or(0.0);
        Self {
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into()),
            cores: cores(),
            memory_gib: memory_kib / f64::from(1 << 20),
            kernel: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            congestion_control: fs::read_to_string(CONGESTION_CONTROL)
                .map_or_else(|_| "unknown".into(), |text| text.trim().to_string()),
        }
    }
}

/// The cores of this machine: not only those that this process may use, which pinning narrows.
pub fn cores() -> usize {
    fs::read_to_string("/proc/cpuinfo").map_or(1, |text| {
        let is_core = |line: &&str| line.starts_with("processor");
        text.lines().filter(is_core).count().max(1)
    })
}
