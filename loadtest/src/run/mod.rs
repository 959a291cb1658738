//! A run from its first connect to its last delivery.
//!
//! [`run`] opens the connections, lets events come as the [`plan`] says, and accounts for every
//! delivery; what it saw is a [`Measured`], of which `report` makes figures and verdicts.

pub mod measure;
pub mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::accounting::Faults;
use crate::client::recorder::Recorder;
use crate::client::{Client, Setup};
use crate::console::Console;
use crate::emitter::{Emitter, Scheduled, Sent};
use crate::process::{self, Memory};
use crate::progress::Progress;
use crate::schedule::Schedule;
use crate::server::Target;
use measure::{Sample, Snapshot, Timeline, Window};
use plan::{Drive, Load, Plan};

/// Time between the last subscription and the first event, so that the one does not disturb the
/// other.
const SETTLE: Duration = Duration::from_millis(500);

/// How long is listened on after the last expected delivery, for repeated ones.
const LINGER: Duration = Duration::from_millis(300);

/// The longest wait for readiness, so that what goes by the clock is done on time.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// How long connections that did not read are given to see how the server has ended them.
const WAKE_TIME: Duration = Duration::from_secs(5);

/// What a run has seen.
#[derive(Debug)]
pub struct Measured {
    /// How setting up went, step by step.
    pub setup: Setup,
    /// From the first connect to the last subscription.
    pub opening: Window,
    /// The measured time under load, where there was one.
    pub load: Option<Window>,
    /// How the sending went.
    pub sent: Sent,
    /// What did not come as it should.
    pub faults: Faults,
    /// Deliveries of the whole run, warming up included.
    pub received: u64,
    /// Text frames that are none of the run's events.
    pub other: u64,
    /// Connections that ended without being told to, by reason.
    pub ended: BTreeMap<String, u32>,
    /// Connections that left and came again.
    pub rejoined: u32,
    /// Connections that were made not to read, and how they ended.
    pub stalled: Option<Stalled>,
    /// From the intended time of sending to that of reading, in microseconds.
    pub latency: Histogram<u64>,
    /// The same before the scenario's disturbance.
    pub baseline: Histogram<u64>,
    /// The server before the first connection.
    pub memory_empty: Option<Memory>,
    /// The server with all connections subscribed.
    pub memory_full: Option<Memory>,
    /// The server when a quarter of the measured time was over.
    pub memory_early: Option<Memory>,
    /// The server at the end of the measured time.
    pub memory_end: Option<Memory>,
    /// The most the server had of it.
    pub rss_max: u64,
    /// Open files of the server, when measuring began and when it ended.
    pub open_files: Option<(usize, usize)>,
    /// What the kernel holds for all TCP sockets, both ends.
    pub kernel_tcp: Option<u64>,
    /// How the figures went over time.
    pub timeline: Vec<Sample>,
}

/// What became of the connections that were made not to read.
#[derive(Debug)]
pub struct Stalled {
    /// How many they were.
    pub count: usize,
    /// Those that the server has ended, by reason.
    pub ended: BTreeMap<String, u32>,
    /// The faults of the others, once they had read what waited for them.
    pub faults: Faults,
}

/// A name for a run, eight bytes long, that no other run has.
fn run_name() -> String {
    format!("{:08x}", fastrand::u32(..))
}

