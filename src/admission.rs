//! Who may come in: the cap on WebSockets, the connect rate of an address, and the drain.
//!
//! Shared by all reactors and asked once a handshake, never on the path of an event; that is why
//! the table of addresses may sit behind (sharded) locks.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;

use crate::limits;
use crate::rate::{Bucket, Rate};
use crate::wire::client_address::rate_key;

/// The gate.
pub struct Admission {
    websockets: AtomicUsize,
    websockets_max: usize,
    /// Every socket accepted on the port and not closed yet.
    sockets: AtomicUsize,
    draining: AtomicBool,
    connect_rate: Rate,
    addresses: [Mutex<HashMap<u128, Bucket>>; SHARDS],
}

const SHARDS: usize = 16;

impl Admission {
    /// A gate for so many WebSockets and so many handshakes a minute from one address (0 = any).
    pub fn new(websockets_max: usize, connects_per_minute: u32) -> Self {
        Self {
            websockets: AtomicUsize::new(0),
            websockets_max,
            sockets: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            connect_rate: Rate::per_minute(connects_per_minute),
            addresses: Default::default(),
        }
    }

    /// Counts a socket just accepted; false (and not counted) if there are too many.
    pub fn enter_socket(&self) -> bool {
        let most = self
            .websockets_max
            .saturating_add(limits::EXTRA_SOCKETS_MAX);
        enter(&self.sockets, most)
    }

    /// A counted socket was closed.
    pub fn leave_socket(&self) {
        self.sockets.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a WebSocket; false (and not counted) if the server is full.
    pub fn enter_websocket(&self) -> bool {
        enter(&self.websockets, self.websockets_max)
    }

    /// Whether no further WebSocket would be taken.
    pub fn is_full(&self) -> bool {
        self.websockets() >= self.websockets_max
    }

    /// Counts a connection that another process had let in.
    pub fn take_over(&self, is_websocket: bool) {
        self.sockets.fetch_add(1, Ordering::Relaxed);
        self.websockets
            .fetch_add(is_websocket.into(), Ordering::Relaxed);
    }

    /// A counted WebSocket has ended.
    pub fn leave_websocket(&self) {
        self.websockets.fetch_sub(1, Ordering::Relaxed);
    }

    /// WebSockets open now.
    pub fn websockets(&self) -> usize {
        self.websockets.load(Ordering::Relaxed)
    }

    /// Over how many milliseconds those who are sent away come back.
    pub fn reconnect_spread_ms(&self) -> u64 {
        (self.websockets() as u64 * limits::RECONNECT_MS_PER_CLIENT).clamp(
            limits::RECONNECT_SPREAD_MIN_MS,
            limits::RECONNECT_SPREAD_MAX_MS,
        )
    }

    /// Counts a handshake from `ip`; if it is one too many, says after how many nanoseconds the
    /// next one may come.
    pub fn take_handshake(&self, ip: IpAddr, now_ns: u64) -> Result<(), u64> {
        let key = rate_key(ip);
        let mut buckets = self.shard(key);
        let most = limits::RATED_ADDRESSES_MAX / SHARDS;
        if buckets.len() >= most && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| !bucket.is_full(now_ns));
            // Looking at all of them has to make room for many, or a flood would have it done for each
            // newcomer.
            if buckets.len() > most / 2 {
                // Forgetting everybody lets a flood from a million addresses begin anew; keeping
                // them would turn a flood into a lock-out of everybody else.
                buckets.clear();
            }
        }
        self.connect_rate
            .take(buckets.entry(key).or_default(), now_ns)
    }

    /// The handshake counted before turned out to be a good one.
    pub fn give_back_handshake(&self, ip: IpAddr) {
        let key = rate_key(ip);
        if let Some(bucket) = self.shard(key).get_mut(&key) {
            self.connect_rate.give_back(bucket);
        }
    }

    /// From now on handshakes are refused.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the server is on its way out.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn shard(&self, key: u128) -> std::sync::MutexGuard<'_, HashMap<u128, Bucket>> {
        let folded = (key >> 64) as u64 ^ key as u64;
        let index = (folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 60) as usize;
        // A bucket is one word: a panic elsewhere cannot leave the table half-written.
        self.addresses[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn enter(count: &AtomicUsize, most: usize) -> bool {
    if count.fetch_add(1, Ordering::Relaxed) < most {
        return true;
    }
    count.fetch_sub(1, Ordering::Relaxed);
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn the_cap_holds_and_a_place_is_free_again_after_leaving() {
        let gate = Admission::new(2, 0);
        assert!(gate.enter_websocket() && gate.enter_websocket());
        assert!(!gate.enter_websocket());
        gate.leave_websocket();
        assert!(gate.enter_websocket());
        assert_eq!(gate.websockets(), 2);
    }

    #[test]
    fn an_address_has_its_own_bucket_and_an_ipv6_network_shares_one() {
        let gate = Admission::new(2, 1);
        let v4 = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        assert!(gate.take_handshake(v4, 0).is_ok());
        assert!(gate.take_handshake(v4, 0).is_err());
        assert!(
            gate.take_handshake(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 0)
                .is_ok()
        );
        let v6 = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 1, 0, 0, 0, last));
        assert!(gate.take_handshake(v6(1), 0).is_ok());
        assert!(gate.take_handshake(v6(2), 0).is_err());
        gate.give_back_handshake(v6(9));
        assert!(gate.take_handshake(v6(3), 0).is_ok());
    }

    #[test]
    fn the_table_of_addresses_is_bounded() {
        let gate = Admission::new(2, 10);
        for number in 0..10_000_000 {
            gate.take_handshake(IpAddr::V4(Ipv4Addr::from(number)), 0)
                .unwrap();
        }
        let of_all = |size: fn(&HashMap<u128, Bucket>) -> usize| -> usize {
            let shards = gate.addresses.iter();
            shards.map(|shard| size(&shard.lock().unwrap())).sum()
        };
        let (held, room) = (of_all(HashMap::len), of_all(HashMap::capacity));
        assert!(held <= limits::RATED_ADDRESSES_MAX, "{held}");
        assert!(room <= 2 * limits::RATED_ADDRESSES_MAX, "{room}");
    }

    #[test]
    fn a_full_table_is_not_looked_through_for_each_newcomer() {
        let gate = Admission::new(2, 1);
        // One bucket after the other is full again just when the next address comes: in a minute.
        let step_ns = 60_000_000_000 / limits::RATED_ADDRESSES_MAX as u64;
        let mut looked_through = 0;
        for number in 0..3 * limits::RATED_ADDRESSES_MAX as u32 {
            let ip = IpAddr::V4(Ipv4Addr::from(number));
            let held = || gate.shard(rate_key(ip)).len();
            let before = held();
            gate.take_handshake(ip, u64::from(number) * step_ns)
                .unwrap();
            looked_through += u32::from(held() <= before);
        }
        assert!(looked_through > 0);
        assert!(looked_through <= 10 * SHARDS as u32, "{looked_through}");
    }
}
