//! A run from its first connect to its last delivery.
//!
//! [`run`] opens the connections, lets events come as the [`plan`] says, and accounts for every
//! delivery; what it saw is a [`Measured`], of which `report` makes figures and verdicts.
//!
//! - [`plan`]: what a run does
//! - [`comeback`]: those who come back meanwhile, for what they have missed
//! - [`session`]: a run whose connections are open
//! - [`measure`]: what is measured meanwhile

pub mod comeback;
pub mod measure;
pub mod plan;
pub mod session;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::accounting::Faults;
use crate::client::recorder::Recorder;
use crate::client::{Client, Setup};
use crate::console::Console;
use crate::emitter::{Emitter, Scheduled, Sent};
use crate::interrupt::Interrupt;
use crate::process::{self, Memory};
use crate::progress::Progress;
use crate::server::Target;
use crate::world::World;
use comeback::{Returned, Returning};
use measure::{Sample, Snapshot, Window};
use plan::{Comeback, Drive, Plan};
use session::{Cut, LINGER, Session};

/// Time between the last subscription and the first event, so that the one does not disturb the
/// other.
const SETTLE: Duration = Duration::from_millis(500);

/// What a run has seen.
#[derive(Debug)]
pub struct Measured {
    /// That the run has ended before its time, if it has.
    pub cut: Option<Cut>,
    /// Connections that were subscribed when the load began.
    pub connections: u32,
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
    /// Connections that came back for what they had missed.
    pub returned: Option<Returned>,
    /// The measured time before the first of those came ...
    pub before_replay: Option<Window>,
    /// ... and from then on until all of them had caught up.
    pub replay: Option<Window>,
    /// From the intended time of sending to that of reading, in microseconds.
    pub latency: Histogram<u64>,
    /// The same before the scenario's disturbance.
    pub baseline: Histogram<u64>,
    /// The server before the first connection.
    pub memory_empty: Option<Memory>,
    /// The server with the first connection subscribed, where connections are what is measured: code
    /// and tables that the first one needs are not what each one costs.
    pub memory_first: Option<Memory>,
    /// The server with all connections subscribed.
    pub memory_full: Option<Memory>,
    /// The server when a quarter of the measured time was over.
    pub memory_early: Option<Memory>,
    /// The server at the end of the measured time.
    pub memory_end: Option<Memory>,
    /// The most the server had of it.
    pub rss_max: u64,
    /// Open files of the server, before the load and at its end.
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

/// Runs `plan` against `target`, until `interrupt` asks for an early end.
///
/// # Errors
/// Why it could not be begun. What goes wrong once connections are being opened is part of what is
/// measured, but for a server that refuses them.
pub fn run(
    target: &Target,
    plan: &Plan,
    console: &Console,
    interrupt: &Interrupt,
) -> Result<Measured, String> {
    let name = run_name();
    let world = Arc::new(plan.world(&name));
    let progress = Arc::new(Progress::default());
    progress.set_events(match plan.drive {
        Drive::Hold => 0,
        Drive::Scheduled(rate) => plan.schedule(Instant::now(), rate).end(),
        Drive::Flood(_) => u32::MAX,
    });
    let since = match &plan.comeback {
        Some(comeback) => Some(send_backlog(target, &world, &progress, comeback)?),
        None => None,
    };

    let memory = || process::together(&target.pids, process::memory);
    let memory_empty = memory();
    let mut client = Client::new(target, &world, &name, &progress, 0)?;
    client.spins = plan.spins;
    let before = Snapshot::take(target, &client, 0);
    let open = |client: &mut Client, count: u32| {
        client.open(count, plan.arrivals, interrupt, |live| {
            console.say(|| format!("{live} of {} connections subscribed", plan.connections));
        })
    };
    let mut memory_first = None;
    let mut opened = Ok(());
    if plan.measures_connections() {
        opened = open(&mut client, 1);
        memory_first = memory();
    }
    opened = opened.and_then(|()| open(&mut client, plan.connections));
    let mut after = Snapshot::take(target, &client, 0);
    if opened.is_err() {
        client.listen_for(LINGER)?;
    }
    if client.has_server_ended() {
        // What was still there to be read of it is a part.
        after.server = None;
    }
    let memory_full = memory();

    let mut session = Session::new(plan, console, interrupt, &progress, target, after);
    // A server that ends is told as such; one that refuses has not been measured at all.
    match opened {
        Err(message) if !session.is_cut_short(&client) => return Err(message),
        _ => {}
    }
    let sent = match plan.drive {
        _ if session.is_cut_short(&client) => Sent::default(),
        Drive::Hold => session.hold(&mut client)?,
        Drive::Scheduled(rate) => {
            let schedule = plan.schedule(Instant::now() + SETTLE, rate);
            if let (Some(comeback), Some(since)) = (plan.comeback, &since) {
                let client = Client::new(target, &world, &name, &progress, plan.connections)?;
                let first_due = schedule.intended(plan.halfway(&schedule));
                session.take_along(Returning::start(
                    client, comeback, since, first_due, &progress, plan.grace,
                )?);
            }
            let emitter = Scheduled::start(&target.socket, &world, &progress, schedule)?;
            session.follow(&mut client, emitter, schedule)?
        }
        Drive::Flood(in_flight) => {
            let emitter = Emitter::connect(&target.socket, &world, &progress, 0)?;
            session.flood(&mut client, emitter, in_flight)?
        }
    };
    let returned = session.returned()?;
    let (before_replay, replay) = session.replay();
    // What was sent and not settled when sending broke off was perhaps never read.
    let owed = match &sent.broke_off {
        Some(reason) if !session.is_cut_short(&client) => {
            session.cut_short(reason.clone(), false);
            sent.settled
        }
        Some(_) => sent.settled,
        None => progress.events(),
    };
    // What was on its way when the run was asked to end is no failure.
    if !session.cut.as_ref().is_some_and(|cut| cut.is_asked_for) {
        client.give_up_on_hanging();
    }
    // What those that did not read find when they are woken is no delivery in time.
    let ended = std::mem::take(&mut client.ended);
    let faults = client.faults(owed);
    let recorder = std::mem::replace(&mut client.recorder, Recorder::new(&name));
    let stalled = plan
        .stalled_nth
        .map(|_| session.wake(&mut client))
        .transpose()?;

    Ok(Measured {
        connections: client.subscribed as u32,
        opening: Window::between(&before, &after),
        load: session.load(),
        sent,
        faults,
        received: recorder.received,
        other: recorder.other,
        ended,
        rejoined: client.rejoined,
        stalled,
        returned,
        before_replay,
        replay,
        memory_empty,
        memory_first,
        // Idle connections are measured when they have been idle.
        memory_full: if plan.measures_connections() {
            session.memory_end
        } else {
            memory_full
        },
        memory_early: session.memory_early,
        memory_end: session.memory_end,
        rss_max: session.timeline.rss_max,
        open_files: session.open_files(),
        kernel_tcp: process::kernel_tcp_memory(),
        cut: session.cut,
        timeline: session.timeline.samples,
        setup: client.setup,
        latency: recorder.latency,
        baseline: recorder.baseline,
    })
}

/// Sends what those who come back have missed, and before it the last event that they have seen, whose
/// id is returned. Nobody listens yet.
fn send_backlog(
    target: &Target,
    world: &Arc<World>,
    progress: &Arc<Progress>,
    comeback: &Comeback,
) -> Result<String, String> {
    let mut emitter = Emitter::connect(&target.socket, world, progress, 0)?;
    let since = emitter.send_until(1)?;
    emitter.send_until(1 + comeback.backlog)?;
    Ok(since)
}
