//! A run whose connections are open: it lets events come as the plan says, reads what goes by the
//! clock, and ends early where it must.

use std::time::{Duration, Instant};

use super::Stalled;
use super::comeback::{Returned, Returning};
use super::measure::{Sample, Snapshot, Timeline, Window};
use super::plan::{Load, Plan};
use crate::client::Client;
use crate::console::Console;
use crate::emitter::{Emitter, Scheduled, Sent};
use crate::interrupt::Interrupt;
use crate::process::{self, Memory};
use crate::progress::Progress;
use crate::schedule::Schedule;
use crate::server::Target;

/// How long is listened on after the last expected delivery, for repeated ones. In that time, too,
/// a server that has hung up is seen to have ended.
pub const LINGER: Duration = Duration::from_millis(300);

/// The longest wait for readiness, so that what goes by the clock is done on time.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// How long connections that did not read are given to see how the server has ended them.
const WAKE_TIME: Duration = Duration::from_secs(5);

/// That a run has ended before its time.
#[derive(Debug, Clone)]
pub struct Cut {
    /// Why.
    pub reason: String,
    /// After how much of the time under load.
    pub after: Duration,
    /// Whether it was asked for, by a signal.
    pub is_asked_for: bool,
}

/// A run whose connections are open.
pub struct Session<'a> {
    plan: &'a Plan,
    console: &'a Console,
    interrupt: &'a Interrupt,
    progress: &'a Progress,
    target: &'a Target,
    /// Why the run ends early, if it does.
    pub cut: Option<Cut>,
    /// How the figures go over time.
    pub timeline: Timeline,
    /// When measuring began ...
    from: Option<Snapshot>,
    /// ... and when it ended.
    to: Option<Snapshot>,
    /// Those who come back meanwhile.
    returning: Option<Returning>,
    /// When the first of them came ...
    replay_from: Option<Snapshot>,
    /// ... and when all of them had caught up.
    replay_to: Option<Snapshot>,
    /// The server when a quarter of the measured time was over, in a run that is long enough.
    pub memory_early: Option<Memory>,
    /// The server at the end of the measured time.
    pub memory_end: Option<Memory>,
    /// Open files of the server before the load ...
    files_from: Option<usize>,
    /// ... and at the end of the measured time.
    files_to: Option<usize>,
}

impl<'a> Session<'a> {
    /// A session with `target`, that begins with `first`.
    pub fn new(
        plan: &'a Plan,
        console: &'a Console,
        interrupt: &'a Interrupt,
        progress: &'a Progress,
        target: &'a Target,
        first: Snapshot,
    ) -> Self {
        Self {
            plan,
            console,
            interrupt,
            progress,
            target,
            cut: None,
            timeline: Timeline::new(first, plan.warm_up + plan.seconds),
            from: None,
            to: None,
            returning: None,
            replay_from: None,
            replay_to: None,
            memory_early: None,
            memory_end: None,
            files_from: open_files(plan, target),
            files_to: None,
        }
    }

    /// The measured time under load, where there was one.
    pub fn load(&self) -> Option<Window> {
        let (from, to) = self.from.as_ref().zip(self.to.as_ref())?;
        let window = Window::between(from, to);
        (self.plan.seconds > 0.0 && !window.time.is_zero()).then_some(window)
    }

    /// The measured time before the first one came back, and that until all of them had caught up.
    pub fn replay(&self) -> (Option<Window>, Option<Window>) {
        let window = |(from, to)| Window::between(from, to);
        let (from, came) = (self.from.as_ref(), self.replay_from.as_ref());
        let until = self.replay_to.as_ref();
        (from.zip(came).map(window), came.zip(until).map(window))
    }

    /// Takes along those who come back while events [`follow`](Self::follow).
    pub fn take_along(&mut self, returning: Returning) {
        self.returning = Some(returning);
    }

    /// Those who came back, when they are done.
    ///
    /// # Errors
    /// Where they could not be watched.
    pub fn returned(&mut self) -> Result<Option<Returned>, String> {
        self.returning.take().map(Returning::join).transpose()
    }

    /// Open files of the server, before the load and at its end, in a run that is long enough.
    pub fn open_files(&self) -> Option<(usize, usize)> {
        self.files_from.zip(self.files_to)
    }

    /// Whether the run must end now: the server has ended, or a signal has come.
    pub fn is_cut_short(&mut self, client: &Client) -> bool {
        if self.cut.is_none() {
            if client.has_server_ended() {
                self.cut_short("the server has ended".into(), false);
            } else if self.interrupt.is_asked_for() {
                self.cut_short("interrupted by a signal".into(), true);
            }
        }
        self.cut.is_some()
    }

    /// Notes why the run ends early.
    pub fn cut_short(&mut self, reason: String, is_asked_for: bool) {
        self.cut = Some(Cut {
            reason,
            after: self.timeline.age(),
            is_asked_for,
        });
    }

    /// Sends nothing, and keeps the connections alive.
    pub fn hold(&mut self, client: &mut Client) -> Result<Sent, String> {
        let start = Instant::now();
        let end = self.end_of_load(start);
        while Instant::now() < end && !self.is_cut_short(client) {
            self.turn(client, start, 0, WAIT_MAX)?;
        }
        self.end_measuring(client, 0);
        Ok(Sent::default())
    }

