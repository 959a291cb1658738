//! The router alone, with reactors that are only the far ends of their rings.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::{Events, Poll};

use super::*;
use crate::clock::wall_ms;
use crate::config::{Config, Flags, SocketFolder, settings};
use crate::engine::DOORBELL;
use crate::event::{BlockBuilder, Epoch, Line, NameHasher, Parser, Rules, Runs};
use crate::ring::{self, Doorbell};

/// A router on sockets of its own, turned by hand.
struct Bench {
    router: Router,
    poll: Poll,
    doorbell: Arc<Doorbell>,
    reactors: Vec<Far>,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

/// A reactor's ends of the rings.
struct Far {
    down: Receiver<ToReactor>,
    up: Sender<ToRouter>,
    /// Keeps the doorbell's poll open.
    _poll: Poll,
}

const PATIENCE: Duration = Duration::from_secs(10);

impl Bench {
    fn new(reactors: usize, ring: usize) -> Self {
        Self::with(reactors, ring, &[])
    }

    /// One that acts as one with others, if they could be reached.
    fn in_a_cluster() -> Self {
        let nowhere = "unix:///nowhere/redis.sock";
        let bench = Self::with(1, 8, &[(&settings::REDIS_URL, nowhere.to_owned())]);
        let (shared, bell) = (Arc::clone(&bench.router.shared), &bench.doorbell);
        let address = shared.config.redis_url.as_ref().unwrap();
        let status = shared.cluster.as_ref().unwrap();
        let cluster = Cluster::start(address, &shared, status, bell, None).unwrap();
        let mut bench = bench;
        bench.router.join(cluster, Instant::now());
        bench
    }

    fn with(
        reactors: usize,
        ring: usize,
        further: &[(&'static settings::Setting, String)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ingest.sock");
        let flags = Flags {
            dev: true,
            config: None,
            values: vec![
                (&settings::SOCKET, path.display().to_string()),
                (&settings::WORKERS, reactors.to_string()),
            ]
            .into_iter()
            .chain(further.iter().cloned())
            .collect(),
        };
        let config = Config::resolve(&flags, &|_| None, None).unwrap();
        let started = Instant::now();
        let epoch = Epoch::new(wall_ms(), 0);
        let shared = Shared::new(config, NameHasher::default(), Runs::only(epoch), started);
        let shared = Arc::new(shared.unwrap());
        let poll = Poll::new().unwrap();
        let doorbell = Doorbell::new(poll.registry(), DOORBELL).unwrap();
        let (mut lanes, mut far) = (Vec::new(), Vec::new());
        for _ in 0..reactors {
            let theirs = Poll::new().unwrap();
            let bell = Doorbell::new(theirs.registry(), DOORBELL).unwrap();
            let (down, to_reactor) = ring::channel(ring, &doorbell, &bell);
            let (to_router, up) = ring::channel(ring, &bell, &doorbell);
            lanes.push(Lane { down, up });
            far.push(Far {
                down: to_reactor,
                up: to_router,
                _poll: theirs,
            });
        }
        let rules = Rules {
            order_statuses: Vec::new(),
            max_message: 1 << 20,
        };
        let builder = BlockBuilder::new(shared.runs.now().epoch, shared.hasher.clone(), 1 << 20);
        let ingest = Ingest::open(&path, SocketFolder::Given).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let router = Router::new(
            shared,
            poll.registry().try_clone().unwrap(),
            listener,
            ingest,
            Sequencer::new(Parser::new(rules), builder, started),
            None,
            lanes,
        )
        .unwrap();
        Self {
            router,
            poll,
            doorbell,
            reactors: far,
            socket: path,
            _folder: folder,
        }
    }

    fn turn(&mut self) {
        let mut events = Events::with_capacity(64);
        let wait = if self.router.has_work() { 0 } else { 10 };
        self.poll
            .poll(&mut events, Some(Duration::from_millis(wait)))
            .unwrap();
        for event in events.iter().filter(|event| Router::owns(event.token())) {
            self.router.on_event(event);
        }
        self.router.turn(Instant::now());
        self.router.acknowledge();
    }

    /// Turns until `done`, or fails after a generous time.
    fn turn_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(
                begun.elapsed() < PATIENCE,
                "nothing happened in {PATIENCE:?}"
            );
            self.turn();
        }
    }

