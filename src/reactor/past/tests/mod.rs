//! The past on paper: scenes told one by one, random reactors ([`random`]) against a plain model, and
//! hosts that are cut off from each other ([`outages`]).

mod outages;
mod random;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::replays::Answer;
use super::*;
use crate::access::{AccessTable, Namespace, NamespaceMask, Role, TypeMask};
use crate::event::{Block, Epoch, EventType, Runs, format_id, types_of};
use crate::reactor::directory::tests::{Bench, identity, mask, order};
use crate::reactor::message::{Start, Subscribe};

const EPOCH: Epoch = Epoch(7);
const FOR_LONG: Duration = Duration::from_secs(3600);

/// A reactor without sockets.
struct Scene {
    bench: Bench,
    history: History,
    replays: Replays,
    /// Blocks that the router has handed out and the reactor has not taken.
    ring: VecDeque<Arc<Block>>,
    issued: u64,
    runs: Runs,
    sent_to: Option<u64>,
    connections: u32,
    batch: Batch,
}

impl Scene {
    fn new(weight_kept: usize) -> Self {
        Self {
            bench: Bench::new(),
            history: History::new(weight_kept, FOR_LONG),
            replays: Replays::default(),
            ring: VecDeque::new(),
            issued: 0,
            runs: Runs::only(EPOCH),
            sent_to: None,
            connections: 0,
            batch: Batch::default(),
        }
    }

    fn seat(&mut self, user: &str, role: Role) -> u32 {
        let key = self.connections;
        self.connections += 1;
        self.bench.directory.enter(key);
        if role != Role::Public {
            self.bench
                .directory
                .identify(key, &identity(user, role, None));
        }
        key
    }

    fn subscribe(&mut self, key: u32, namespaces: &[Namespace], start: Start<'_>) -> Answer {
        self.subscribe_to(key, mask(namespaces), TypeMask::default(), start)
    }

    fn subscribe_to(
        &mut self,
        key: u32,
        namespaces: NamespaceMask,
        events: TypeMask,
        start: Start<'_>,
    ) -> Answer {
        let request = Subscribe {
            namespaces,
            events,
            conflate: None,
            start,
        };
        let issued = Issued {
            runs: &self.runs,
            newest: self.issued,
            sent_to: self.sent_to,
        };
        self.replays.subscribe(
            key,
            &request,
            &mut self.bench.directory,
            &self.history,
            issued,
        )
    }

    fn hand_out(&mut self, lines: &[String]) {
        let block = self.bench.block(lines);
        self.issued = block.last_id();
        self.ring.push_back(block);
    }

    /// Takes one block; what each connection is sent of it at once.
    fn take(&mut self) -> Vec<Vec<u64>> {
        let Some(block) = self.ring.pop_front() else {
            return Vec::new();
        };
        let blocks = [block];
        let live = self.bench.deliver(&blocks, self.connections);
        self.history.push(&blocks[0]);
        live
    }

    fn emit(&mut self, lines: &[String]) -> Vec<Vec<u64>> {
        self.hand_out(lines);
        self.take()
    }

    /// One step of one replay: how far it came, and what the connection is sent.
    fn step(&mut self, key: u32, budget: usize) -> (Reached, Vec<u64>) {
        let mut budget = budget;
        let reached = self.replays.advance(
            key,
            &self.bench.directory,
            &self.history,
            &mut budget,
            &mut self.batch,
        );
        let mut ids = Vec::new();
        for slice in &self.batch.slices {
            let frames = &self.batch.blocks[slice.block as usize].frames;
            let within = frames
                .iter()
                .filter(|frame| slice.start <= frame.start && frame.end <= slice.end);
            ids.extend(within.map(|frame| frame.id));
        }
        assert_eq!(self.batch.frames as usize, ids.len());
        self.batch.clear();
        (reached, ids)
    }

    /// A replay to its end.
    fn replay(&mut self, key: u32) -> Vec<u64> {
        let (reached, ids) = self.step(key, usize::MAX);
        assert_eq!(reached, Reached::Newest);
        self.replays.finish(key, &mut self.bench.directory);
        ids
    }
}

fn id(number: u64) -> Start<'static> {
    Start::Since(format_id(EPOCH, number).into())
}

fn product() -> String {
    r#"{"type":"product:deleted","data":{"productId":"p"}}"#.to_owned()
}

#[test]
fn what_was_missed_comes_first_and_then_what_comes_live() {
    let mut scene = Scene::new(1 << 20);
    let anna = scene.seat("anna", Role::Admin);
    scene.emit(&[order("x", "{}"), product(), order("x", "{}")]);
    let answer = scene.subscribe(anna, &[Namespace::Orders], id(1));
    assert_eq!((answer.position.number, answer.recovered), (3, Some(true)));
    assert_eq!(
        scene.emit(&[order("x", "{}")]),
        [[] as [u64; 0]],
        "it waits behind the past"
    );
    assert_eq!(scene.replay(anna), [3, 4]);
    assert_eq!(scene.emit(&[order("x", "{}")]), [[5]]);
}

