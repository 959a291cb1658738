//! The `seed` scenario: many staff connections that all see every order.

use std::io;
use std::time::{Duration, Instant};

use crate::cli::SeedArguments;
use crate::client::Client;
use crate::emitter::Emitter;
use crate::process::{self, raise_file_limit};
use crate::report::{self, Outcome};
use crate::schedule::Schedule;
use crate::server_process::{Server, Target};

/// Open files beside the connections: poll, sockets, log, and the server's own, which inherits the
/// limit.
const FILES_BESIDE: u64 = 200;

/// Time between the last subscription and the first event, so that the one does not disturb the
/// other.
const SETTLE: Duration = Duration::from_millis(500);

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Number of connections.
    pub connections: u32,
    /// Events a second.
    pub rate: f64,
    /// How long to emit, in seconds.
    pub seconds: f64,
    /// How long deliveries are waited for after the last event.
    pub grace: Duration,
}

/// Runs the scenario and prints the report. `false`: it ran, and the server did not pass.
///
/// # Errors
/// Why it could not be run to its end.
pub fn main(arguments: &SeedArguments) -> Result<bool, String> {
    let connections = arguments.connections;
    raise_file_limit(u64::from(connections) + FILES_BESIDE)?;
    let server = Server::open(arguments)?;
    let plan = Plan {
        connections,
        rate: arguments
            .rate
            .unwrap_or(arguments.deliveries / f64::from(connections)),
        seconds: arguments.seconds,
        grace: Duration::from_secs_f64(arguments.grace),
    };
    let outcome = run(&server.target, plan).map_err(|message| match server.log_tail() {
        Some(log) if !log.is_empty() => format!("{message}\nthe server's log ends so:\n{log}"),
        _ => message,
    })?;
    report::write(&outcome, &mut io::stdout().lock())
        .map_err(|error| format!("cannot print the report: {error}"))?;
    Ok(outcome.has_passed())
}

/// Runs `plan` against `target`.
///
/// # Errors
/// Why it could not be run to its end.
pub fn run(target: &Target, plan: Plan) -> Result<Outcome, String> {
    let run = format!("{:08x}", fastrand::u32(..));
    let memory = || target.pid.and_then(|pid| process::memory(pid).ok());
    let cpu = || target.pid.and_then(|pid| process::cpu(pid).ok());
    let own_cpu = || process::cpu(std::process::id());

    let memory_empty = memory();
    let setup_began = Instant::now();
    let mut client = Client::open(target, plan.connections, &run)?;
    let setup = setup_began.elapsed();
    let memory_subscribed = memory();

    let schedule = Schedule::new(Instant::now() + SETTLE, plan.rate, plan.seconds);
    let (server_cpu_before, client_cpu_before) = (cpu(), own_cpu()?);
    let emitter = Emitter::start(&target.socket, &run, schedule)?;
    let started = Instant::now();
    client.receive(schedule, plan.grace, || !emitter.has_failed())?;
    let sent = emitter.join()?;
    let measured = started.elapsed();
    let server_cpu = cpu()
        .zip(server_cpu_before)
        .map(|(after, before)| after - before);
    let client_cpu = own_cpu()? - client_cpu_before;

    Ok(Outcome {
        plan,
        events: schedule.events(),
        setup,
        faults: client.faults(schedule.events()),
        received: client.observed.received,
        other: client.observed.other,
        delivered_in: client.observed.last.map(|last| {
            last.max(schedule.end())
                .saturating_duration_since(schedule.start())
        }),
        ended: client.ended,
        latency: client.observed.latency,
        sent,
        memory_empty,
        memory_subscribed,
        memory_end: memory(),
        kernel_tcp: process::kernel_tcp_memory(),
        server_cpu,
        client_cpu,
        measured,
    })
}