    fn take_ids(&mut self, reactor: usize, ids: &mut Vec<u64>) {
        while let Some(message) = self.reactors[reactor].down.take() {
            if let ToReactor::Block(block) = message {
                ids.extend(block.frames.iter().map(|frame| frame.id));
            }
        }
    }
}

#[test]
fn a_stalled_reactor_holds_the_emitters_back_and_loses_nothing() {
    const LINES: u64 = 200_000;
    let mut bench = Bench::new(2, 4);
    let socket = UnixStream::connect(&bench.socket).unwrap();
    let mut acks = socket.try_clone().unwrap();
    acks.set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    let emitter = std::thread::spawn(move || {
        let mut socket = socket;
        let line = b"{\"type\":\"product:deleted\",\"data\":{\"productId\":\"p-1\"}}\n";
        for _ in 0..LINES / 1000 {
            socket.write_all(&line.repeat(1000)).unwrap();
        }
        socket.shutdown(std::net::Shutdown::Write).unwrap();
    });

    // Reactor 0 takes everything; reactor 1 stalls, until the router stops reading for its sake.
    let mut first = Vec::new();
    bench.turn_until(|bench| {
        bench.take_ids(0, &mut first);
        bench.router.is_clogged()
    });
    for _ in 0..100 {
        bench.turn();
        bench.take_ids(0, &mut first);
    }
    assert!(bench.router.is_clogged());
    assert!((first.len() as u64) < LINES, "the emitter was held back");
    let told = |bench: &Bench| {
        let stats = &bench.router.shared.stats;
        let backlog = |reactor: usize| stats.reactors[reactor].backlog_down.get() > 0;
        (stats.router.held_up.get(), backlog(0), backlog(1))
    };
    assert_eq!(told(&bench), (1, false, true), "and the metrics tell it");
    assert!(
        !bench.router.has_work(),
        "and the router does not spin meanwhile"
    );
    let mut heard = Vec::new();
    assert!(
        acks.read_to_end(&mut heard).is_err(),
        "it would block: the stream is open"
    );
    let acked_while_stalled = last_ack(&heard);

    // It goes on: both get every event, in order, and the emitter its last ack.
    let mut second = Vec::new();
    bench.turn_until(|bench| {
        bench.take_ids(0, &mut first);
        bench.take_ids(1, &mut second);
        second.len() as u64 == LINES && first.len() as u64 == LINES
    });
    assert!(acked_while_stalled < LINES);
    let expected: Vec<u64> = (1..=LINES).collect();
    assert!(
        first == expected && second == expected,
        "each once, in order"
    );
    emitter.join().unwrap();
    bench.turn_until(|_| acks.read_to_end(&mut heard).is_ok());
    assert_eq!(last_ack(&heard), LINES);
    assert_eq!(told(&bench), (0, false, false));
    let events_in = &bench.router.shared.stats.router.events_in;
    assert_eq!(events_in.get("product:deleted"), LINES);
}

fn last_ack(answers: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(answers);
    text.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()?["ack"].as_u64())
        .next_back()
        .unwrap_or(0)
}

#[test]
fn what_reactors_send_up_becomes_events_for_all_of_them() {
    let mut bench = Bench::new(2, 8);
    let published =
        br#"{"type":"customer:added_to_cart","data":{"customerId":"c","productId":"p","productName":"n","quantity":1}}"#;
    assert!(matches!(
        Parser::new(Rules {
            order_statuses: Vec::new(),
            max_message: 1 << 20
        })
        .parse(published),
        Ok(Line::Event(_))
    ));
    let up = &mut bench.reactors[1].up;
    up.send(ToRouter::CustomerArrived("c".into()));
    up.send(ToRouter::Published(published.as_slice().into()));
    up.notify();
    bench.turn();
    for reactor in &mut bench.reactors {
        let Some(ToReactor::Block(block)) = reactor.down.take() else {
            panic!("no block")
        };
        let kinds: Vec<_> = block.frames.iter().map(|frame| frame.kind).collect();
        assert_eq!(
            kinds,
            [EventType::CustomerOnline, EventType::CustomerAddedToCart]
        );
        assert_eq!(block.online, 1);
    }
}

