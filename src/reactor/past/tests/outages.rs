//! Hosts that are cut off from the others and deliver alone, on paper: whoever hops between them has each
//! event once.

use std::collections::{HashSet, VecDeque};

use super::*;
use crate::event::renaming::{delivered_alone, height_of, renumber, with_marks};
use crate::event::{Mark, Origin, Position};

const CLUSTER: Epoch = Epoch(0xc1);

/// An event as a client gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Got {
    id: String,
    product: String,
}

/// The frames in these bytes.
fn frames(mut bytes: &[u8]) -> Vec<Got> {
    let mut all = Vec::new();
    while bytes.len() > 2 {
        let (header, len) = match bytes[1] {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            short => (2, usize::from(short)),
        };
        let payload: serde_json::Value =
            serde_json::from_slice(&bytes[header..header + len]).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        all.push(Got {
            id: text(&payload["id"]),
            product: text(&payload["data"]["productId"]),
        });
        bytes = &bytes[header + len..];
    }
    all
}

/// What the stream has of one batch.
struct Entry {
    host: usize,
    batch: u64,
    first: u64,
    block: Arc<Block>,
}

/// One host: a reactor, and what its router and the threads to Redis do.
struct Host {
    scene: Scene,
    /// Entries that it has read.
    read: usize,
    is_cut_off: bool,
    batches: u64,
    height: u64,
    /// Not in the stream yet.
    to_write: VecDeque<(u64, Arc<Block>)>,
    /// Given to Redis, and neither read back nor delivered alone.
    waiting: VecDeque<(u64, Arc<Block>)>,
    /// What each connection has been sent and has not taken, by key; none where there is none.
    sent: Vec<Option<VecDeque<Got>>>,
}

impl Host {
    fn new() -> Host {
        let mut scene = Scene::new(1 << 30);
        scene.runs = Runs::only(CLUSTER);
        scene.issued = 1 << 50;
        scene.sent_to = Some(0);
        Host {
            scene,
            read: 0,
            is_cut_off: false,
            batches: 0,
            height: 0,
            to_write: VecDeque::new(),
            waiting: VecDeque::new(),
            sent: Vec::new(),
        }
    }

    /// Hands a block to all who are not held back.
    fn hand_down(&mut self, block: Block) {
        let blocks = [Arc::new(block)];
        let connections = self.scene.connections;
        let ids = self.scene.bench.deliver(&blocks, connections);
        let block = &blocks[0];
        for (ids, sent) in ids.into_iter().zip(&mut self.sent) {
            for id in ids {
                let frame = block.frames.iter().find(|frame| frame.id == id).unwrap();
                let bytes = &block.bytes[frame.start as usize..frame.end as usize];
                sent.as_mut().unwrap().extend(frames(bytes));
            }
        }
        self.scene.history.push(block);
        self.scene.replays.news();
    }

    fn give(&mut self, number: u64, lines: &[String]) {
        let block = self.scene.bench.block(lines);
        self.batches += 1;
        self.to_write.push_back((self.batches, Arc::clone(&block)));
        self.waiting.push_back((self.batches, block));
        if self.is_cut_off {
            self.deliver_alone(number);
        }
    }

    fn deliver_alone(&mut self, number: u64) {
        while let Some((batch, block)) = self.waiting.pop_front() {
            let origin = Origin::new(number, batch, []);
            let behind = self.scene.history.newest();
            self.height = self.height.max(behind);
            let (block, height) = ((*block).clone(), &mut self.height);
            let alone = delivered_alone(block, CLUSTER, behind, height, origin);
            self.hand_down(alone.unwrap());
        }
    }

    fn read(&mut self, number: u64, entry: &Entry) {
        self.read += 1;
        let block = renumber((*entry.block).clone(), CLUSTER, entry.first, |_| false);
        let mut block = block.unwrap().unwrap();
        block.origin = Some(Origin::new(entry.host as u64, entry.batch, []));
        let is_own = entry.host as u64 == number;
        if is_own
            && self
                .waiting
                .pop_front_if(|(batch, _)| *batch == entry.batch)
                .is_none()
        {
            self.scene.history.append(&Arc::new(block));
            self.scene.history.settle_alone(entry.batch);
            return self.scene.replays.news();
        }
        match self.scene.history.mark() {
            Some(mark) => {
                let marked = with_marks(block, &[mark], &mut self.height);
                self.hand_down(marked.unwrap());
            }
            None => {
                assert!(
                    self.height < block.first_id(),
                    "heights are not ahead of numbers"
                );
                self.hand_down(block);
            }
        }
    }

    fn connect(&mut self, start: Start<'_>) -> (u32, Answer) {
        let key = self.scene.seat("", Role::Public);
        self.sent.push(Some(VecDeque::new()));
        let answer = self.scene.subscribe(key, &[Namespace::Products], start);
        (key, answer)
    }

