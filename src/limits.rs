//! Every bound of the server that is not a setting, with its unit and its reason.
//!
//! Owned by nobody, read by everybody: a number that limits something stands here or in
//! [`crate::config`], nowhere else.
//!
//! What one idle, authenticated, subscribed plain connection costs on the heap (bytes):
//!
//! | part | bytes | where |
//! |---|---|---|
//! | slab slot | ≤ 112 | `reactor::connection::Connection` |
//! | seat | ≤ 32 | `reactor::directory::Seat` |
//! | from where on it is known what it was sent | 16 | `reactor::directory::Known` |
//! | class membership | 4 | one key in the class's list |
//! | timer | 8 | two links in the wheel |
//! | user, session (one a name, not a connection) | 2 × (48 + about 8) | `reactor::directory::names` |
//!
//! Over TLS it has a session besides, about 2,200 bytes with what rustls keeps for it
//! (`tls::Session`), and 112 for the layer that leads there.
//!
//! Nothing else: the receive buffer belongs to the reactor, an outbox exists only while the
//! socket is full. Tests beside those types hold them to these sizes.

use std::time::Duration;

/// Longest HTTP request head, request line and final empty line included, in bytes (431 over it).
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Longest request body, of the few requests under `--dev` that have one, in bytes (413 over it).
pub const DEV_BODY_MAX: usize = 64 * 1024;
/// How long a client may take to send its whole request, head and body (408 after it).
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a TLS handshake that are kept until the rest of the message has come: as many as of a
/// request's head. Real ones have two to three thousand.
pub const TLS_HANDSHAKE_MAX: usize = HEAD_BYTES_MAX;
/// Bytes that are kept of a TLS record until the rest of it has come: the longest one there is
/// (RFC 5246 section 6.2.3). Only what has come is held, and nothing by those who send whole ones.
pub const TLS_RECORD_MAX: usize = 5 + 16 * 1024 + 2048;
/// What is sealed at a time: so much ciphertext at most, and a little more, waits for a socket. What
/// waits behind it is plain, and shared with others.
pub const TLS_SEAL: usize = 32 * 1024;
/// Flights of TLS handshakes that a reactor answers in one turn: a whole handshake costs about 0.3 ms
/// with an ECDSA key, and more with RSA, for which events would have to wait. The rest come in the
/// next turns.
pub const TLS_FLIGHTS_PER_TURN: usize = 4;
/// How long a client may take to read an answer that its socket did not take at once.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answered keep-alive connection may stay silent before it is closed.
pub const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(15);
/// Requests on one plain HTTP connection that are answered in one turn; after the last of them it is
/// closed. Who sends so many without waiting for an answer is no browser.
pub const HTTP_ANSWERS_PER_TURN: usize = 16;
/// Plain HTTP connections a reactor keeps open between requests; over it answers say
/// `Connection: close`. Scrapers and health checks need a handful.
pub const KEEP_ALIVE_CONNECTIONS_MAX: usize = 64;
/// Sockets beyond `--max-connections` that may be in the middle of a handshake, be plain HTTP,
/// or be lingering after their close. Over it a new socket is closed at once.
pub const EXTRA_SOCKETS_MAX: usize = 4096;
/// One of so many of these, or of all sockets where files are few, is left free: once only so many are,
/// each newcomer takes the place of one that is no WebSocket yet, of whose address most wait ...
pub const SPARE_SOCKETS_PART: usize = 8;
/// ... but addresses of which at most so many wait are even: a browser opens six connections for a page.
pub const NEWCOMERS_EVEN: usize = 8;
/// Files that browsers' sockets are not given where the process may open few, or half of all: for
/// emitters, and for polls, listeners, the journal and what is read at a reload.
pub const FILES_BESIDE_SOCKETS: usize = EMITTERS_MAX + 64;
/// Files that a process wants to be able to open, for so many connections at once. The unit in deploy/ and the
/// documents have the number beside them, too.
pub const fn files_wanted(max_connections: usize) -> u64 {
    max_connections as u64 + FILES_BESIDE_SOCKETS as u64
}
/// A reactor lags when so many turns, ...
pub const LAGGING_TURNS: u32 = 3;
/// ... none of them longer than `CALM_AFTER` behind another, have each taken longer than this. A turn
/// usually takes less than a millisecond.
pub const TURN_MAX: Duration = Duration::from_millis(250);
/// It no longer lags when no turn has been so long for so long.
pub const CALM_AFTER: Duration = Duration::from_secs(1);
/// While it lags, a reactor reads the storefront for about so long in a turn, the back office first; what is
/// left has to wait, and those who send it feel it in their sockets ...
pub const LAGGING_READ_TIME: Duration = Duration::from_millis(100);
/// ... and so much at a time, in bytes, so that one of them does not take all of it.
pub const LAGGING_READ: usize = 4 * 1024;
/// How long a connection that nobody authenticated stays under `--require-auth` (4401 after it).
pub const AUTH_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest message of a connection that has not authenticated, in bytes: what it may make the
/// server hold for it. A token of 4 KiB fits twice.
pub const PUBLIC_MESSAGE_MAX: usize = 8 * 1024;
/// Answers that may wait for a public connection that does not read them, in bytes.
pub const PUBLIC_ANSWERS_MAX: usize = 8 * 1024;
/// Secrets, and public keys from PEM files, that are valid at once: they have no names, so a token with a
/// bad signature costs a check by each that fits its algorithm. A rotation needs two. The keys of a JWK set
/// are picked by their names.
pub const NAMELESS_KEYS_MAX: usize = 16;
/// How far ahead a token's `iat` may lie beside the leeway, in milliseconds: an issuer's clock is often ahead by
/// a second or two, and most libraries write `iat` unasked.
pub const DATED_AHEAD_MAX_MS: u64 = 60_000;
/// Users and sessions whose tokens are revoked, at once: about 100 bytes each, and as many again as a long
/// name has. Over it none is added until one is over.
pub const REVOCATIONS_MAX: usize = 100_000;
/// A revocation is remembered for at least so long ...
pub const REVOKED_FOR_MIN: Duration = Duration::from_secs(1);
/// ... and at most a (leap) year, but for tokens that are seen to last longer.
pub const REVOKED_FOR_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// After its close frame or refusal the server reads on for at most this long ...
pub const LINGER_TIME: Duration = Duration::from_secs(1);
/// ... and at most so many bytes, so that the kernel does not answer with a reset.
pub const LINGER_BYTES: usize = 256 * 1024;
/// A client is closed (4429) after so many refusals in a minute, or `--message-rate` if more.
pub const REFUSALS_MIN: u32 = 20;
/// Control frames have a bucket so many times as large as `--message-rate`.
pub const CONTROL_RATE_FACTOR: u32 = 10;

