//! Which command starts which server.
//!
//! All of them are told by environment variables where to listen, and say when they are ready by one
//! line on standard output; shopwire's own words for both serve for all. See
//! `loadtest/peers/README.md`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::run::plan::{Load, Plan};

/// Where the peers' sources are, and the notes on goals.
pub const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

/// Those that are scripts, in folders of their names.
const SCRIPTS: [&str; 3] = ["bun", "ws", "socketio"];

/// A server that can be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// What it is called, also as the first word of its ready line.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// What to do where it is not there.
    build: &'static str,
}

/// The servers that are known by name.
pub const KNOWN: [Known; 6] = [
    Known {
        name: "shopwire",
        about: "the server of this repository",
        build: "cargo build --release",
    },
    Known {
        name: "floor",
        about: "the least any server can do on this kernel: one send a connection and batch, nothing else",
        build: "cargo build --release --workspace",
    },
    Known {
        name: "bun",
        about: "Bun.serve, which is uWebSockets, with topics",
        build: "make peers",
    },
    Known {
        name: "ws",
        about: "Node with ws, one joined write a connection and batch",
        build: "make peers",
    },
    Known {
        name: "socketio",
        about: "Node with Socket.IO, rooms, WebSocket transport only",
        build: "make peers",
    },
    Known {
        name: "axum",
        about: "axum on tokio, one joined write a connection and batch",
        build: "make peers",
    },
];

/// The known server of this name.
pub fn known(name: &str) -> Option<Known> {
    KNOWN.into_iter().find(|known| known.name == name)
}

/// Refuses what a peer cannot do: the floor sends every event to all, and knows neither roles nor targets;
/// none of them keeps what was sent.
///
/// # Errors
/// Which scenarios it can be measured with.
pub fn check(server: &str, plan: &Plan) -> Result<(), String> {
    if plan.comeback.is_some() && server != "shopwire" && known(server).is_some() {
        return Err(format!(
            "{server} keeps no events, so nobody can be sent what it has missed; {} is for shopwire and builds of it",
            plan.scenario
        ));
    }
    if plan.cluster.is_some() && server != "shopwire" && known(server).is_some() {
        return Err(format!(
            "{server} knows no Redis; cluster is for shopwire and builds of it"
        ));
    }
    match plan.load {
        Load::Shop(_) if server == "floor" => Err(format!(
            "in {} each connection sees other events, and the floor filters nothing; it can be measured with fanout, flood, unicast, connect, idle, slow and seed --broadcast",
            plan.scenario
        )),
        _ => Ok(()),
    }
}

/// The command that starts `server`: one of [`KNOWN`], or a build of shopwire by its path. With it,
/// what to do where it cannot be started.
pub fn command(server: &str) -> (Command, String) {
    let Some(known) = known(server) else {
        let mut command = Command::new(server);
        command.arg("serve");
        return (
            command,
            "name a program, or one of the known servers".into(),
        );
    };
    let peers = Path::new(PEERS);
    let command = match known.name {
        "shopwire" => {
            let mut command = Command::new(beside_this_program("shopwire"));
            command.arg("serve");
            command
        }
        "floor" => Command::new(beside_this_program("floor")),
        "axum" => Command::new(peers.join("axum/target/release/axum-peer")),
        "bun" => Command::new(peers.join("bun/start.sh")),
        script => Command::new(peers.join(script).join("server.mjs")),
    };
    (command, format!("build it first: {}", known.build))
}

/// The files that a known server is made of: its program, or its scripts with the list of what they
/// load.
///
/// # Errors
/// Where a folder of scripts cannot be read.
pub fn files(server: &str) -> io::Result<Vec<PathBuf>> {
    if !SCRIPTS.contains(&server) {
        let (command, _) = command(server);
        return Ok(vec![command.get_program().into()]);
    }
    let peers = Path::new(PEERS);
    let mut files = vec![peers.join("package-lock.json")];
    for folder in [server, "shared"] {
        for entry in fs::read_dir(peers.join(folder))? {
            files.push(entry?.path());
        }
    }
    files.sort();
    Ok(files)
}

fn beside_this_program(name: &str) -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|program| Some(program.parent()?.join(name)))
        .unwrap_or_else(|| PathBuf::from(name))
}