    fn leave(&mut self, key: u32) {
        self.scene.replays.leave(key);
        let namespaces = mask(&[Namespace::Products]);
        self.scene.bench.directory.unsubscribe(key, namespaces);
        self.sent[key as usize] = Some(VecDeque::new());
    }

    /// Walks on with one that is ready. False: nobody is.
    fn serve(&mut self, mut budget: usize) -> bool {
        let Some(key) = self.scene.replays.next_ready() else {
            return false;
        };
        let (scene, sent) = (&mut self.scene, &mut self.sent);
        let reached = scene.replays.advance(
            key,
            &scene.bench.directory,
            &scene.history,
            &mut budget,
            &mut scene.batch,
        );
        let sent = sent[key as usize].as_mut().unwrap();
        let mut count = 0;
        for slice in &scene.batch.slices {
            let bytes = &scene.batch.blocks[slice.block as usize].bytes;
            let got = frames(&bytes[slice.start as usize..slice.end as usize]);
            count += got.len() as u64;
            sent.extend(got);
        }
        assert_eq!(scene.batch.frames, count);
        scene.batch.clear();
        match reached {
            Reached::Newest => scene.replays.finish(key, &mut scene.bench.directory),
            Reached::Budget => scene.replays.ready(key),
            Reached::NotYet => scene.replays.park(key),
            Reached::Gap => panic!("nothing is let go of"),
        }
        true
    }
}

/// Somebody who hops between hosts.
struct Hopper {
    at: (usize, u32),
    since: String,
    got: Vec<Got>,
}

