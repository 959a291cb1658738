//! Random reactors against a plain model of who is due what.

use std::collections::BTreeSet;

use super::*;
use crate::event::id::parse_id;
use crate::reactor::directory::may_subscribe;
use crate::reactor::directory::tests::{Member, Sent, line_of, may_receive, random_event};

/// Events, subscriptions, cuts and slow sockets at random. The model keeps, for every connection,
/// the set of events that it is still due, and takes them off in order.
#[test]
fn random_reactors_agree_with_the_model() {
    for seed in 0..1000 {
        Random::new(seed).run();
    }
}

struct Viewer {
    member: Member,
    wanted: TypeMask,
    due: BTreeSet<u64>,
    /// By type: where it begins, if that is still to come.
    begins: [u64; EventType::ALL.len()],
    /// The newest event when the newest few were asked for: what of those is let go of is not owed.
    newest_few: u64,
    /// The newest event it has got, or the position it was told.
    seen: u64,
    is_full: bool,
}

struct Random {
    random: fastrand::Rng,
    seed: u64,
    scene: Scene,
    weight_kept: usize,
    access: AccessTable,
    events: Vec<Sent>,
    /// The weight and last number of every block taken.
    taken: Vec<(usize, u64)>,
    viewers: Vec<Viewer>,
}

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let weight_kept = *random.choice(&[0, 2_000, 20_000, 1 << 20]).unwrap();
        let mut scene = Scene::new(weight_kept);
        let viewers = (0..random.u32(1..8))
            .map(|_| {
                let role = *random.choice(&Role::ALL).unwrap();
                let user = match role {
                    Role::Public => String::new(),
                    _ => format!("u{}", random.u8(0..6)),
                };
                scene.seat(&user, role);
                Viewer {
                    member: Member {
                        user,
                        role,
                        session: "none".to_owned(),
                        namespaces: Namespace::ALL.to_vec(),
                    },
                    wanted: TypeMask::default(),
                    due: BTreeSet::new(),
                    begins: [0; EventType::ALL.len()],
                    newest_few: 0,
                    seen: 0,
                    is_full: false,
                }
            })
            .collect();
        Self {
            random,
            seed,
            scene,
            weight_kept,
            access: AccessTable::default(),
            events: Vec::new(),
            taken: Vec::new(),
            viewers,
        }
    }

    fn run(mut self) {
        for _ in 0..self.random.usize(1..200) {
            let key = self.random.u32(0..self.viewers.len() as u32);
            match self.random.u8(0..10) {
                0..3 => self.hand_out(),
                3..5 => self.take(),
                5..7 => {
                    self.viewers[key as usize].is_full = false;
                    self.scene.replays.ready(key);
                    self.serve();
                }
                7 | 8 => self.subscribe(key),
                _ if self.random.bool() => self.unsubscribe(key),
                _ => self.come_back(key),
            }
        }
        while !self.scene.ring.is_empty() {
            self.take();
        }
        while !self.scene.replays.is_empty() {
            for key in 0..self.viewers.len() as u32 {
                self.viewers[key as usize].is_full = false;
                self.scene.replays.ready(key);
            }
            self.serve();
        }
        let let_go = self.let_go();
        for (key, viewer) in self.viewers.iter().enumerate() {
            let is_owed = |due: &&u64| **due > let_go.min(viewer.newest_few);
            let lacks: Vec<_> = viewer.due.iter().filter(is_owed).collect();
            assert!(
                lacks.is_empty(),
                "seed {}: {key} lacks {lacks:?}",
                self.seed
            );
        }
    }

    fn hand_out(&mut self) {
        let name = |random: &mut fastrand::Rng| format!("u{}", random.u8(0..6));
        let events: Vec<Sent> = (0..self.random.usize(1..6))
            .map(|_| random_event(&mut self.random, &name))
            .collect();
        let lines: Vec<String> = events.iter().map(line_of).collect();
        self.events.extend(events);
        self.scene.hand_out(&lines);
    }

    fn take(&mut self) {
        let Some(block) = self.scene.ring.front() else {
            return;
        };
        self.taken.push((block.weight(), block.last_id()));
        let numbers: Vec<u64> = block.frames.iter().map(|frame| frame.id).collect();
        for number in numbers {
            for viewer in &mut self.viewers {
                let event = &self.events[number as usize - 1];
                if viewer.wanted.contains(event.kind)
                    && number > viewer.begins[event.kind as usize]
                    && may_receive(&self.access, &viewer.member, event)
                {
                    viewer.due.insert(number);
                }
            }
        }
        for (key, numbers) in self.scene.take().into_iter().enumerate() {
            self.deliver(key, &numbers);
        }
    }

    fn serve(&mut self) {
        for _ in 0..self.scene.replays.queued() {
            let Some(key) = self.scene.replays.next_ready() else {
                return;
            };
            if self.viewers[key as usize].is_full {
                continue;
            }
            let budget = *self.random.choice(&[1, 300, 2_000, 100_000]).unwrap();
            let (reached, numbers) = self.scene.step(key, budget);
            self.deliver(key as usize, &numbers);
            let is_full = self.random.u8(0..3) == 0;
            self.viewers[key as usize].is_full = is_full;
            match reached {
                Reached::Gap => self.come_back(key),
                Reached::Newest if !is_full => {
                    self.scene
                        .replays
                        .finish(key, &mut self.scene.bench.directory);
                }
                Reached::Budget | Reached::NotYet if !is_full => self.scene.replays.ready(key),
                _ => {}
            }
        }
    }

    fn deliver(&mut self, key: usize, numbers: &[u64]) {
        let let_go = self.let_go();
        let viewer = &mut self.viewers[key];
        for &number in numbers {
            while let Some(&first) = viewer.due.first()
                && first < number
                && first <= let_go.min(viewer.newest_few)
            {
                viewer.due.pop_first();
            }
            let first = viewer.due.pop_first();
            assert_eq!(first, Some(number), "seed {}: to {key}", self.seed);
            viewer.seen = viewer.seen.max(number);
        }
    }

    /// The newest number that has been let go of, reckoned from the newest block backwards.
    fn let_go(&self) -> u64 {
        let mut weight = 0;
        for &(of_block, last) in self.taken.iter().rev() {
            if weight >= self.weight_kept {
                return last;
            }
            weight += of_block;
        }
        0
    }

    fn newest(&self) -> u64 {
        self.taken.last().map_or(0, |&(_, last)| last)
    }

    fn namespaces(&mut self, key: u32) -> NamespaceMask {
        let role = self.viewers[key as usize].member.role;
        let open: Vec<Namespace> = [Namespace::Orders, Namespace::Products, Namespace::Payments]
            .into_iter()
            .filter(|each| may_subscribe(&self.access, role, *each).is_ok())
            .collect();
        let mut mask = NamespaceMask::default();
        while mask.is_empty() {
            for &each in &open {
                if self.random.bool() {
                    mask.insert(each);
                }
            }
        }
        mask
    }

    fn subscribe(&mut self, key: u32) {
        let namespaces = self.namespaces(key);
        let start = match self.random.u8(0..5) {
            0 => Start::Now,
            1 => Start::Last(self.random.u32(1..6)),
            2 => id(self.random.u64(0..self.scene.issued + 3)),
            _ => id(self.viewers[key as usize].seen),
        };
        self.subscribe_from(key, namespaces, start);
    }

    fn subscribe_from(&mut self, key: u32, namespaces: NamespaceMask, start: Start<'_>) {
        let mut types = TypeMask::default();
        for namespace in namespaces.iter() {
            types = types.union(types_of(namespace));
        }
        let mut events = TypeMask::default();
        if self.random.u8(0..4) == 0 && types.contains(EventType::OrderDeleted) {
            events.insert(EventType::OrderDeleted);
            types = types.without(types_of(Namespace::Orders)).union(events);
        }
        let (newest, let_go) = (self.newest(), self.let_go());
        let (kind, since, last) = match &start {
            Start::Now => ("now", None, None),
            Start::Since(id) => ("since", parse_id(id), None),
            Start::Last(count) => ("last", None, Some(*count as usize)),
        };
        let answer = self.scene.subscribe_to(key, namespaces, events, start);
        let seen_by_it = |viewer: &Viewer, number: u64| {
            let event = &self.events[number as usize - 1];
            types.contains(event.kind) && may_receive(&self.access, &viewer.member, event)
        };
        let viewer = &mut self.viewers[key as usize];
        let since = since.map(|(_, number)| number);
        let recovered = since
            .map(|number| self.weight_kept > 0 && let_go <= number && number <= self.scene.issued);
        assert_eq!(answer.recovered, recovered, "seed {}", self.seed);
        let of_these = namespaces
            .iter()
            .fold(TypeMask::default(), |all, each| all.union(types_of(each)));
        let events = &self.events;
        let is_of = |types: TypeMask, number: u64| types.contains(events[number as usize - 1].kind);
        match (since, last) {
            (Some(number), _) if recovered == Some(true) => {
                viewer.due.retain(|&due| !is_of(of_these, due));
                let missed: Vec<u64> = (number + 1..=newest)
                    .filter(|&number| seen_by_it(viewer, number))
                    .collect();
                viewer.due.extend(missed);
                for each in EventType::ALL {
                    if types.contains(each) {
                        viewer.begins[each as usize] = number;
                    }
                }
                assert_eq!(
                    answer.position.number,
                    newest.max(number),
                    "seed {}",
                    self.seed
                );
            }
            (Some(_), _) => viewer.due.retain(|&due| !is_of(of_these, due)),
            (None, Some(count)) => {
                viewer.due.retain(|&due| !is_of(of_these, due));
                let mut few: Vec<u64> = (let_go + 1..=newest)
                    .rev()
                    .filter(|&number| seen_by_it(viewer, number))
                    .take(count)
                    .collect();
                few.reverse();
                viewer.due.extend(few);
            }
            (None, None) => viewer
                .due
                .retain(|&due| !is_of(of_these.without(types), due)),
        }
        if recovered != Some(true) && last.is_none() {
            let early = viewer
                .due
                .iter()
                .find(|&&due| is_of(types, due) && due > let_go && due <= answer.position.number);
            assert_eq!(early, None, "seed {}: {kind} from {answer:?}", self.seed);
        }
        if recovered != Some(true) {
            // Only a reactor that is behind the connection's past lets it wait for what is to come.
            let begins = match answer.position.number {
                ahead if ahead > newest => ahead,
                _ => 0,
            };
            for each in EventType::ALL {
                let is_fresh = since.is_some() || last.is_some() || !viewer.wanted.contains(each);
                if types.contains(each) && is_fresh {
                    viewer.begins[each as usize] = begins;
                }
            }
        }
        viewer.wanted = viewer.wanted.without(of_these).union(types);
        if last.is_some() {
            viewer.newest_few = newest;
        } else if viewer.due.is_empty() {
            viewer.newest_few = 0;
        }
        viewer.seen = viewer.seen.max(answer.position.number);
    }

    fn unsubscribe(&mut self, key: u32) {
        let namespaces = self.namespaces(key);
        self.scene.bench.directory.unsubscribe(key, namespaces);
        let viewer = &mut self.viewers[key as usize];
        for namespace in namespaces.iter() {
            let types = types_of(namespace);
            viewer.wanted = viewer.wanted.without(types);
            viewer
                .due
                .retain(|&number| !types.contains(self.events[number as usize - 1].kind));
        }
    }

    /// The connection is lost; another takes its key and goes on where it was.
    fn come_back(&mut self, key: u32) {
        self.scene.replays.leave(key);
        self.scene.bench.directory.leave(key);
        self.scene.bench.directory.enter(key);
        let viewer = &mut self.viewers[key as usize];
        if viewer.member.role != Role::Public {
            let identity = identity(&viewer.member.user, viewer.member.role, None);
            self.scene.bench.directory.identify(key, &identity);
        }
        viewer.wanted = TypeMask::default();
        viewer.due.clear();
        viewer.begins = [0; EventType::ALL.len()];
        viewer.is_full = false;
        viewer.newest_few = 0;
        let seen = viewer.seen;
        let namespaces = self.namespaces(key);
        self.subscribe_from(key, namespaces, id(seen));
    }
}
