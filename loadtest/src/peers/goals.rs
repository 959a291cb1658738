//! What shopwire is to reach, and whether it did: computed from the reports, so that nobody edits it.
//!
//! Latencies and figures that stand alone are held to the medians of the rounds; the ratios of the
//! others, of which noise takes more, to the best rounds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::values::{Values, better};
use super::{FLOOR, Outcome, SHOPWIRE, all_hold, peers};
use crate::report::figures::Better;
use crate::report::number;

/// By [`Goal::key`], what stands in the way of goals that are not met.
pub type Notes = BTreeMap<String, String>;

/// Something that shopwire is to reach.
#[derive(Debug)]
pub struct Goal {
    /// The letter of the case.
    pub case: &'static str,
    /// The figure.
    pub figure: &'static str,
    /// What it must be.
    bound: Bound,
}

/// What a figure must be.
#[derive(Debug, Clone, Copy)]
enum Bound {
    /// Below this.
    Below(f64),
    /// At most this, or at least where more is better.
    Within(f64),
    /// At most so many times the floor's, or at least where more is better.
    Floor(f64),
    /// Better than every peer's.
    Peers,
    /// At most so many times what shopwire came to in another case.
    Case(&'static str, f64),
    /// Grown from another case's by no greater factor than the floor's.
    Growth(&'static str),
}

/// What a goal has come to.
#[derive(Debug, PartialEq)]
pub struct Judged {
    /// The figure, or the ratio; empty where there is none.
    pub came_to: String,
    /// Whether it is met.
    pub verdict: Verdict,
}

/// Whether a goal is met.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// It is.
    Met,
    /// It is not.
    Missed,
    /// A run of shopwire's failed, or something did not hold in it: its figures prove nothing.
    Faulty,
    /// What is missing to tell.
    Unknown(String),
}

const fn goal(case: &'static str, figure: &'static str, bound: Bound) -> Goal {
    Goal {
        case,
        figure,
        bound,
    }
}

/// All of them.
pub const GOALS: [Goal; 39] = [
    goal("b", "cpu-us-per-delivery", Bound::Floor(1.05)),
    goal("b", "cpu-us-per-delivery", Bound::Peers),
    goal("b", "latency-p50-ms", Bound::Floor(1.1)),
    goal("b", "latency-p99-ms", Bound::Floor(1.1)),
    goal("b", "latency-p999-ms", Bound::Floor(1.1)),
    goal("a", "cpu-us-per-delivery", Bound::Floor(1.05)),
    goal("a", "cpu-us-per-delivery", Bound::Peers),
    goal("a", "latency-p50-ms", Bound::Floor(1.1)),
    goal("a", "latency-p99-ms", Bound::Floor(1.1)),
    goal("a", "latency-p999-ms", Bound::Floor(1.1)),
    goal("c", "cpu-us-per-delivery", Bound::Floor(1.05)),
    goal("c", "cpu-us-per-delivery", Bound::Peers),
    goal("c", "latency-p50-ms", Bound::Floor(1.1)),
    goal("c", "latency-p99-ms", Bound::Floor(1.1)),
    goal("c", "latency-p999-ms", Bound::Floor(1.1)),
    goal("h", "cpu-us-per-delivery", Bound::Floor(1.05)),
    goal("h", "cpu-us-per-delivery", Bound::Peers),
    goal("h", "latency-p50-ms", Bound::Floor(1.1)),
    goal("h", "latency-p99-ms", Bound::Floor(1.1)),
    goal("h", "latency-p999-ms", Bound::Floor(1.1)),
    goal("bg", "cpu-us-per-delivery", Bound::Floor(0.5)),
    goal("bg", "latency-p99-ms", Bound::Below(8.0)),
    goal("d1", "cpu-us-per-delivery", Bound::Floor(1.5)),
    goal("d1", "cpu-us-per-delivery", Bound::Peers),
    goal("d1", "events-per-s", Bound::Within(250_000.0)),
    goal("d2", "cpu-us-per-delivery", Bound::Floor(1.1)),
    goal("n", "events-per-s", Bound::Within(1_500_000.0)),
    goal("e", "cpu-us-per-delivery", Bound::Floor(1.05)),
    goal("e", "latency-p99-ms", Bound::Floor(1.05)),
    goal("e2", "events-per-s", Bound::Floor(0.95)),
    goal("f", "pss-per-connection", Bound::Within(300.0)),
    goal("g", "connect-cpu-us", Bound::Floor(1.1)),
    goal("g", "connect-cpu-us", Bound::Peers),
    goal("g", "upgrade-p99-ms", Bound::Below(5.0)),
    goal("g", "auth-p99-ms", Bound::Below(5.0)),
    goal("g", "subscribe-p99-ms", Bound::Below(5.0)),
    goal("w2", "latency-p99-ms", Bound::Case("w1", 0.6)),
    goal("i", "server-busy", Bound::Below(0.003)),
    goal("s19", "cpu-us-per-delivery", Bound::Growth("b")),
];

impl Goal {
    /// Names it in the file of notes.
    pub fn key(&self) -> String {
        let against = match self.bound {
            Bound::Below(_) | Bound::Within(_) => String::new(),
            Bound::Floor(_) => format!(" {FLOOR}"),
            Bound::Peers => " peers".into(),
            Bound::Case(other, _) | Bound::Growth(other) => format!(" {other}"),
        };
        format!("{} {}{against}", self.case, self.figure)
    }