    /// Receives what `emitter` sends by `schedule`, until every event has come everywhere, or the
    /// time of grace is over, or nothing more is sent.
    pub fn follow(
        &mut self,
        client: &mut Client,
        emitter: Scheduled,
        schedule: Schedule,
    ) -> Result<Sent, String> {
        let plan = self.plan;
        let end = self.end_of_load(schedule.start());
        let half = plan.halfway(&schedule);
        let mut to_stall = plan.stalled_nth.map(|nth| (nth, schedule.intended(half)));
        let is_disturbed = to_stall.is_some() || plan.comeback.is_some();
        let baseline_until = if is_disturbed { half } else { 0 };
        client
            .recorder
            .expect(schedule, plan.measured_from(&schedule), baseline_until);

        let last_due = schedule.intended(schedule.end() - 1);
        let mut replaced = 0;
        loop {
            let now = Instant::now();
            // Sending that ends before the last event is due has broken off.
            let has_broken_off = self.progress.has_ended() && now < last_due;
            if now >= end || has_broken_off || self.is_cut_short(client) {
                break;
            }
            if let Some((nth, _)) = to_stall.take_if(|(_, from)| now >= *from) {
                client.stall(nth);
            }
            let passed = now.saturating_duration_since(schedule.start());
            let to_replace = (passed.as_secs_f64() * plan.replaced_per_s) as u32;
            while replaced < to_replace {
                replaced += 1;
                client.replace_one(fastrand::u32(..));
            }
            self.turn(client, schedule.start(), self.progress.settled(), WAIT_MAX)?;
        }
        if self.cut.is_some() {
            emitter.stop();
        }
        self.end_measuring(client, self.progress.settled());
        let progress = self.progress;
        self.listen_on(client, || progress.has_ended())?;
        Ok(emitter.join())
    }

    /// Sends as fast as events are delivered, or are settled where nobody listens.
    pub fn flood(
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
            if now >= end || emitter.has_broken_off() || self.is_cut_short(client) {
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
            let numbers = emitter.pump(until);
            let has_more = emitter.is_flushed() && numbers.end < until;
            client.recorder.sent(numbers, now);
            let was_measuring = self.from.is_some();
            let timeout = if has_more { Duration::ZERO } else { WAIT_MAX };
            self.turn(client, start, emitter.sent().settled, timeout)?;
            if !was_measuring && self.from.is_some() {
                client.recorder.begin_measuring();
            }
        }
        self.end_measuring(client, emitter.sent().settled);

        let events = emitter.sent().events;
        self.progress.set_events(events);
        // A server may settle the last lines only when what went before has been read.
        self.listen_on(client, || {
            emitter.pump(events);
            emitter.is_settled() || emitter.has_broken_off()
        })?;
        Ok(emitter.finish())
    }

    /// Lets those that did not read see how they were ended, or read what waits for them.
    pub fn wake(&self, client: &mut Client) -> Result<Stalled, String> {
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

    /// Receives what is still under way, until everything has come that was sent and `is_settled`, or
    /// the time of grace is over; and then a little longer, for repeated deliveries.
    fn listen_on(
        &mut self,
        client: &mut Client,
        mut is_settled: impl FnMut() -> bool,
    ) -> Result<(), String> {
        let mut deadline = Instant::now() + self.plan.grace;
        let mut lingers = false;
        while Instant::now() < deadline {
            let was_cut_short = self.cut.is_some();
            let is_cut_short = self.is_cut_short(client) && !was_cut_short;
            // Asked first and each time: in a flood, asking is what sends the lines that still wait.
            let is_settled = is_settled();
            let is_over = (client.live() == 0 || is_settled && client.has_everything())
                && self.returning.as_ref().is_none_or(Returning::is_done);
            if !lingers && (is_over || is_cut_short) {
                lingers = true;
                deadline = Instant::now() + LINGER;
            }
            self.watch_returning(client);
            client.turn(WAIT_MAX)?;
        }
        Ok(())
    }

    /// Reads the figures when the first one comes back, and when all have caught up.
    fn watch_returning(&mut self, client: &mut Client) {
        let Some(returning) = &self.returning else {
            return;
        };
        let now = || Snapshot::take(self.target, client, self.progress.settled());
        if self.replay_from.is_none() && Instant::now() >= returning.first_due() {
            self.replay_from = Some(now());
        }
        if self.replay_to.is_none() && returning.have_caught_up() {
            self.replay_to = Some(now());
            client.recorder.end_disturbance(self.progress.announced());
        }
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
        if self.from.is_none() && now >= due(0.0) {
            self.from = Some(Snapshot::take(self.target, client, settled));
        }
        self.watch_returning(client);
        // Reading memory takes long enough to delay what comes meanwhile: only where it is needed.
        if plan.watches_growth() && self.memory_early.is_none() && now >= due(0.25) {
            self.memory_early = self.memory();
        }
        if self.timeline.is_due(now) {
            let snapshot = Snapshot::take(self.target, client, settled);
            let rss = process::together(&self.target.pids, process::rss);
            // Of a server that is just ending there is nothing left to be read.
            if snapshot.is_after(self.timeline.latest()) {
                let sample = self.timeline.add(snapshot, rss.unwrap_or(0), client);
                self.console.say(|| describe(&sample));
            }
        }
        client.turn(timeout)?;
        Ok(())
    }

    /// The last readings of the measured time: those of now, or where the server is gone, the latest
    /// that it was there for.
    fn end_measuring(&mut self, client: &Client, settled: u32) {
        let latest = *self.timeline.latest();
        let now = Snapshot::take(self.target, client, settled);
        if client.has_server_ended() || !now.is_after(&latest) {
            self.to = Some(latest);
            return;
        }
        self.to = Some(now);
        self.memory_end = self.memory();
        self.files_to = open_files(self.plan, self.target);
    }

    fn memory(&self) -> Option<Memory> {
        process::together(&self.target.pids, process::memory)
    }
}

/// Open files of the server now, in a run that is long enough.
fn open_files(plan: &Plan, target: &Target) -> Option<usize> {
    let pids = plan.watches_growth().then_some(&target.pids[..]);
    process::together(pids.unwrap_or_default(), process::open_files)
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