/// Runs `plan` against `target`.
///
/// # Errors
/// Why it could not be run to its end.
pub fn run(target: &Target, plan: &Plan, console: &Console) -> Result<Measured, String> {
    let name = run_name();
    let world = Arc::new(plan.world(&name));
    let progress = Arc::new(Progress::default());
    progress.set_events(match plan.drive {
        Drive::Hold => 0,
        Drive::Scheduled(rate) => {
            Schedule::new(Instant::now(), rate, plan.warm_up + plan.seconds).events()
        }
        Drive::Flood(_) => u32::MAX,
    });

    let memory = || target.pid.and_then(|pid| process::memory(pid).ok());
    let memory_empty = memory();
    let mut client = Client::new(target, &world, &name, &progress)?;
    let before = Snapshot::take(target.pid, &client, 0)?;
    client.open(plan.connections, plan.under_way, |live| {
        console.say(|| format!("{live} of {} connections subscribed", plan.connections));
    })?;
    let after = Snapshot::take(target.pid, &client, 0)?;
    let memory_full = memory();

    let mut session = Session {
        target,
        plan,
        console,
        progress: &progress,
        timeline: Timeline::new(after, plan.warm_up + plan.seconds),
        from: None,
        early: None,
        to: None,
    };
    let sent = match plan.drive {
        Drive::Hold => session.hold(&mut client)?,
        Drive::Scheduled(rate) => {
            let schedule =
                Schedule::new(Instant::now() + SETTLE, rate, plan.warm_up + plan.seconds);
            let emitter = Scheduled::start(&target.socket, &world, &progress, schedule)?;
            session.follow(&mut client, schedule)?;
            emitter.join()?
        }
        Drive::Flood(in_flight) => {
            let emitter = Emitter::connect(&target.socket, &world, &progress)?;
            session.flood(&mut client, emitter, in_flight)?
        }
    };
    client.give_up_on_hanging();
    // What those that did not read find when they are woken is no delivery in time.
    let ended = std::mem::take(&mut client.ended);
    let faults = client.faults();
    let recorder = std::mem::replace(&mut client.recorder, Recorder::new(&name));
    let stalled = plan
        .stalled_nth
        .map(|_| session.wake(&mut client))
        .transpose()?;

    let Session {
        timeline,
        from,
        early,
        to,
        ..
    } = session;
    let ends = from.as_ref().zip(to.as_ref());
    Ok(Measured {
        opening: Window::between(&before, &after),
        load: ends
            .filter(|_| plan.seconds > 0.0)
            .map(|(from, to)| Window::between(&from.snapshot, &to.snapshot)),
        sent,
        faults,
        received: recorder.received,
        other: recorder.other,
        ended,
        rejoined: client.rejoined,
        stalled,
        memory_empty,
        // Idle connections are measured when they have been idle.
        memory_full: match (plan.drive, &to) {
            (Drive::Hold, Some(to)) => to.memory,
            _ => memory_full,
        },
        memory_early: early.and_then(|early| early.memory),
        memory_end: to.as_ref().and_then(|to| to.memory),
        rss_max: timeline.rss_max,
        open_files: ends.and_then(|(from, to)| from.open_files.zip(to.open_files)),
        kernel_tcp: process::kernel_tcp_memory(),
        timeline: timeline.samples,
        setup: client.setup,
        latency: recorder.latency,
        baseline: recorder.baseline,
    })
}

/// A run whose connections are open.
struct Session<'a> {
    target: &'a Target,
    plan: &'a Plan,
    console: &'a Console,
    progress: &'a Progress,
    timeline: Timeline,
    /// When measuring began, ...
    from: Option<Reading>,
    /// ... a quarter of it was over ...
    early: Option<Reading>,
    /// ... and it ended.
    to: Option<Reading>,
}

/// All that is read off the server at one moment.
struct Reading {
    snapshot: Snapshot,
    memory: Option<Memory>,
    open_files: Option<usize>,
}