/// As on a network disk that hangs.
#[test]
fn a_reload_that_hangs_is_given_up_and_a_later_one_works() {
    use crate::files;
    use std::sync::Mutex;
    use std::sync::mpsc;

    let mut bench = Bench::new(1, 16);
    let (hang, hangs) = mpsc::channel::<()>();
    let hangs = Mutex::new(hangs);
    let read = move |_: &Config, _: &Arc<Shared>| {
        // Until the other end is dropped.
        hangs.lock().unwrap().recv().ok();
        let absent = Path::new("/nonexistent/secret");
        Err(files::read(absent).unwrap_err().to_string())
    };
    // The router is not driven by its poll here.
    let poll = Poll::new().unwrap();
    let doorbell = Doorbell::new(poll.registry(), DOORBELL).unwrap();
    let (post, mailbox) = ring::mailbox(doorbell);
    bench
        .router
        .expect_reloads_by(Arc::new(read), post, mailbox);
    let later = |ms: u64| Instant::now() + limits::RELOAD_PATIENCE + Duration::from_millis(ms);
    for _ in 0..limits::RELOADS_STUCK_MAX {
        bench.router.reload();
        assert!(bench.router.reload.is_under_way());
        bench.router.advance_reload(Instant::now());
        assert!(bench.router.reload.is_under_way(), "it has its time");
        let due = bench.router.deadline().unwrap();
        assert!(due <= later(0));
        bench.router.advance_reload(later(0));
        assert!(!bench.router.reload.is_under_way());
    }
    bench.router.reload();
    assert!(!bench.router.reload.is_under_way(), "each holds a thread");
    drop(hang);
    // They end, and then there is room again.
    let since = Instant::now();
    while !bench.router.reload.is_under_way() {
        assert!(since.elapsed() < PATIENCE, "the threads have not ended");
        bench.router.advance_reload(Instant::now());
        bench.router.reload();
    }
    while bench.router.reload.is_under_way() {
        assert!(since.elapsed() < PATIENCE, "the last one has not ended");
        bench.router.advance_reload(Instant::now());
    }
    assert_eq!(
        bench.router.shared.stats.router.reloads.sum() as usize,
        limits::RELOADS_STUCK_MAX + 1
    );
}

#[test]
fn an_emitter_that_goes_on_while_its_acks_wait_is_listed_once() {
    let mut bench = Bench::in_a_cluster();
    let mut socket = UnixStream::connect(&bench.socket).unwrap();
    let line = b"{\"type\":\"product:deleted\",\"data\":{\"productId\":\"p-1\"}}\n";
    for number in 1..=50 {
        socket.write_all(line).unwrap();
        bench.turn_until(|bench| bench.router.cluster.as_ref().unwrap().waiting() == number);
        assert!(bench.router.unsettled.len() <= 1, "after {number} lines");
    }
    assert_eq!(bench.router.unsettled.len(), 1);
}

#[test]
fn browsers_wait_for_redis_to_tell_where_history_begins_but_not_for_long() {
    let let_in = |bench: &mut Bench| {
        bench.turn();
        matches!(bench.reactors[0].down.take(), Some(ToReactor::Socket(..)))
    };
    let mut bench = Bench::in_a_cluster();
    let address = bench.router.listener.local_addr().unwrap();
    let _browser = std::net::TcpStream::connect(address).unwrap();
    for _ in 0..10 {
        assert!(!let_in(&mut bench));
    }
    assert!(!bench.router.has_work(), "it does not spin meanwhile");
    let deadline = bench.router.deadline().unwrap();
    assert!(deadline <= Instant::now() + crate::limits::REDIS_PATIENCE);
    bench.router.shared.cluster.as_ref().unwrap().begun();
    bench.turn_until(let_in);

    let mut bench = Bench::in_a_cluster();
    bench.router.lets_in_by = Some(Instant::now());
    let address = bench.router.listener.local_addr().unwrap();
    let _browser = std::net::TcpStream::connect(address).unwrap();
    bench.turn_until(let_in);
}
