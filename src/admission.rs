//! Who may come in: the caps on WebSockets and sockets, the places that are kept for the back office, the
//! connect rate of an address, reactors that lag, and the drain.
//!
//! Shared by all reactors and asked once a handshake, never on the path of an event; that is why
//! the table of addresses may sit behind (sharded) locks.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;

use crate::access::Role;
use crate::limits;
use crate::rate::{Bucket, Rate};
use crate::wire::client_address::rate_key;

/// The gate.
pub struct Admission {
    websockets: AtomicUsize,
    websockets_max: usize,
    /// Those of them that are not the back office's.
    storefront: AtomicUsize,
    storefront_max: usize,
    /// Every socket accepted on the port and not closed yet.
    sockets: AtomicUsize,
    sockets_max: usize,
    /// Above so many a newcomer takes the place of one that is no WebSocket.
    crowded_at: usize,
    reserved_percent: u8,
    /// Reactors that lag.
    lagging: AtomicUsize,
    memory_is_scarce: AtomicBool,
    draining: AtomicBool,
    /// Handshakes a minute from one address.
    connect_rate: AtomicU32,
    addresses: [Mutex<HashMap<u128, Bucket>>; SHARDS],
}

const SHARDS: usize = 16;

impl Admission {
    /// A gate for so many WebSockets, of which so many percent are kept for the back office, and so many
    /// handshakes a minute from one address (0 = any).
    pub fn new(websockets_max: usize, reserved_percent: u8, connects_per_minute: u32) -> Self {
        let mut gate = Self {
            websockets: AtomicUsize::new(0),
            websockets_max,
            storefront: AtomicUsize::new(0),
            storefront_max: 0,
            sockets: AtomicUsize::new(0),
            sockets_max: 0,
            crowded_at: 0,
            reserved_percent,
            lagging: AtomicUsize::new(0),
            memory_is_scarce: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            connect_rate: AtomicU32::new(connects_per_minute),
            addresses: Default::default(),
        };
        gate.set_most(
            websockets_max,
            websockets_max.saturating_add(limits::EXTRA_SOCKETS_MAX),
        );
        gate
    }

    fn set_most(&mut self, websockets: usize, sockets: usize) {
        let reserved = websockets * usize::from(self.reserved_percent) / 100;
        self.websockets_max = websockets;
        self.storefront_max = websockets - reserved;
        self.sockets_max = sockets;
        self.crowded_at = sockets - spare(sockets);
    }

    /// Counts a socket just accepted; false (and not counted) if there are too many.
    pub fn enter_socket(&self) -> bool {
        enter(&self.sockets, self.sockets_max)
    }

    /// The process may open so many files: some are left for emitters, and for what the server opens
    /// itself, so that they go on while browsers take all that they can get.
    pub fn leave_files(&mut self, files_max: u64) {
        let files_max = usize::try_from(files_max).unwrap_or(usize::MAX);
        let kept = limits::FILES_BESIDE_SOCKETS.min(files_max / 2);
        let sockets = self.sockets_max.min(files_max - kept);
        // Some are always for those who want to come in: else the places of the back office were none.
        let websockets = self.websockets_max.min(sockets - spare(sockets));
        self.set_most(websockets, sockets);
    }

    /// Whether so few sockets are left that those who are no WebSockets make room for newcomers.
    pub fn is_crowded(&self) -> bool {
        self.sockets.load(Ordering::Relaxed) > self.crowded_at
    }

