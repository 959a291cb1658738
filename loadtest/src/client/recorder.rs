//! What all connections together have received, and when.
//!
//! On the path of every delivery: one comparison finds the event's number, one subtraction its
//! latency. The clock is read once a read, not once a frame.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use memchr::memmem::Finder;

use crate::schedule::Schedule;
use crate::world::orders::number_prefix;
use crate::world::{NUMBER_DIGITS, read_number};

/// The longest latency that is told from a longer one.
const LATENCY_MAX_US: u64 = 600_000_000;

/// Send times that are kept where there is no schedule; a power of two, more than may be in flight.
const SENT_KEPT: usize = 1 << 16;

/// Bytes of what stands before an event's number: the field's name and the run's.
const PREFIX: usize = 16;

/// When an event was to be sent.
#[derive(Debug)]
enum Clock {
    /// Nothing is sent.
    Idle,
    /// By schedule.
    Scheduled(Schedule),
    /// As fast as it goes: nanoseconds from the origin, by event number modulo [`SENT_KEPT`].
    Sent { origin: Instant, at: Vec<u64> },
}

/// Deliveries of a run.
pub struct Recorder {
    finder: Finder<'static>,
    /// What the finder finds; compared in one step where it is expected.
    prefix: [u8; PREFIX],
    /// Where in a frame the number was found last: most frames are alike.
    number_at: usize,
    clock: Clock,
    /// Events before this one are sent to warm up.
    measured_from: u32,
    /// Events before this one, but measured, go to `baseline`.
    baseline_until: u32,
    /// Events from this one on come when the disturbance is over, and are timed no more.
    disturbed_until: u32,
    /// Nanoseconds from the clock's origin to the read now under way.
    now_ns: u64,
    /// Without a schedule one latency is taken a read.
    is_sampled: bool,
    /// Microseconds from the intended time of sending to that of reading.
    pub latency: Histogram<u64>,
    /// The same for what came before a disturbance that is part of the scenario.
    pub baseline: Histogram<u64>,
    /// The same since the last sample of the timeline.
    pub interval: Histogram<u64>,
    /// Deliveries, each event counted once for each connection.
    pub received: u64,
    /// Text frames that are none of the run's events.
    pub other: u64,
    /// Reads that brought something.
    pub reads: u64,
    /// Bytes they brought.
    pub bytes: u64,
    /// When the last delivery was read.
    pub last: Option<Instant>,
    /// Deliveries to connections that resumed, until each had caught up ...
    pub replayed: u64,
    /// ... and the bytes of their payloads.
    pub replayed_bytes: u64,
    /// How long each of those took to catch up, in microseconds.
    pub caught_up: Histogram<u64>,
    now: Instant,
}

impl Recorder {
    /// Ready for the events of `run`, whose name has eight bytes.
    pub fn new(run: &str) -> Self {
        let prefix = number_prefix(run);
        #[expect(clippy::expect_used, reason = "every run is named by `run_name`")]
        let fixed = *prefix.as_bytes().first_chunk().expect("eight bytes");
        Self {
            finder: Finder::new(&prefix).into_owned(),
            prefix: fixed,
            number_at: 0,
            clock: Clock::Idle,
            measured_from: 0,
            baseline_until: 0,
            disturbed_until: u32::MAX,
            now_ns: 0,
            is_sampled: false,
            latency: histogram(),
            baseline: histogram(),
            interval: histogram(),
            received: 0,
            other: 0,
            reads: 0,
            bytes: 0,
            last: None,
            replayed: 0,
            replayed_bytes: 0,
            caught_up: histogram(),
            now: Instant::now(),
        }
    }

    /// From now on events come by this schedule. Latency is recorded from event `measured_from` on,
    /// that of events before `baseline_until` as the baseline.
    pub fn expect(&mut self, schedule: Schedule, measured_from: u32, baseline_until: u32) {
        self.clock = Clock::Scheduled(schedule);
        self.measured_from = measured_from;
        self.baseline_until = baseline_until;
    }

    /// The disturbance that is part of the scenario is over: events from number `from` on are timed no more.
    pub fn end_disturbance(&mut self, from: u32) {
        self.disturbed_until = from;
    }

    /// From now on events come as fast as they go.
    pub fn expect_flood(&mut self) {
        self.clock = Clock::Sent {
            origin: Instant::now(),
            at: vec![0; SENT_KEPT],
        };
    }

    /// In a flood: forgets the latencies so far, which were of warming up.
    pub fn begin_measuring(&mut self) {
        self.latency.reset();
    }

    /// In a flood: events in `numbers` are sent now.
    pub fn sent(&mut self, numbers: std::ops::Range<u32>, now: Instant) {
        if let Clock::Sent { origin, at } = &mut self.clock {
            let now = nanoseconds(now.saturating_duration_since(*origin));
            for number in numbers {
                at[number as usize % SENT_KEPT] = now;
            }
        }
    }