    /// What must be, in words.
    pub fn wanted(&self) -> String {
        let within = match better(self.figure) {
            Better::Higher => "at least",
            _ => "at most",
        };
        match self.bound {
            Bound::Below(most) => format!("below {}", number(most)),
            Bound::Within(bound) => format!("{within} {}", number(bound)),
            Bound::Floor(times) => format!("{within} {times:.2} x {FLOOR}"),
            Bound::Peers => "better than every peer".into(),
            Bound::Case(other, times) => format!("{within} {times:.2} x {other}"),
            Bound::Growth(other) => format!("grown from {other} no more than {FLOOR}'s"),
        }
    }

    /// What it has come to.
    pub fn judge(&self, outcomes: &[Outcome<'_>]) -> Judged {
        let other_case = match self.bound {
            Bound::Case(other, _) | Bound::Growth(other) => Some(other),
            _ => None,
        };
        let mut judged = self.judge_figures(outcomes);
        let mut letters = [Some(self.case), other_case].into_iter().flatten();
        if letters.any(|letter| !all_hold(outcomes, letter, SHOPWIRE)) {
            judged.verdict = Verdict::Faulty;
        }
        judged
    }

    fn judge_figures(&self, outcomes: &[Outcome<'_>]) -> Judged {
        let of = |case: &str, server: &str| {
            if server != SHOPWIRE && !all_hold(outcomes, case, server) {
                return Err(unknown(&format!("{server} in {case}, which had faults")));
            }
            let values = Values::of(outcomes, case, server, self.figure);
            values.ok_or_else(|| unknown(&format!("{server} in {case}")))
        };
        let judge = || -> Result<Judged, Judged> {
            let mine = of(self.case, SHOPWIRE)?;
            let alone = mine.median();
            Ok(match self.bound {
                Bound::Below(most) => judged(number(alone), alone < most),
                Bound::Within(bound) => judged(number(alone), self.is_within(alone, bound)),
                Bound::Floor(times) => {
                    let ratio = self.ratio(&mine, &of(self.case, FLOOR)?);
                    let met = self.is_within(ratio, times);
                    judged(format!("{ratio:.2} x {FLOOR}"), met)
                }
                Bound::Peers => self.judge_beside_peers(outcomes),
                Bound::Case(other, times) => {
                    let ratio = self.ratio(&mine, &of(other, SHOPWIRE)?);
                    judged(
                        format!("{ratio:.2} x {other}"),
                        self.is_within(ratio, times),
                    )
                }
                Bound::Growth(other) => {
                    let growth = self.ratio(&mine, &of(other, SHOPWIRE)?);
                    let floor = self.ratio(&of(self.case, FLOOR)?, &of(other, FLOOR)?);
                    judged(
                        format!("x {growth:.2}, {FLOOR} x {floor:.2}"),
                        growth <= floor,
                    )
                }
            })
        };
        judge().unwrap_or_else(|unknown| unknown)
    }

    /// Against the peer that comes closest, or is furthest ahead. One that was not measured, or whose
    /// runs did not all hold, may be better than all that were. The best of more rounds would be the
    /// better one by luck alone.
    fn judge_beside_peers(&self, outcomes: &[Outcome<'_>]) -> Judged {
        let of = |server: &str| {
            let shared = outcomes.iter().filter(|outcome| !outcome.is_extra);
            Values::of(shared, self.case, server, self.figure)
        };
        let measured = |peer| {
            if !all_hold(outcomes, self.case, peer) {
                return None;
            }
            Some((peer, self.ratio(&of(SHOPWIRE)?, &of(peer)?)))
        };
        let worse = |a: f64, b: f64| match better(self.figure) {
            Better::Higher => b.total_cmp(&a),
            _ => a.total_cmp(&b),
        };
        let closest = peers()
            .filter_map(measured)
            .max_by(|(_, a), (_, b)| worse(*a, *b));
        let missing: Vec<String> = peers()
            .filter(|&peer| measured(peer).is_none())
            .map(|peer| match all_hold(outcomes, self.case, peer) {
                true => peer.to_string(),
                false => format!("{peer}, which had faults"),
            })
            .collect();
        let Some((peer, ratio)) = closest else {
            return unknown(&missing.join(", "));
        };
        let is_ahead = worse(ratio, 1.0).is_lt();
        Judged {
            came_to: format!("{ratio:.2} x {peer}"),
            verdict: match (is_ahead, &missing[..]) {
                (false, _) => Verdict::Missed,
                (true, []) => Verdict::Met,
                (true, missing) => Verdict::Unknown(missing.join(", ")),
            },
        }
    }

    fn ratio(&self, values: &Values, others: &Values) -> f64 {
        if self.figure.ends_with("-ms") {
            return values.median() / others.median();
        }
        let better = better(self.figure);
        values.best(better) / others.best(better)
    }

    fn is_within(&self, value: f64, bound: f64) -> bool {
        match better(self.figure) {
            Better::Higher => value >= bound,
            _ => value <= bound,
        }
    }
}

/// The notes in a file. They are written by hand once the page has told what is not met, so they are
/// no part of this program: writing one must not make the kept reports those of another program.
///
/// # Errors
/// Where the file cannot be read, is not texts by goals, or has a note on a goal that there is not.
pub fn notes(path: &Path) -> Result<Notes, String> {
    let fail = |why: String| format!("{}: {why}", path.display());
    let text = fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    let notes: Notes = toml::from_str(&text)
        .map_err(|error| fail(format!("only texts by goals are allowed: {error}")))?;
    let keys: Vec<String> = GOALS.iter().map(Goal::key).collect();
    match notes.keys().find(|key| !keys.contains(key)) {
        Some(key) => Err(fail(format!(
            "there is no goal `{key}`; there are {}",
            keys.join(", ")
        ))),
        None => Ok(notes),
    }
}

fn judged(came_to: String, is_met: bool) -> Judged {
    Judged {
        came_to,
        verdict: if is_met {
            Verdict::Met
        } else {
            Verdict::Missed
        },
    }
}

fn unknown(missing: &str) -> Judged {
    Judged {
        came_to: String::new(),
        verdict: Verdict::Unknown(missing.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::cases::CASES;
    use super::super::tests::{faulty, outcome};
    use super::*;
    use crate::report::figures::definition;
    use std::collections::BTreeSet;
    use tempfile::TempDir;

    const CPU: &str = "cpu-us-per-delivery";

    fn judge(goal: Goal, outcomes: &[Outcome<'_>]) -> (String, Verdict) {
        let judged = goal.judge(outcomes);
        (judged.came_to, judged.verdict)
    }

    fn came_to(text: &str, verdict: Verdict) -> (String, Verdict) {
        (text.into(), verdict)
    }

    #[test]
    fn goals_are_of_cases_and_figures_that_there_are() {
        let is_case = |letter: &str| CASES.iter().any(|case| case.letter == letter);
        for goal in &GOALS {
            assert!(is_case(goal.case), "{}", goal.case);
            if let Bound::Case(other, _) | Bound::Growth(other) = goal.bound {
                assert!(is_case(other), "{other}");
            }
            assert!(definition(goal.figure).is_some(), "{}", goal.figure);
        }
        let keys: BTreeSet<String> = GOALS.iter().map(Goal::key).collect();
        assert_eq!(keys.len(), GOALS.len());
    }

    #[test]
    fn the_notes_are_of_goals_and_tell_no_figures() {
        let notes = notes(&Path::new(crate::server::launch::PEERS).join("notes.toml")).unwrap();
        assert!(!notes.is_empty());
        for (key, note) in &notes {
            for unit in [" us", " ms", " %", " bytes"] {
                assert!(!note.contains(unit), "{key}: the page may say otherwise");
            }
        }
    }

    #[test]
    fn notes_that_cannot_be_used_are_refused_with_the_reason() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("notes.toml");
        let refused = |text: &str| {
            fs::write(&path, text).unwrap();
            notes(&path).unwrap_err()
        };
        let unknown = refused("\"z events-per-s\" = \"slow\"");
        let expected = "there is no goal `z events-per-s`; there are b cpu";
        assert!(unknown.contains(expected), "{unknown}");
        let number = refused("\"n events-per-s\" = 5");
        assert!(number.contains("only texts by goals"), "{number}");
        fs::remove_file(&path).unwrap();
        let missing = notes(&path).unwrap_err();
        assert!(missing.contains("notes.toml: No such file"), "{missing}");
    }

    #[test]
    fn figures_that_stand_alone_are_held_to_medians_either_way() {
        let of =
            |key: &str, values: [f64; 3]| values.map(|value| outcome("d1", SHOPWIRE, key, value));
        let events = of("events-per-s", [260_000.0, 240_000.0, 250_000.0]);
        let met = judge(
            goal("d1", "events-per-s", Bound::Within(250_000.0)),
            &events,
        );
        assert_eq!(met, came_to("250,000", Verdict::Met));
        let missed = judge(
            goal("d1", "events-per-s", Bound::Within(251_000.0)),
            &events,
        );
        assert_eq!(missed, came_to("250,000", Verdict::Missed));
        let late = of("latency-p99-ms", [7.0, 8.0, 9.0]);
        let missed = judge(goal("d1", "latency-p99-ms", Bound::Below(8.0)), &late);
        assert_eq!(missed, came_to("8", Verdict::Missed));
        let met = judge(goal("d1", "latency-p99-ms", Bound::Within(8.0)), &late);
        assert_eq!(met, came_to("8", Verdict::Met));
    }

    #[test]
    fn ratios_of_cpu_are_of_the_best_rounds_and_those_of_latency_of_medians() {
        let mut all = Vec::new();
        for (mine, floor) in [(6.0, 5.0), (9.0, 6.0), (9.0, 6.0)] {
            for key in [CPU, "latency-p99-ms", "events-per-s"] {
                all.push(outcome("a", SHOPWIRE, key, mine));
                all.push(outcome("a", FLOOR, key, floor));
            }
        }
        let floor = |key, times| judge(goal("a", key, Bound::Floor(times)), &all);
        assert_eq!(floor(CPU, 1.2), came_to("1.20 x floor", Verdict::Met));
        assert_eq!(floor(CPU, 1.1), came_to("1.20 x floor", Verdict::Missed));
        let latency = floor("latency-p99-ms", 1.2);
        assert_eq!(latency, came_to("1.50 x floor", Verdict::Missed));
        let speed = floor("events-per-s", 1.4);
        assert_eq!(speed, came_to("1.50 x floor", Verdict::Met));
        let speed = floor("events-per-s", 1.6);
        assert_eq!(speed, came_to("1.50 x floor", Verdict::Missed));
    }

    #[test]
    fn every_peer_has_to_be_measured_to_be_beaten() {
        let mut all = vec![outcome("a", SHOPWIRE, CPU, 6.0)];
        let beside = |all: &[Outcome<'_>]| judge(goal("a", CPU, Bound::Peers), all);
        assert_eq!(beside(&all).0, "");
        all.push(outcome("a", "bun", CPU, 8.0));
        all.push(outcome("a", "ws", CPU, 12.0));
        all.push(outcome("a", "socketio", CPU, 12.0));
        let without = came_to("0.75 x bun", Verdict::Unknown("axum".into()));
        assert_eq!(beside(&all), without);
        all.push(outcome("a", "axum", CPU, 6.1));
        assert_eq!(beside(&all), came_to("0.98 x axum", Verdict::Met));
        all.push(outcome("a", "axum", CPU, 6.0));
        let equal = came_to("1.00 x axum", Verdict::Missed);
        assert_eq!(beside(&all), equal, "a peer's best round counts, too");
        let mut extra = outcome("a", SHOPWIRE, CPU, 3.0);
        extra.is_extra = true;
        all.push(extra);
        assert_eq!(beside(&all), equal, "the peer had no such round");
    }

    #[test]
    fn cases_are_held_against_each_other() {
        let all = [
            outcome("w1", SHOPWIRE, "latency-p99-ms", 100.0),
            outcome("w2", SHOPWIRE, "latency-p99-ms", 60.0),
            outcome("b", SHOPWIRE, CPU, 6.0),
            outcome("s19", SHOPWIRE, CPU, 9.0),
            outcome("b", FLOOR, CPU, 5.0),
            outcome("s19", FLOOR, CPU, 7.0),
        ];
        let two = goal("w2", "latency-p99-ms", Bound::Case("w1", 0.6));
        assert_eq!(judge(two, &all), came_to("0.60 x w1", Verdict::Met));
        let growth = || goal("s19", CPU, Bound::Growth("b"));
        let expected = came_to("x 1.50, floor x 1.40", Verdict::Missed);
        assert_eq!(judge(growth(), &all), expected);
        let missing = came_to("", Verdict::Unknown("floor in s19".into()));
        assert_eq!(judge(growth(), &all[..5]), missing);
    }

    #[test]
    fn runs_that_failed_prove_nothing() {
        let events = |outcome| vec![outcome];
        let reach = || goal("n", "events-per-s", Bound::Within(5.0));
        let lost = faulty(outcome("n", SHOPWIRE, "events-per-s", 9.0));
        assert_eq!(judge(reach(), &events(lost)), came_to("9", Verdict::Faulty));
        let mut none = outcome("n", SHOPWIRE, "events-per-s", 9.0);
        none.report = Err("cannot start".into());
        assert_eq!(judge(reach(), &events(none)), came_to("", Verdict::Faulty));
        let other = faulty(outcome("n", "bun", "events-per-s", 9.0));
        let expected = came_to("", Verdict::Unknown("shopwire in n".into()));
        assert_eq!(judge(reach(), &events(other)), expected);
        let mut all = vec![
            outcome("a", SHOPWIRE, CPU, 6.0),
            outcome("a", FLOOR, CPU, 6.0),
            faulty(outcome("a", FLOOR, CPU, 6.0)),
        ];
        let floor = judge(goal("a", CPU, Bound::Floor(1.05)), &all);
        let expected = Verdict::Unknown("floor in a, which had faults".into());
        assert_eq!(floor, came_to("", expected));
        for peer in ["bun", "ws", "socketio", "axum"] {
            all.push(outcome("a", peer, CPU, 8.0));
        }
        let beside = |all: &[Outcome<'_>]| judge(goal("a", CPU, Bound::Peers), all);
        assert_eq!(beside(&all), came_to("0.75 x axum", Verdict::Met));
        all.push(faulty(outcome("a", "axum", CPU, 5.0)));
        let expected = Verdict::Unknown("axum, which had faults".into());
        assert_eq!(beside(&all), came_to("0.75 x socketio", expected));
    }
}