#[test]
fn an_id_is_recoverable_while_nothing_behind_it_is_let_go_of() {
    let mut scene = Scene::new(1000);
    let anna = scene.seat("anna", Role::Admin);
    let ask = |scene: &mut Scene, start| {
        let answer = scene.subscribe(anna, &[Namespace::Orders], start);
        scene.replays.leave(anna);
        scene.bench.directory.release(anna);
        answer.recovered
    };
    assert_eq!(ask(&mut scene, id(0)), Some(true), "an empty server");
    for _ in 0..20 {
        scene.emit(&[order("x", "{}")]);
    }
    let let_go = scene.history.let_go();
    assert!((1..20).contains(&let_go), "{let_go}");
    assert_eq!(ask(&mut scene, id(let_go - 1)), Some(false));
    assert_eq!(ask(&mut scene, id(let_go)), Some(true));
    assert_eq!(ask(&mut scene, id(20)), Some(true));
    assert_eq!(ask(&mut scene, id(21)), Some(false), "from the future");
    assert_eq!(ask(&mut scene, Start::Since("x".into())), Some(false));
    let other_run = format_id(Epoch(8), 20);
    assert_eq!(ask(&mut scene, Start::Since(other_run.into())), Some(false));
    scene
        .history
        .sweep(Instant::now() + FOR_LONG + Duration::from_secs(1));
    assert_eq!(ask(&mut scene, id(19)), Some(false), "too old");
    assert_eq!(ask(&mut scene, id(20)), Some(true), "however long ago");
    assert_eq!((scene.history.weight(), scene.history.events()), (0, 0));
    let mut off = Scene::new(0);
    let anna = off.seat("anna", Role::Admin);
    off.emit(&[order("x", "{}")]);
    let answer = off.subscribe(anna, &[Namespace::Orders], id(1));
    assert_eq!((answer.position.number, answer.recovered), (1, Some(false)));
    let answer = off.subscribe(anna, &[Namespace::Orders], Start::Last(5));
    assert_eq!((answer.position.number, answer.recovered), (1, None));
    assert_eq!(off.replay(anna), [] as [u64; 0]);
}

#[test]
fn an_id_that_another_reactor_has_sent_already_is_waited_for() {
    let mut scene = Scene::new(1 << 20);
    let anna = scene.seat("anna", Role::Admin);
    for _ in 0..3 {
        scene.hand_out(&[order("x", "{}")]);
    }
    scene.take();
    let answer = scene.subscribe(anna, &[Namespace::Orders], id(2));
    assert_eq!((answer.position.number, answer.recovered), (2, Some(true)));
    assert_eq!(scene.step(anna, usize::MAX), (Reached::NotYet, vec![]));
    scene.take();
    scene.take();
    assert_eq!(scene.replay(anna), [3]);
}

#[test]
fn the_newest_of_what_one_may_see_are_found_from_behind() {
    let mut scene = Scene::new(1 << 20);
    let carl = scene.seat("carl", Role::Customer);
    for customer in ["carl", "cora", "carl", "carl", "cora"] {
        scene.emit(&[order(customer, "{}"), product()]);
    }
    let orders = [Namespace::Orders];
    let answer = scene.subscribe(carl, &orders, Start::Last(2));
    assert_eq!((answer.position.number, answer.recovered), (10, None));
    let (mut reached, mut ids) = (Reached::Budget, Vec::new());
    while reached == Reached::Budget {
        let (next, more) = scene.step(carl, 1);
        assert!(more.len() <= 1, "within the budget: {more:?}");
        reached = next;
        ids.extend(more);
    }
    assert_eq!((reached, ids), (Reached::Newest, vec![5, 7]));
    scene.replays.finish(carl, &mut scene.bench.directory);
    scene.subscribe(carl, &orders, Start::Last(1000));
    assert_eq!(scene.replay(carl), [1, 5, 7], "all there are");
}

#[test]
fn a_search_leaves_to_a_later_request_what_that_is_about() {
    use Namespace::{Orders, Products};
    let mut scene = Scene::new(1 << 20);
    let anna = scene.seat("anna", Role::Admin);
    for _ in 0..4 {
        scene.emit(&[order("x", "{}"), product()]);
    }
    scene.subscribe(anna, &[Orders, Products], Start::Last(3));
    assert_eq!(scene.step(anna, 1), (Reached::Budget, vec![]));
    let answer = scene.subscribe(anna, &[Orders], Start::Now);
    assert_eq!(
        answer.position.number, 0,
        "it may begin with any that is kept"
    );
    scene.subscribe(anna, &[Products], id(1));
    assert_eq!(scene.replay(anna), [2, 4, 6, 7, 8], "7 is among the last 3");
}