struct World {
    random: fastrand::Rng,
    seed: u64,
    hosts: Vec<Host>,
    stream: Vec<Entry>,
    newest: u64,
    events: usize,
    hoppers: Vec<Hopper>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut hosts: Vec<Host> = (0..random.usize(1..4)).map(|_| Host::new()).collect();
        let runs = Runs::only(CLUSTER);
        let hoppers = (0..random.usize(1..6))
            .map(|_| {
                let at = random.usize(..hosts.len());
                let (key, answer) = hosts[at].connect(Start::Now);
                Hopper {
                    at: (at, key),
                    since: runs.position(&answer.position),
                    got: Vec::new(),
                }
            })
            .collect();
        World {
            random,
            seed,
            hosts,
            stream: Vec::new(),
            newest: 100,
            events: 0,
            hoppers,
        }
    }

    fn run(mut self) {
        for _ in 0..self.random.usize(1..150) {
            let at = self.random.usize(..self.hosts.len());
            match self.random.u8(0..16) {
                0..4 => self.emit(at),
                4..6 => self.write(at),
                6..9 => self.read(at),
                9 => self.cut_off(at),
                10 => self.hosts[at].is_cut_off = false,
                11..13 => {
                    let budget = *self.random.choice(&[1, 100, 1000, 100_000]).unwrap();
                    self.hosts[at].serve(budget);
                }
                13 => self.hop(),
                _ => {
                    let hopper = self.random.usize(..self.hoppers.len());
                    let most = self.random.usize(1..8);
                    self.take(hopper, most);
                }
            }
        }
        self.heal();
        for hopper in 0..self.hoppers.len() {
            self.take(hopper, usize::MAX);
        }
        self.check();
    }

    fn emit(&mut self, at: usize) {
        let count = self.random.usize(1..4);
        let lines: Vec<String> = (self.events..self.events + count)
            .map(|n| format!(r#"{{"type":"product:deleted","data":{{"productId":"{n} {at}"}}}}"#))
            .collect();
        self.events += count;
        self.hosts[at].give(at as u64, &lines);
    }

    /// Also of a host that is cut off by now: its last words may have got there.
    fn write(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        if host.is_cut_off && self.random.u8(0..4) > 0 {
            return;
        }
        let Some((batch, block)) = host.to_write.pop_front() else {
            return;
        };
        host.scene.sent_to = host.scene.sent_to.max(Some(batch));
        let first = self.newest + self.random.u64(1..20);
        self.newest = first + block.frames.len() as u64 - 1;
        self.stream.push(Entry {
            host: at,
            batch,
            first,
            block,
        });
    }

    fn read(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        if let (false, Some(entry)) = (host.is_cut_off, self.stream.get(host.read)) {
            host.read(at as u64, entry);
        }
    }

    fn cut_off(&mut self, at: usize) {
        self.hosts[at].is_cut_off = true;
        self.hosts[at].deliver_alone(at as u64);
    }

    /// What it has not taken it never gets from there.
    fn hop(&mut self) {
        let number = self.random.usize(..self.hoppers.len());
        let at = self.random.usize(..self.hosts.len());
        let hopper = &mut self.hoppers[number];
        let (from, key) = hopper.at;
        self.hosts[from].leave(key);
        let since = Start::Since(hopper.since.clone().into());
        let (key, answer) = self.hosts[at].connect(since);
        assert_eq!(answer.recovered, Some(true), "seed {}", self.seed);
        hopper.at = (at, key);
    }

    fn take(&mut self, hopper: usize, most: usize) {
        let hopper = &mut self.hoppers[hopper];
        let (at, key) = hopper.at;
        let sent = self.hosts[at].sent[key as usize].as_mut().unwrap();
        for got in sent.drain(..most.min(sent.len())) {
            let [before, height] = [&hopper.since, &got.id].map(|id| height_of(id.as_bytes()));
            assert!(before < height, "seed {}: {got:?}", self.seed);
            hopper.since.clone_from(&got.id);
            hopper.got.push(got);
        }
    }

    fn heal(&mut self) {
        for at in 0..self.hosts.len() {
            self.hosts[at].is_cut_off = false;
            while !self.hosts[at].to_write.is_empty() {
                self.write(at);
            }
        }
        for at in 0..self.hosts.len() {
            while self.hosts[at].read < self.stream.len() {
                self.read(at);
            }
            while self.hosts[at].serve(usize::MAX) {}
            assert!(self.hosts[at].scene.history.mark().is_none());
            let replays = &self.hosts[at].scene.replays;
            assert!(replays.is_empty(), "seed {}: at {at}", self.seed);
        }
    }

    fn check(&self) {
        let seed = self.seed;
        for (number, Hopper { got, .. }) in self.hoppers.iter().enumerate() {
            let products: HashSet<&str> = got.iter().map(|got| &*got.product).collect();
            assert_eq!(products.len(), got.len(), "seed {seed}: {number} twice");
            assert_eq!(got.len(), self.events, "seed {seed}: {number} lacks some");
            let ids: HashSet<&str> = got.iter().map(|got| &*got.id).collect();
            assert_eq!(ids.len(), got.len(), "seed {seed}: {number} an id twice");
            // An emitter's events keep their order.
            for host in 0..self.hosts.len() {
                let of_host = got.iter().filter_map(|got| {
                    let (n, at) = got.product.split_once(' ')?;
                    (at.parse() == Ok(host)).then(|| n.parse::<usize>().unwrap())
                });
                assert!(of_host.is_sorted(), "seed {seed}: {number} another order");
            }
        }
        // All kept the same, in one order.
        let kept = |host: &Host| -> Vec<u64> {
            let blocks = host.scene.history.blocks();
            blocks
                .flat_map(|block| block.frames.iter().map(|frame| frame.id))
                .collect()
        };
        for host in &self.hosts {
            assert_eq!(kept(host), kept(&self.hosts[0]), "seed {seed}");
            assert!(kept(host).is_sorted());
        }
    }
}

#[test]
fn who_hops_between_hosts_that_are_cut_off_has_each_event_once() {
    for seed in 0..3000 {
        World::new(seed).run();
    }
}

fn product_lines(products: &[&str]) -> Vec<String> {
    let line = |product: &&str| {
        format!(r#"{{"type":"product:deleted","data":{{"productId":"{product}"}}}}"#)
    };
    products.iter().map(line).collect()
}

fn all_sent(host: &mut Host, key: u32) -> Vec<(String, String)> {
    while host.serve(usize::MAX) {}
    let sent = host.sent[key as usize].as_mut().unwrap();
    sent.drain(..).map(|got| (got.product, got.id)).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |&(product, id): &(&str, &str)| (product.to_owned(), id.to_owned());
    expected.iter().map(own).collect()
}

/// A host that has read two events and delivered three alone.
fn cut_off() -> Host {
    let mut host = Host::new();
    let mut other = Host::new();
    let block = other.scene.bench.block(&product_lines(&["a", "b"]));
    let entry = Entry {
        host: 0xb,
        batch: 1,
        first: 10,
        block,
    };
    host.read(0xa, &entry);
    host.is_cut_off = true;
    host.give(0xa, &product_lines(&["c", "d"]));
    host.give(0xa, &product_lines(&["e"]));
    host
}

#[test]
fn what_was_delivered_alone_is_among_the_last_ones() {
    let mut host = cut_off();
    let (key, answer) = host.connect(Start::Last(2));
    let here = Position {
        number: 11,
        marks: vec![Mark {
            host: 0xa,
            batch: 2,
            place: 1,
        }],
        height: 14,
    };
    assert_eq!(answer.position, here);
    assert_eq!(
        all_sent(&mut host, key),
        pairs(&[("d", "c1-11+a.1.2-13"), ("e", "c1-11+a.2.1-14")])
    );
    let (key, _) = host.connect(Start::Last(4));
    let products = all_sent(&mut host, key)
        .into_iter()
        .map(|(product, _)| product);
    assert!(products.eq(["b", "c", "d", "e"]));
    assert!(host.scene.replays.is_empty(), "they are live");
}

#[test]
fn one_that_is_ahead_gets_what_is_delivered_alone_and_then_what_it_lacks() {
    let mut host = cut_off();
    let since = Start::Since("c1-13~a.1.1-15".into());
    let (key, answer) = host.connect(since);
    assert_eq!(answer.recovered, Some(true));
    assert_eq!(
        all_sent(&mut host, key),
        pairs(&[("d", "c1-13+a.1.2-16"), ("e", "c1-13+a.2.1-17")])
    );
    let mut other = Host::new();
    let block = other
        .scene
        .bench
        .block(&product_lines(&["x", "y", "z", "w"]));
    let entry = Entry {
        host: 0xb,
        batch: 2,
        first: 12,
        block,
    };
    host.read(0xa, &entry);
    assert_eq!(
        all_sent(&mut host, key),
        pairs(&[("z", "c1-14~a.2.1-18"), ("w", "c1-15~a.2.1-19")])
    );
    // It is like the others, but that what it is sent ends in more than theirs.
    let block = other.scene.bench.block(&product_lines(&["v"]));
    let entry = Entry {
        host: 0xb,
        batch: 3,
        first: 70,
        block,
    };
    host.read(0xa, &entry);
    assert_eq!(all_sent(&mut host, key), pairs(&[("v", "c1-70~a.2.1-70")]));
    assert!(host.scene.replays.is_empty(), "by now it is");
}

#[test]
fn one_that_is_ahead_may_have_had_what_is_delivered_alone_and_waits_to_be_sure() {
    let mut host = cut_off();
    // Somebody else may have read it, though it has not come back here.
    host.scene.sent_to = Some(1);
    let (key, answer) = host.connect(Start::Since("c1-13".into()));
    assert_eq!(answer.recovered, Some(true));
    assert_eq!(all_sent(&mut host, key), pairs(&[]));
    let (_, block) = host.to_write.pop_front().unwrap();
    let entry = Entry {
        host: 0xa,
        batch: 1,
        first: 12,
        block,
    };
    host.read(0xa, &entry);
    assert_eq!(all_sent(&mut host, key), pairs(&[("e", "c1-13+a.2.1-14")]));
}

#[test]
fn an_id_that_cannot_be_recovered_still_tells_what_was_had_beside() {
    let mut host = cut_off();
    host.scene.history.begin_anew(20, 20, &[]);
    let (key, answer) = host.connect(Start::Since("c1-11~b.7.2-13".into()));
    assert_eq!(answer.recovered, Some(false));
    assert_eq!(all_sent(&mut host, key), pairs(&[]), "they are from before");
    let mut other = Host::new();
    let block = other.scene.bench.block(&product_lines(&["x", "y", "z"]));
    let entry = Entry {
        host: 0xb,
        batch: 7,
        first: 30,
        block,
    };
    host.read(0xa, &entry);
    assert_eq!(all_sent(&mut host, key).len(), 1, "z");
    // Of a server that is alone no such id can be.
    host.scene.sent_to = None;
    let (_, answer) = host.connect(Start::Since("c1-30~b.7.2-32".into()));
    assert_eq!(answer.recovered, Some(false));
}

/// What is told as a position holds for all that a connection is subscribed to.
#[test]
fn marks_that_hold_for_some_types_alone_are_not_told() {
    let mut host = Host::new();
    let key = host.scene.seat("anna", Role::Admin);
    host.sent.push(Some(VecDeque::new()));
    let since = || Start::Since("c1-5~b.3.1-6".into());
    let answer = host.scene.subscribe(key, &[Namespace::Orders], since());
    assert_eq!(answer.position.marks.len(), 1);
    host.scene
        .subscribe(key, &[Namespace::Products], Start::Since("c1-5".into()));
    let mut other = Host::new();
    let block = other.scene.bench.block(&product_lines(&["x", "y"]));
    let entry = Entry {
        host: 0xb,
        batch: 2,
        first: 10,
        block,
    };
    host.read(0xa, &entry);
    assert_eq!(
        all_sent(&mut host, key),
        pairs(&[("x", "c1-10"), ("y", "c1-11")]),
        "of products nothing was had beside"
    );
    let answer = host.scene.subscribe(key, &[Namespace::Products], since());
    assert_eq!(answer.recovered, Some(true));
    assert_eq!(all_sent(&mut host, key), pairs(&[]));
}