/// Bad tokens a minute that a reactor checks for addresses that are over their connect rate; beyond it
/// such an address is refused unseen. A check costs up to 0.15 ms with each key that it may be signed by.
pub const BAD_TOKENS_PER_MINUTE: u32 = 6000;
/// A reactor lets one customer have at least so many connections: by chance more than an even share of them
/// may come to it.
pub const CUSTOMER_SHARE_MIN: usize = 8;
/// What a reactor holds of messages whose ends have not come, in bytes; over it whoever holds most is closed.
pub const UNFINISHED_MAX: usize = 32 << 20;
/// How long a message may be coming ...
pub const MESSAGE_PATIENCE: Duration = Duration::from_secs(10);
/// ... and a second more for each so many bytes of it that have come: the slowest phones send some 6 KiB a second.
pub const MESSAGE_BYTES_PER_SECOND: usize = 4 * 1024;
/// How often it is looked whether one takes too long, while there are any.
pub const MESSAGE_LOOK: Duration = Duration::from_secs(1);

/// A reactor's receive buffer, in bytes. One read takes at most this much.
pub const READ_BUFFER: usize = 128 * 1024;
/// What one connection may be read in one turn, in bytes, before the others get theirs.
pub const READ_BUDGET: usize = 256 * 1024;
/// `SO_SNDBUF` of browser connections, in bytes (the kernel doubles it): small enough that a slow
/// reader shows in its outbox instead of hiding megabytes in the kernel.
pub const SEND_BUFFER: usize = 64 * 1024;
/// Length of the queue of connections the kernel has accepted and the router has not.
pub const LISTEN_BACKLOG: i32 = 4096;
/// Connections taken from the listener in one turn, so that a storm does not hold up events.
pub const ACCEPTS_PER_TURN: usize = 128;
/// Slices given to one `writev` (the kernel's own limit is 1,024).
pub const SLICES_PER_WRITE: usize = 64;
/// A slice at least this long is shared with its block while it waits in an outbox; a shorter one
/// is copied, so that a few waiting bytes never hold a whole block in memory ...
pub const SHARED_SLICE_MIN: usize = 16 * 1024;
/// ... nor does a longer one hold a source of over so many times its length. Half a source is always
/// shared.
pub const SHARED_SOURCE_MAX: usize = 8;
/// Copies are put together in an outbox up to about so many bytes. What is written is freed piece by
/// piece: a reader who is always a little behind does not make one piece that grows for ever.
pub const OUTBOX_PIECE: usize = 16 * 1024;
/// Conflation begins where over one part in so many of the outbox limit waits.
pub const CONFLATION_PART: usize = 4;
/// Places of events that gave way are left in an outbox up to at least so many, then swept together
/// when they are half of it: each costs 40 bytes meanwhile.
pub const OUTBOX_GAPS_MIN: usize = 32;