    /// A read at `now` has brought so many bytes.
    #[inline]
    pub fn begin_read(&mut self, now: Instant, length: usize) {
        self.now = now;
        self.reads += 1;
        self.bytes += length as u64;
        self.is_sampled = false;
        self.now_ns = match &self.clock {
            Clock::Idle => 0,
            Clock::Scheduled(schedule) => {
                nanoseconds(now.saturating_duration_since(schedule.start()))
            }
            Clock::Sent { origin, .. } => nanoseconds(now.saturating_duration_since(*origin)),
        };
    }

    /// The event's number, found behind a fixed text; the frame is not parsed.
    #[inline]
    pub fn number_in(&mut self, payload: &[u8]) -> Option<u32> {
        let found = payload.get(self.number_at..).unwrap_or_default();
        if found.first_chunk() != Some(&self.prefix) {
            self.number_at = self.finder.find(payload)?;
        }
        let digits = self.number_at + PREFIX;
        read_number(payload.get(digits..)?.first_chunk::<NUMBER_DIGITS>()?)
    }

    /// Counts event `number` as delivered by the read under way.
    #[inline]
    pub fn count(&mut self, number: u32) {
        self.received += 1;
        self.last = Some(self.now);
        let sent_ns = match &self.clock {
            Clock::Idle => return,
            Clock::Scheduled(schedule) => schedule.intended_ns(number),
            Clock::Sent { .. } if self.is_sampled => return,
            Clock::Sent { at, .. } => {
                self.is_sampled = true;
                at[number as usize % SENT_KEPT]
            }
        };
        let latency = (self.now_ns.saturating_sub(sent_ns) / 1000).max(1);
        self.interval.saturating_record(latency);
        if number >= self.baseline_until {
            if number >= self.measured_from && number < self.disturbed_until {
                self.latency.saturating_record(latency);
            }
        } else if number >= self.measured_from {
            self.baseline.saturating_record(latency);
        }
    }

    /// Counts an event of so many bytes as replayed by the read under way, to a connection that has not
    /// caught up. Its latency is how long that connection was away, and is not recorded.
    #[inline]
    pub fn count_replayed(&mut self, length: usize) {
        self.replayed += 1;
        self.replayed_bytes += length as u64;
    }

    /// A connection that came at `since` has caught up by the read under way.
    pub fn has_caught_up(&mut self, since: Instant) {
        let took = self.now.saturating_duration_since(since).as_micros();
        let took = u64::try_from(took).unwrap_or(u64::MAX);
        self.caught_up.saturating_record(took.max(1));
    }
}

/// A histogram of microseconds, three digits, up to ten minutes.
pub fn histogram() -> Histogram<u64> {
    #[expect(
        clippy::expect_used,
        reason = "the bounds are constants that are allowed"
    )]
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("allowed bounds")
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_number_is_found_only_in_this_runs_events() {
        let mut recorder = Recorder::new("ab12cd34");
        let mut number = |text: &str| recorder.number_in(text.as_bytes());
        let event =
            r#"{"id":"x","type":"order:created","data":{"seq":"ab12cd34-0000000307","total":1}}"#;
        assert_eq!(number(event), Some(307));
        assert_eq!(number(&event.replace("307", "308")), Some(308));
        assert_eq!(
            number(&event.replace("\"x\"", "\"longer\"")),
            Some(307),
            "elsewhere in the frame"
        );
        assert_eq!(number(&event.replace("ab12", "ab13")), None);
        assert_eq!(number(&event.replace("307", "3x7")), None);
        assert_eq!(number(r#"{"seq":"ab12cd34-00000"#), None);
        assert_eq!(number(""), None);
    }

    #[test]
    fn latency_counts_from_the_intended_time() {
        let mut recorder = Recorder::new("recorder");
        let start = Instant::now();
        recorder.expect(Schedule::new(start, 10.0, 1.0), 1, 3);
        recorder.end_disturbance(5);
        recorder.begin_read(start + Duration::from_millis(450), 1);
        (0..7).for_each(|number| recorder.count(number));
        assert_eq!(recorder.received, 7);
        assert_eq!(recorder.baseline.len(), 2, "events 1 and 2");
        assert_eq!(recorder.latency.len(), 2, "events 3 and 4");
        assert!(recorder.latency.max().abs_diff(150_000) < 200);
        assert!(recorder.baseline.max().abs_diff(350_000) < 400);
    }

    #[test]
    fn in_a_flood_one_latency_is_taken_a_read() {
        let mut recorder = Recorder::new("recorder");
        recorder.expect_flood();
        let now = Instant::now();
        recorder.sent(0..10, now);
        recorder.begin_read(now + Duration::from_millis(20), 1);
        (0..10).for_each(|number| recorder.count(number));
        assert_eq!((recorder.received, recorder.latency.len()), (10, 1));
        assert!(recorder.latency.max().abs_diff(20_000) < 50);
    }
}
