//! The beginning of a run: what the seed makes of settings, people and moods.
//!
//! Part of the world. Small numbers are preferred wherever they bring a limit within reach: buffers,
//! rings, history.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use fastrand::Rng;
use shopwire::access::Role;
use shopwire::auth::{Subject, mint};
use shopwire::clock::WallClock;
use shopwire::config::{Config, Flags, settings};
use shopwire::journal::SyncPolicy;
use tempfile::TempDir;

use super::{Tally, Trace, World};
use crate::browser::Browser;
use crate::disk::Disk;
use crate::emitter::Emitter;
use crate::log::{Last, Log};
use crate::server::Ground;

/// Tokens were made so long before: also by a wall clock that was set back they are none of the future.
const DAY: Duration = Duration::from_secs(86_400);
/// When a simulated server's wall clock begins, in ms since 1970.
pub const EPOCH_MS: u64 = 1_700_000_000_000;

/// What a seed is inclined to.
pub struct Mood {
    pub steps: usize,
    /// How many bytes of ballast an event has at most.
    pub padding: usize,
    /// So many times in a thousand steps: a cut, a stall, a full or broken disk, an end of the server.
    pub cuts: u32,
    pub stalls: u32,
    pub troubles: u32,
    pub ends: u32,
    /// So many times in a thousand steps: the wall clock is set back.
    pub clock: u32,
    /// How long time stands still between steps, at most.
    pub pause: Duration,
}

impl World {
    /// The world of this seed, before anything happens.
    pub fn new(seed: u64, trace: Trace) -> World {
        let folder = folder();
        // The server's own chance, and this one's.
        fastrand::seed(seed);
        let mut random = Rng::with_seed(seed);
        let disk = Disk::new(folder.path());
        let socket = folder.path().join("ingest.sock");
        let mut pick = |choices: &[u64]| *random.choice(choices).unwrap();
        let flags = Flags {
            dev: true,
            config: None,
            values: vec![
                (&settings::SOCKET, socket.display().to_string()),
                (&settings::WORKERS, pick(&[1, 1, 2, 3]).to_string()),
                (
                    &settings::HISTORY,
                    pick(&[64 << 20, 64 << 20, 64 << 20, 20_000, 4_000]).to_string(),
                ),
                (
                    &settings::HISTORY_AGE,
                    pick(&[600_000, 600_000, 5_000]).to_string(),
                ),
                (&settings::GATHER, pick(&[0, 1, 20]).to_string()),
                (
                    &settings::OUTBOX_LIMIT,
                    pick(&[1 << 20, 16_384, 1024]).to_string(),
                ),
                (&settings::PING_INTERVAL, pick(&[30_000, 1_000]).to_string()),
                (&settings::PONG_TIMEOUT, pick(&[5_000, 500]).to_string()),
                (&settings::DRAIN_TIMEOUT, pick(&[10_000, 500]).to_string()),
                (&settings::MESSAGE_RATE, "0".to_owned()),
            ],
        };
        let secret = |name: &str| {
            (name == "WS_JWT_SECRET").then(|| "a secret of the simulation, long enough".to_owned())
        };
        let mut config = Config::resolve(&flags, &secret, None).unwrap();
        config.journal = (random.u8(0..4) > 0).then(|| disk.folder());
        config.journal_sync = match random.u8(0..8) {
            0 => SyncPolicy::Interval(Duration::from_millis(50)),
            1 => SyncPolicy::Never,
            _ => SyncPolicy::Batch,
        };
        let wall_ms = Arc::new(AtomicU64::new(EPOCH_MS));
        let log = Log::new(config.history, config.history_age);
        let browsers = (0..random.usize(1..7))
            .map(|number| {
                Browser::new(number, &mut random, |user, role, session| {
                    let role = Role::from_token(role).unwrap();
                    let subject = Subject {
                        user,
                        role,
                        session,
                    };
                    mint(
                        &config.jwt,
                        subject,
                        2 * DAY,
                        EPOCH_MS - DAY.as_millis() as u64,
                    )
                    .unwrap()
                })
            })
            .collect();
        let emitters = (0..random.usize(1..4)).map(Emitter::new).collect();
        let mut clock = Rng::with_seed(!seed);
        let mood = Mood::of(&mut random, &mut clock);
        let last = Last {
            end: None,
            has_journal: config.journal.is_some(),
            acks_wait: config.journal_sync == SyncPolicy::Batch,
            has_failed: false,
        };
        let ground = Ground {
            config,
            socket,
            disk,
            wall: WallClock::Set(Arc::clone(&wall_ms)),
            rings: (
                *random.choice(&[1, 4, 1024]).unwrap(),
                *random.choice(&[1, 1024]).unwrap(),
            ),
            send_buffer: *random.choice(&[1, 16_384, 65_536]).unwrap(),
        };
        World {
            seed,
            random,
            mood,
            begun: Instant::now(),
            elapsed: Duration::ZERO,
            wall_ms,
            clock,
            set_back_ms: 0,
            ground,
            log,
            server: None,
            last,
            browsers,
            emitters,
            ghosts: Vec::new(),
            tally: Tally::new(),
            trace,
            _folder: folder,
        }
    }
}

impl Mood {
    fn of(random: &mut Rng, clock: &mut Rng) -> Mood {
        let mut pick = |choices: &[u32]| *random.choice(choices).unwrap();
        Mood {
            cuts: pick(&[0, 5, 30]),
            stalls: pick(&[0, 10, 50]),
            troubles: pick(&[0, 0, 0, 200]),
            ends: pick(&[0, 5, 15]),
            clock: *clock.choice(&[0, 0, 2, 10]).unwrap(),
            padding: pick(&[0, 300, 3000]) as usize,
            pause: Duration::from_millis(pick(&[10, 1000, 4000]).into()),
            steps: random.usize(50..500),
        }
    }
}

/// In memory, if the system has such a place: nothing here is meant to last.
fn folder() -> TempDir {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("shopwire-simulation-");
    builder
        .tempdir_in("/dev/shm")
        .or_else(|_| builder.tempdir())
        .unwrap()
}
