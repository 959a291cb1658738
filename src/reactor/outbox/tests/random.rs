//! Random backlogs against a plain model: a list of what waits, searched from end to end.

use std::collections::HashMap;

use super::*;

/// An event or a notice that waits.
#[derive(Clone, PartialEq, Debug)]
enum Item {
    /// Its number, what it may be replaced by, and the length of its frame.
    Event(i64, Option<String>, usize),
    /// So many were dropped.
    Notice(i64),
}

impl Item {
    fn length(&self) -> usize {
        match self {
            Self::Event(_, _, length) => *length,
            Self::Notice(dropped) => {
                let mut frame = Vec::new();
                put_conflated(*dropped as u64, &mut frame);
                frame.len()
            }
        }
    }

    fn short(&self) -> i64 {
        match self {
            Self::Event(number, ..) => *number,
            Self::Notice(dropped) => -dropped,
        }
    }
}

#[derive(Default)]
struct Model {
    items: Vec<Item>,
    /// Bytes of the first that are written.
    written: usize,
    read: Vec<i64>,
}

impl Model {
    fn push(&mut self, item: Item, threshold: usize) {
        let waiting: usize = self.items.iter().skip(1).map(Item::length).sum();
        if let Item::Event(_, Some(product), _) = &item
            && waiting > threshold
        {
            self.drop_older(product);
        }
        self.items.push(item);
    }

    fn drop_older(&mut self, product: &str) {
        let begun = usize::from(self.written > 0);
        let older =
            |item: &Item| matches!(item, Item::Event(_, Some(other), _) if other == product);
        let gone: Vec<usize> = (begun..self.items.len())
            .filter(|&index| older(&self.items[index]))
            .collect();
        let Some(&first) = gone.first() else {
            return;
        };
        let open =
            (begun..self.items.len()).find(|&index| matches!(self.items[index], Item::Notice(_)));
        let count = gone.len() as i64;
        match open {
            Some(index) => {
                if let Item::Notice(dropped) = &mut self.items[index] {
                    *dropped += count;
                }
            }
            None => self.items[first] = Item::Notice(count),
        }
        let mut index = 0;
        self.items.retain(|item| {
            index += 1;
            index <= begun || !older(item)
        });
    }

    fn take(&mut self, room: usize) {
        self.written += room;
        while let Some(first) = self.items.first()
            && first.length() <= self.written
        {
            self.written -= first.length();
            self.read.push(self.items.remove(0).short());
        }
        if self.items.is_empty() {
            self.written = 0;
        }
    }
}

/// Events of few products and many others, a socket that takes a little now and then: what is read is
/// what the model says, and whatever the model says, what conflation promises holds.
#[test]
fn random_backlogs_agree_with_the_model() {
    for seed in 0..400 {
        run(seed);
    }
}

fn run(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let threshold = *random.choice(&[0, 500, 5_000, usize::MAX]).unwrap();
    let (mut outbox, mut backlog) = (Outbox::default(), Backlog::default());
    let (mut model, mut socket) = (Model::default(), Socket::default());
    let (mut bench, mut events) = (Bench::new(), Vec::new());
    for _ in 0..random.usize(1..60) {
        let drawn: Vec<(String, Option<String>)> =
            (0..random.usize(1..6)).map(|_| draw(&mut random)).collect();
        let lines: Vec<String> = drawn.iter().map(|(line, _)| line.clone()).collect();
        let block = bench.block(&lines);
        outbox.push_newest(&block.bytes, 0..block.bytes.len(), threshold, &mut backlog);
        for (frame, (_, product)) in block.frames.iter().zip(drawn) {
            let (number, length) = (frame.id as i64, (frame.end - frame.start) as usize);
            model.push(Item::Event(number, product.clone(), length), threshold);
            events.push((number, product));
        }
        if random.bool() {
            let room = random.usize(0..1500).min(outbox.length());
            socket.take(room, &mut outbox, &mut backlog);
            model.take(room);
        }
        let due: usize = model.items.iter().map(Item::length).sum();
        assert_eq!(outbox.length(), due - model.written, "seed {seed}");
    }
    let rest = outbox.length();
    model.take(rest);
    assert!(socket.take(rest, &mut outbox, &mut backlog), "seed {seed}");
    outbox.let_go(&mut backlog);
    assert_eq!(backlog.held(), 0, "seed {seed}");

    let got = short(&socket.got);
    assert_eq!(got, model.read, "seed {seed}");
    keeps_its_promises(&got, &events, seed);
}

/// An event's line, and what makes another its replacement.
fn draw(random: &mut fastrand::Rng) -> (String, Option<String>) {
    let product = random.choice(["a", "b", "c"]).unwrap();
    let pad = random.usize(0..300);
    match random.u8(0..3) {
        0 => (price(product, pad), Some(format!("price {product}"))),
        1 => (stock(product, pad), Some(format!("stock {product}"))),
        _ => (deleted(product, pad), None),
    }
}

/// Nothing is reordered, nothing else is dropped, the newest of each comes, and what is missing is told.
fn keeps_its_promises(got: &[i64], events: &[(i64, Option<String>)], seed: u64) {
    let numbers: Vec<i64> = got.iter().copied().filter(|&number| number > 0).collect();
    assert!(numbers.is_sorted(), "seed {seed}: {got:?}");
    let dropped: i64 = got.iter().filter(|&&number| number < 0).sum();
    assert_eq!(numbers.len() as i64 - dropped, events.len() as i64);
    let mut newest = HashMap::new();
    for (number, product) in events {
        match product {
            None => assert!(numbers.contains(number), "seed {seed}: {number} is lost"),
            Some(product) => {
                newest.insert(product, number);
            }
        }
    }
    for (product, number) in newest {
        assert!(numbers.contains(number), "seed {seed}: the last {product}");
    }
}