/// Messages in a ring from the router to a reactor, and blocks taken from it in one turn.
pub const DOWN_RING: usize = 1024;
/// Messages in a ring from a reactor to the router.
pub const UP_RING: usize = 1024;
/// Messages that may wait behind a full ring upwards before a reactor stops reading its sockets.
pub const UP_BACKLOG_MAX: usize = 4096;
/// A block is closed and a new one begun when its frames reach this many bytes.
pub const BLOCK_BYTES: usize = 128 * 1024;
/// Blocks a reactor takes from its ring in one turn: at most 8 MiB of usual frames.
pub const BLOCKS_PER_TURN: usize = 64;

/// What is replayed to all connections of a reactor in one turn, in bytes, so that events on their
/// way to others wait for a fraction of a millisecond at most ...
pub const REPLAY_PER_TURN: usize = 256 * 1024;
/// ... and to one of them: about what its socket takes at once. Both may be passed by one frame.
pub const REPLAY_SHARE: usize = 64 * 1024;
/// A kept frame that is looked at counts as so many bytes of these, sent or not.
pub const REPLAY_LOOK: usize = 16;
/// How often a quiet reactor looks whether what it keeps has become too old.
pub const HISTORY_SWEEP: Duration = Duration::from_secs(1);

/// A file of the journal is full when it holds this part of what is kept ...
pub const JOURNAL_PARTS: usize = 8;
/// ... but at least so many bytes ...
pub const JOURNAL_SEGMENT_MIN: usize = 64 * 1024;
/// ... and at most so many, so that reading one back or removing it is quick.
pub const JOURNAL_SEGMENT_MAX: usize = 16 << 20;
/// Events may wait for the disk up to this weight, in bytes, before emitters are not read for a while.
pub const JOURNAL_BEHIND_MAX: usize = 32 << 20;
/// How soon a journal that could not be written is tried again.
pub const JOURNAL_RETRY: Duration = Duration::from_secs(1);

/// How long Redis may take for an answer, or to be connected to, before it counts as out of reach. The
/// reader asks it to wait for news for half of that at most.
pub const REDIS_PATIENCE: Duration = Duration::from_secs(2);
/// How soon Redis is tried again after the first failure; twice as late after each further one ...
pub const REDIS_RETRY_MIN: Duration = Duration::from_millis(50);
/// ... but at least so often.
pub const REDIS_RETRY_MAX: Duration = Duration::from_secs(2);
/// How long events wait for a Redis that is out of reach.
pub const CLUSTER_HOLD: Duration = Duration::from_secs(5);
/// When events that Redis was given have not come back by then, they are given up: longer than
/// [`CLUSTER_HOLD`], which ends what was not given to it.
pub const CLUSTER_UNREAD: Duration = Duration::from_secs(10);
/// Events may wait for Redis up to this weight, in bytes, before emitters are not read for a while.
pub const CLUSTER_BEHIND_MAX: usize = 32 << 20;
/// What is sent to Redis before its answers are awaited, in bytes; it may be passed by one block.
pub const CLUSTER_PIPELINE: usize = 1 << 20;
/// Entries that are asked for at once, to be read on.
pub const CLUSTER_READ: usize = 64;
/// What was read and the router has not taken, in entries, before no more is read.
pub const CLUSTER_UNTAKEN: usize = 64;
/// Revocations that other hosts are told of before events have their turn.
pub const CLUSTER_TELL: usize = 16;
/// Revocations that Redis is asked for at once, about.
pub const CLUSTER_REVOKED_READ: usize = 1000;
/// How long the end of a host waits for Redis to take what it has yet.
pub const CLUSTER_FAREWELL: Duration = Duration::from_secs(1);
/// How often a host gives a sign of life.
pub const CLUSTER_BEAT: Duration = Duration::from_secs(1);
/// A host without one for so long is gone, and its customers with it.
pub const CLUSTER_LEASE: Duration = Duration::from_secs(10);
/// How far hosts' clocks may differ from Redis', in milliseconds, for an id that another host has
/// told to be taken.
pub const CLUSTER_CLOCK_SKEW_MS: u64 = 60_000;