#[test]
fn a_second_subscription_does_not_disturb_a_replay() {
    use Namespace::{Orders, Products};
    let mut scene = Scene::new(1 << 20);
    let anna = scene.seat("anna", Role::Admin);
    for _ in 0..4 {
        scene.emit(&[order("x", "{}"), product()]);
    }
    scene.subscribe(anna, &[Orders], id(0));
    assert_eq!(scene.step(anna, 1), (Reached::Budget, vec![1]));
    let answer = scene.subscribe(anna, &[Products], Start::Now);
    assert_eq!(answer.position.number, 8, "a new one begins now");
    let answer = scene.subscribe(anna, &[Orders], Start::Now);
    assert_eq!(
        answer.position.number, 1,
        "one under way goes on where it is"
    );
    scene.emit(&[order("x", "{}"), product()]);
    assert_eq!(scene.step(anna, 1).1, [] as [u64; 0]);
    assert_eq!(scene.step(anna, 1), (Reached::Budget, vec![3]));
    scene.subscribe(anna, &[Products], id(5));
    assert_eq!(scene.replay(anna), [5, 6, 7, 8, 9, 10]);

    scene.subscribe(anna, &[Orders, Products], id(0));
    assert_eq!(scene.step(anna, 1), (Reached::Budget, vec![1]));
    let answer = scene.subscribe(anna, &[Orders], Start::Since("lost".into()));
    assert_eq!(
        (answer.position.number, answer.recovered),
        (10, Some(false))
    );
    assert_eq!(scene.replay(anna), [2, 4, 6, 8, 10]);
}

#[test]
fn a_replay_follows_the_role_and_ends_with_the_last_subscription() {
    use Namespace::{Orders, Products, System};
    let mut scene = Scene::new(1 << 20);
    let carl = scene.seat("carl", Role::Admin);
    scene.emit(&[order("x", "{}"), order("carl", "{}"), order("x", "{}")]);
    scene.subscribe(carl, &[Orders, System], id(0));
    assert_eq!(scene.step(carl, 1), (Reached::Budget, vec![1]));
    let identity = identity("carl", Role::Customer, None);
    scene.bench.directory.identify(carl, &identity);
    scene.emit(&[order("carl", "{}"), order("x", "{}")]);
    assert_eq!(scene.replay(carl), [2, 4]);
    assert_eq!(scene.emit(&[order("carl", "{}"), order("x", "{}")]), [[6]]);

    scene.subscribe(carl, &[Orders], id(0));
    scene.bench.directory.unsubscribe(carl, mask(&[Orders]));
    assert_eq!(scene.step(carl, 1), (Reached::Newest, vec![]));
    scene.replays.finish(carl, &mut scene.bench.directory);
    scene.subscribe(carl, &[Products], Start::Now);
    assert_eq!(scene.emit(&[order("carl", "{}"), product()]), [[9]]);
}

#[test]
fn what_is_let_go_of_before_it_is_sent_is_a_gap() {
    use Namespace::{Orders, Products};
    let mut scene = Scene::new(1000);
    let anna = scene.seat("anna", Role::Admin);
    scene.subscribe(anna, &[Products], Start::Now);
    scene.subscribe(anna, &[Orders], id(0));
    scene.emit(&[order("x", "{}"), order("x", "{}")]);
    scene.subscribe(anna, &[Orders], id(0));
    assert_eq!(scene.step(anna, 1), (Reached::Budget, vec![1]));
    while scene.history.let_go() < 2 {
        scene.emit(&[product()]);
    }
    assert_eq!(scene.step(anna, usize::MAX), (Reached::Gap, vec![]));
}

#[test]
fn history_keeps_as_much_as_it_shall_and_one_block_more_at_most() {
    let mut scene = Scene::new(5000);
    let mut weights = Vec::new();
    for size in [1, 5, 30, 2, 1, 1, 9, 40, 1, 1, 1, 1, 3] {
        let lines: Vec<_> = (0..size).map(|_| order("x", "{}")).collect();
        scene.hand_out(&lines);
        weights.push(scene.ring[0].weight());
        scene.take();
        let total: usize = weights.iter().sum();
        let kept = scene.history.weight();
        assert!(kept >= total.min(5000), "{kept} of {total}");
        let front = scene
            .history
            .after(0)
            .next()
            .map_or(0, |block| block.weight());
        assert!(kept - front < 5000, "{kept} and the first is {front}");
    }
}

#[test]
fn connections_that_come_and_go_are_not_taken_for_each_other() {
    let mut scene = Scene::new(1 << 20);
    let anna = scene.seat("anna", Role::Admin);
    let bert = scene.seat("bert", Role::Admin);
    scene.emit(&[order("x", "{}")]);
    scene.subscribe(anna, &[Namespace::Orders], id(0));
    scene.subscribe(bert, &[Namespace::Orders], id(0));
    scene.replays.leave(anna);
    scene.bench.directory.leave(anna);
    scene.bench.directory.enter(anna);
    let cora = identity("cora", Role::Admin, None);
    scene.bench.directory.identify(anna, &cora);
    scene.subscribe(anna, &[Namespace::Orders], id(0));
    assert_eq!(scene.replays.next_ready(), Some(bert));
    assert_eq!(scene.replays.next_ready(), Some(anna));
    assert_eq!(scene.replays.next_ready(), None);
}