    /// A counted socket was closed.
    pub fn leave_socket(&self) {
        self.sockets.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a WebSocket of this role; false (and not counted) if there is no place for it.
    pub fn enter_websocket(&self, role: Role) -> bool {
        if !enter(&self.websockets, self.websockets_max) {
            return false;
        }
        if role.is_back_office() || enter(&self.storefront, self.storefront_max) {
            return true;
        }
        self.websockets.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// Whether no further WebSocket would be taken.
    pub fn is_full(&self) -> bool {
        self.websockets() >= self.websockets_max
    }

    /// Whether no further WebSocket would be taken but the back office's.
    pub fn is_storefront_full(&self) -> bool {
        self.storefront.load(Ordering::Relaxed) >= self.storefront_max
    }

    /// The most WebSockets that are not the back office's.
    pub fn storefront_max(&self) -> usize {
        self.storefront_max
    }

    /// Counts a connection that another process had let in; a role has only a WebSocket.
    pub fn take_over(&self, role: Option<Role>) {
        self.sockets.fetch_add(1, Ordering::Relaxed);
        if let Some(role) = role {
            self.websockets.fetch_add(1, Ordering::Relaxed);
            let is_storefront = !role.is_back_office();
            self.storefront
                .fetch_add(is_storefront.into(), Ordering::Relaxed);
        }
    }

    /// A counted WebSocket has shown a token that gives it another role. It is let in already, so that it
    /// stays although it may be one too many.
    pub fn change_role(&self, old: Role, new: Role) {
        match (old.is_back_office(), new.is_back_office()) {
            (true, false) => self.storefront.fetch_add(1, Ordering::Relaxed),
            (false, true) => self.storefront.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        };
    }

    /// A counted WebSocket, now of this role, has ended.
    pub fn leave_websocket(&self, role: Role) {
        self.websockets.fetch_sub(1, Ordering::Relaxed);
        let is_storefront = !role.is_back_office();
        self.storefront
            .fetch_sub(is_storefront.into(), Ordering::Relaxed);
    }

    /// A reactor lags, or does no longer.
    pub fn set_lagging(&self, lags: bool) {
        if lags {
            self.lagging.fetch_add(1, Ordering::Relaxed);
        } else {
            self.lagging.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Memory is about to run out, or is no longer.
    pub fn set_memory_is_scarce(&self, is_scarce: bool) {
        self.memory_is_scarce.store(is_scarce, Ordering::Relaxed);
    }

    /// Whether memory is about to run out.
    pub fn memory_is_scarce(&self) -> bool {
        self.memory_is_scarce.load(Ordering::Relaxed)
    }

    /// Whether a reactor lags or memory is scarce, so that only the back office is let in.
    pub fn is_overloaded(&self) -> bool {
        self.lagging.load(Ordering::Relaxed) > 0 || self.memory_is_scarce()
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
        self.connect_rate()
            .take(buckets.entry(key).or_default(), now_ns)
    }

    /// From now on so many handshakes a minute may come from one address (0 = any).
    pub fn set_connect_rate(&self, connects_per_minute: u32) {
        self.connect_rate
            .store(connects_per_minute, Ordering::Relaxed);
    }

    fn connect_rate(&self) -> Rate {
        Rate::per_minute(self.connect_rate.load(Ordering::Relaxed))
    }

    /// The handshake counted before turned out to be a good one.
    pub fn give_back_handshake(&self, ip: IpAddr) {
        let key = rate_key(ip);
        if let Some(bucket) = self.shard(key).get_mut(&key) {
            self.connect_rate().give_back(bucket);
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

fn spare(sockets: usize) -> usize {
    sockets.min(limits::EXTRA_SOCKETS_MAX) / limits::SPARE_SOCKETS_PART
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
        let gate = Admission::new(2, 10, 0);
        let enter = || gate.enter_websocket(Role::Public);
        assert!(enter() && enter());
        assert!(!enter() && gate.is_full());
        gate.leave_websocket(Role::Public);
        assert!(enter());
        assert_eq!(gate.websockets(), 2);
    }

    #[test]
    fn some_places_are_the_back_offices() {
        let gate = Admission::new(10, 20, 0);
        for role in [Role::Public, Role::Guest, Role::Customer].repeat(3) {
            gate.enter_websocket(role);
        }
        assert_eq!(gate.websockets(), 8);
        assert!(gate.is_storefront_full() && !gate.is_full());
        assert!(gate.enter_websocket(Role::Staff));
        // Who turns out to be of the back office makes room, and the other way round.
        gate.change_role(Role::Public, Role::Admin);
        assert!(!gate.is_storefront_full());
        assert!(gate.enter_websocket(Role::Customer));
        assert!(gate.is_full() && !gate.enter_websocket(Role::Admin));
        gate.change_role(Role::Admin, Role::Guest);
        gate.leave_websocket(Role::Staff);
        assert!(!gate.enter_websocket(Role::Guest));
        assert!(gate.enter_websocket(Role::Manager));
        for role in [Role::Manager, Role::Guest]
            .into_iter()
            .chain([Role::Customer; 8])
        {
            gate.leave_websocket(role);
        }
        assert_eq!((gate.websockets(), gate.storefront.into_inner()), (0, 0));
    }

    #[test]
    fn it_is_overloaded_for_want_of_time_or_of_memory() {
        let gate = Admission::new(2, 0, 0);
        for (lags, is_scarce) in [(false, true), (true, true), (true, false), (false, false)] {
            gate.set_memory_is_scarce(is_scarce);
            if lags != (gate.lagging.load(Ordering::Relaxed) > 0) {
                gate.set_lagging(lags);
            }
            assert_eq!(gate.is_overloaded(), lags || is_scarce);
        }
    }

    #[test]
    fn files_are_left_for_others() {
        for (files_max, sockets_max) in [
            (u64::MAX, 100 + limits::EXTRA_SOCKETS_MAX),
            (100_000, 100 + limits::EXTRA_SOCKETS_MAX),
            (4096, 4096 - limits::FILES_BESIDE_SOCKETS),
            (64, 32),
        ] {
            let mut gate = Admission::new(100, 0, 0);
            gate.leave_files(files_max);
            assert_eq!(gate.sockets_max, sockets_max, "{files_max}");
        }
    }

    #[test]
    fn an_address_has_its_own_bucket_and_an_ipv6_network_shares_one() {
        let gate = Admission::new(2, 0, 1);
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
    fn another_rate_counts_at_once() {
        let gate = Admission::new(2, 0, 1);
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert!(gate.take_handshake(ip, 0).is_ok());
        assert!(gate.take_handshake(ip, 0).is_err());
        gate.set_connect_rate(0);
        assert!(gate.take_handshake(ip, 0).is_ok());
        gate.set_connect_rate(3);
        assert!(gate.take_handshake(ip, 60_000_000_000).is_ok());
    }

    #[test]
    fn the_table_of_addresses_is_bounded() {
        let gate = Admission::new(2, 0, 10);
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
        let gate = Admission::new(2, 0, 1);
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