impl Session<'_> {
    /// Sends nothing, and keeps the connections alive.
    fn hold(&mut self, client: &mut Client) -> Result<Sent, String> {
        let start = Instant::now();
        let end = self.end_of_load(start);
        while Instant::now() < end {
            self.turn(client, start, 0, WAIT_MAX)?;
        }
        self.turn(client, start, 0, Duration::ZERO)?;
        Ok(Sent::default())
    }

    /// Receives what comes by `schedule`, until every event has come everywhere, or the time of
    /// grace is over, or nothing more is sent.
    fn follow(&mut self, client: &mut Client, schedule: Schedule) -> Result<(), String> {
        let plan = self.plan;
        let end = self.end_of_load(schedule.start());
        let events = f64::from(schedule.events());
        let share = plan.warm_up / (plan.warm_up + plan.seconds);
        let measured_from = (events * share) as u32;
        let half = ((events * (1.0 + share)) / 2.0) as u32;
        let stall_from = plan.stalled_nth.map(|nth| (nth, schedule.intended(half)));
        let baseline_until = stall_from.map_or(0, |_| half);
        client
            .recorder
            .expect(schedule, measured_from, baseline_until);

        let mut replaced = 0;
        let mut has_stalled = false;
        let mut deadline = end + plan.grace;
        let mut lingers = false;
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Ok(());
            }
            if let Some((nth, from)) = stall_from
                && now >= from
                && !has_stalled
            {
                has_stalled = true;
                client.stall(nth);
            }
            let passed = now.saturating_duration_since(schedule.start());
            let to_replace = (passed.as_secs_f64() * plan.replaced_per_s) as u32;
            while now < end && replaced < to_replace {
                replaced += 1;
                client.replace_one(fastrand::u32(..));
            }
            self.turn(client, schedule.start(), self.progress.settled(), WAIT_MAX)?;
            if now < end {
                // Sending that ends before the last event is due has failed; the emitter says why.
                let last_due = schedule.intended(schedule.events() - 1);
                if self.progress.has_ended() && Instant::now() < last_due {
                    return Ok(());
                }
            } else if !lingers && (client.has_everything() || client.live() == 0) {
                lingers = true;
                deadline = Instant::now() + LINGER;
            }
        }
    }

    /// Sends as fast as events are delivered, or are settled where nobody listens.
    fn flood(
        &mut self,
        client: &mut Client,
        mut emitter: Emitter,
        in_flight: u32,
    ) -> Result<Sent, String> {
        client.watch(&mut emitter.stream)?;
        client.recorder.expect_flood();
        let start = Instant::now();
        let end = self.end_of_load(start);
        loop {
            let now = Instant::now();
            if now >= end {
                break;
            }
            let delivered = match self.plan.load {
                // Each event comes to one connection only.
                Load::Own(_) => Some(client.recorder.received as u32),
                Load::Shared(_) | Load::Shop(_) => client.furthest_behind(),
            };
            // Where nobody listens, an event is under way until it is settled.
            let until = delivered
                .unwrap_or(emitter.sent().settled)
                .saturating_add(in_flight);
            let numbers = emitter.pump(until)?;
            let has_more = emitter.is_flushed() && numbers.end < until;
            client.recorder.sent(numbers, now);
            let was_measuring = self.from.is_some();
            let timeout = if has_more { Duration::ZERO } else { WAIT_MAX };
            self.turn(client, start, emitter.sent().settled, timeout)?;
            if !was_measuring && self.from.is_some() {
                client.recorder.begin_measuring();
            }
        }
        self.turn(client, start, emitter.sent().settled, Duration::ZERO)?;

        let events = emitter.sent().events;
        self.progress.set_events(events);
        let mut deadline = Instant::now() + self.plan.grace;
        let mut lingers = false;
        while Instant::now() < deadline {
            // A server may settle the last lines only when what went before has been read.
            emitter.pump(events)?;
            client.turn(WAIT_MAX)?;
            let is_over = client.has_everything() || client.live() == 0;
            if !lingers && is_over && emitter.is_settled() {
                lingers = true;
                deadline = Instant::now() + LINGER;
            }
        }
        emitter.finish()
    }

    /// Lets those that did not read see how they were ended, or read what waits for them.
    fn wake(&self, client: &mut Client) -> Result<Stalled, String> {
        let count = client.wake_stalled();
        let deadline = Instant::now() + WAKE_TIME;
        let all_ended = |client: &Client| client.ended.values().sum::<u32>() as usize == count;
        let is_over = |client: &Client| all_ended(client) || client.has_everything();
        while Instant::now() < deadline && !is_over(client) {
            client.turn(WAIT_MAX)?;
        }
        Ok(Stalled {
            count,
            ended: std::mem::take(&mut client.ended),
            faults: client.faults_of_woken(),
        })
    }

    fn end_of_load(&self, start: Instant) -> Instant {
        start + Duration::from_secs_f64(self.plan.warm_up + self.plan.seconds)
    }

    /// One turn of the client, and what goes by the clock: the readings and the timeline.
    fn turn(
        &mut self,
        client: &mut Client,
        start: Instant,
        settled: u32,
        timeout: Duration,
    ) -> Result<(), String> {
        let now = Instant::now();
        let plan = self.plan;
        let due = |share: f64| start + Duration::from_secs_f64(plan.warm_up + plan.seconds * share);
        let read = |client: &Client| -> Result<Reading, String> {
            Ok(Reading {
                snapshot: Snapshot::take(self.target.pid, client, settled)?,
                memory: self.target.pid.and_then(|pid| process::memory(pid).ok()),
                open_files: self
                    .target
                    .pid
                    .and_then(|pid| process::open_files(pid).ok()),
            })
        };
        for (reading, share) in [
            (&mut self.from, 0.0),
            (&mut self.early, 0.25),
            (&mut self.to, 1.0),
        ] {
            if reading.is_none() && now >= due(share) {
                *reading = Some(read(client)?);
            }
        }
        if self.timeline.is_due(now) && now < due(1.0) + WAIT_MAX {
            let snapshot = Snapshot::take(self.target.pid, client, settled)?;
            let rss = self.target.pid.and_then(|pid| process::rss(pid).ok());
            let sample = self.timeline.add(snapshot, rss.unwrap_or(0), client);
            self.console.say(|| describe(&sample));
        }
        client.turn(timeout)?;
        Ok(())
    }
}

fn describe(sample: &Sample) -> String {
    format!(
        "{:5.1} s  {:>9.0} deliveries/s  p99 {:.2} ms  server {:.0} % of a core, {:.1} MiB  client {:.0} %",
        sample.at_s,
        sample.deliveries_per_s,
        sample.latency_p99_ms,
        100.0 * sample.server_cores,
        sample.server_rss_mib,
        100.0 * sample.client_cores
    )
}