/// How long a reload may take to read its files before it is given up, and whoever asked is told so: less
/// than `ctl` waits for an answer.
pub const RELOAD_PATIENCE: Duration = Duration::from_secs(5);
/// Reloads that were given up and still read. Over it none is begun: each holds a thread.
pub const RELOADS_STUCK_MAX: usize = 4;

/// How long a server that is being succeeded may take to settle what came before.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one event of the canary's may be on its way, and each step before that may take.
pub const CANARY_PATIENCE: Duration = Duration::from_secs(2);

/// How often it is looked for the ingest socket's file, at most; a loop that sleeps is woken for it every 2 s.
pub const INGEST_LOOK: Duration = Duration::from_secs(1);
/// Emitters connected to the ingest socket at once.
pub const EMITTERS_MAX: usize = 1024;
/// So many of these places are for root and the server's own user, so that `ctl` gets in where emitters are
/// left open ...
pub const EMITTERS_OF_OPERATORS: usize = 16;
/// ... and so many of those for root alone, where they are left open by the server's own user.
pub const EMITTERS_OF_ROOT: usize = 8;
/// Emitters that may do nothing by `[emitters]`, connected at once: so that they take nobody's place, nor much memory
/// with lines that never end.
pub const EMITTERS_WITHOUT_RIGHTS: usize = 16;
/// First size of an emitter's read buffer, in bytes; it grows for longer lines only.
pub const INGEST_READ: usize = 256 * 1024;
/// Acks and errors an emitter may leave unread, in bytes, before the server stops reading it.
pub const EMITTER_OUT_MAX: usize = 256 * 1024;
/// While events are gathered a loop looks at its sockets at least this often.
pub const GATHER_NAP: Duration = Duration::from_millis(1);
/// How long a `key` is remembered.
pub const KEY_WINDOW: Duration = Duration::from_secs(600);
/// Keys remembered at most; the oldest give way. About 70 bytes each.
pub const KEYS_MAX: usize = 1_000_000;
/// How long a customer must be away before `customer:offline`: a page reload is no absence.
pub const PRESENCE_GRACE: Duration = Duration::from_secs(5);
/// Addresses whose connect rate is remembered, over all shards. About 24 bytes each.
pub const RATED_ADDRESSES_MAX: usize = 1 << 20;

/// The timer wheel's step.
pub const TICK: Duration = Duration::from_millis(10);
/// Pings are sent at the same moments, so far apart, to all connections they are due for: a connection's
/// ping is at most so late ...
pub const BEAT: Duration = Duration::from_millis(100);
/// ... and at most by this part of the shorter one of ping interval and pong timeout.
pub const BEATS_MIN: u32 = 50;
/// Steps on the wheel (a power of two): 41 s; later deadlines go round again.
pub const WHEEL_SLOTS: usize = 4096;

/// `reconnect.after` is drawn from 0 to this many milliseconds a client, so that they come back
/// spread out ...
pub const RECONNECT_MS_PER_CLIENT: u64 = 2;
/// ... but at least over this many milliseconds ...
pub const RECONNECT_SPREAD_MIN_MS: u64 = 1_000;
/// ... and at most over this many.
pub const RECONNECT_SPREAD_MAX_MS: u64 = 60_000;
/// `token:expiring` comes this long before the token's end, in milliseconds, or at half of what
/// was left when it was accepted, whichever is later.
pub const EXPIRY_NOTICE_MS: u16 = 60_000;
/// Rows of one answer to `ctl connections` or `ctl history` ...
pub const LIST_MAX: usize = 1000;
/// ... and bytes of events' data in it.
pub const LIST_DATA_MAX: usize = 1 << 20;
/// How long reactors may take to answer an operator's question: a turn takes milliseconds, so one that does not
/// answer hangs, or is so far behind that it is worth telling.
pub const QUESTION_PATIENCE: Duration = Duration::from_secs(2);
/// How long the disk may take, behind that, for what was revoked: with it less than `ctl` waits.
pub const STORING_PATIENCE: Duration = Duration::from_secs(5);
/// Operators who tap at once.
pub const TAPS_MAX: usize = 4;
/// Copies that may wait for one who taps, in bytes, before further ones are lost to him. It may be passed
/// by one event.
pub const TAP_BACKLOG_MAX: usize = 1 << 20;
/// Copies that one tap may ask for ...
pub const TAP_COPIES_MAX: usize = 1_000_000;
/// ... and how long it may last.
pub const TAP_LASTS_MAX: Duration = Duration::from_secs(3600);
/// Longest `last` of a subscribe.
pub const LAST_MAX: u32 = 1000;
