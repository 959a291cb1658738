//! Who came and is no WebSocket yet, so that those who only hold a socket cannot keep everybody else out.
//!
//! Part of the reactor. While sockets are plenty nobody gives way. Once few are left, each newcomer takes the place of
//! one of those of whose address most wait, the one that has waited longest: whoever floods the server from an
//! address, or an IPv6 network, pushes out himself and not a phone that needs a second for its request. Addresses of
//! which few wait are even, and among them goes by age alone: a household behind one address is no flood. What comes through a proxy
//! has the proxy's address until the client's is known.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;

use hashbrown::HashMap;

use super::Reactor;
use super::connection::Stage;
use crate::limits;
use crate::log_throttle::held_back;
use crate::ring::Serial;
use crate::wire::CloseReason;
use crate::wire::client_address::rate_key;

/// Connections that are no WebSockets, each under the address it is known by. Serials tell their age; that they begin
/// anew after two billion connections makes a few look older than they are, once.
#[derive(Default)]
pub(super) struct Newcomers {
    /// By address, of each the oldest first.
    members: BTreeSet<(Address, Serial, u32)>,
    /// The addresses of the members.
    ranks: HashMap<Address, Rank>,
    /// The address whose oldest is to go first stands last.
    order: BTreeSet<(usize, Reverse<Serial>, Address)>,
}

/// An IPv4 address, or an IPv6 network.
type Address = u128;

/// Where an address stands.
#[derive(Clone, Copy)]
struct Rank {
    count: usize,
    oldest: Serial,
}

impl Newcomers {
    fn enter(&mut self, ip: IpAddr, serial: Serial, key: u32) {
        let address = rate_key(ip);
        if self.members.insert((address, serial, key)) {
            let count = self.ranks.get(&address).map_or(0, |rank| rank.count);
            self.put_in_order(address, count + 1);
        }
    }

    /// Nothing happens if it is not, or no longer, one of them.
    fn leave(&mut self, ip: IpAddr, serial: Serial, key: u32) {
        let address = rate_key(ip);
        if self.members.remove(&(address, serial, key)) {
            let count = self.ranks.get(&address).map_or(0, |rank| rank.count);
            self.put_in_order(address, count - 1);
        }
    }

    /// So many of the address are members now.
    fn put_in_order(&mut self, address: Address, count: usize) {
        if let Some(rank) = self.ranks.remove(&address) {
            self.order.remove(&rank.place(address));
        }
        let mut of_address = self.members.range((address, 0, 0)..);
        if let Some(&(_, oldest, _)) = of_address.next()
            && count > 0
        {
            let rank = Rank { count, oldest };
            self.ranks.insert(address, rank);
            self.order.insert(rank.place(address));
        }
    }

    /// Who is to give way first.
    fn first_to_go(&self) -> Option<u32> {
        let (.., address) = self.order.last()?;
        let mut of_address = self.members.range((*address, 0, 0)..);
        of_address.next().map(|&(.., key)| key)
    }
}

impl Rank {
    fn place(self, address: Address) -> (usize, Reverse<Serial>, Address) {
        let crowd = self.count.max(limits::NEWCOMERS_EVEN);
        (crowd, Reverse(self.oldest), address)
    }
}

impl Reactor {
    /// The connection `key` has just come.
    pub(super) fn note_newcomer(&mut self, key: u32) {
        if self.shared.admission.is_crowded() {
            self.displace_newcomer();
        }
        self.enter_newcomer(key);
    }

    /// The connection is no WebSocket yet.
    pub(super) fn enter_newcomer(&mut self, key: u32) {
        let connection = &self.connections[key as usize];
        let (ip, serial) = (connection.ip, connection.generation);
        self.newcomers.enter(ip, serial, key);
    }

    /// The connection is a WebSocket now, or gone.
    pub(super) fn forget_newcomer(&mut self, key: u32) {
        let connection = &self.connections[key as usize];
        let (ip, serial) = (connection.ip, connection.generation);
        self.newcomers.leave(ip, serial, key);
    }

    /// The connection is known by another address from now on: a proxy has told whose it is.
    pub(super) fn set_address(&mut self, key: u32, ip: IpAddr) {
        if self.connections[key as usize].ip != ip {
            self.forget_newcomer(key);
            self.connections[key as usize].ip = ip;
            self.enter_newcomer(key);
        }
    }

    /// Closes the one that is to go first.
    fn displace_newcomer(&mut self) {
        let Some(key) = self.newcomers.first_to_go() else {
            return;
        };
        debug_assert!(self.connections[key as usize].stage != Stage::Open);
        if let Some(held) = self.crowding.admit(self.now) {
            let (worker, held) = (self.index, held_back(held));
            log::warn!(
                worker;
                "few sockets are left: closed a connection that was no WebSocket yet for a newer one{held}"
            );
        }
        self.remove(key, CloseReason::Gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// Lets the first ones go until so many are left; gives who went.
    fn let_go(newcomers: &mut Newcomers, left: usize) -> Vec<u32> {
        let mut gone = Vec::new();
        while newcomers.members.len() > left {
            let key = newcomers.first_to_go().unwrap();
            let found = newcomers.members.iter().find(|member| member.2 == key);
            let &(address, serial, _) = found.unwrap();
            let last = (0..=255).find(|&last| rate_key(ip(last)) == address);
            newcomers.leave(ip(last.unwrap()), serial, key);
            gone.push(key);
        }
        gone
    }

    #[test]
    fn of_whose_address_most_wait_the_oldest_goes_first() {
        let mut newcomers = Newcomers::default();
        // One who was there before all others, a household, and a flood.
        newcomers.enter(ip(1), 0, 0);
        for number in 1..=4 {
            newcomers.enter(ip(2), number, number);
        }
        for number in 5..105 {
            newcomers.enter(ip(3), number, number);
        }
        let even = limits::NEWCOMERS_EVEN as u32;
        let gone = let_go(&mut newcomers, 5 + limits::NEWCOMERS_EVEN);
        assert_eq!(gone, (5..105 - even).collect::<Vec<u32>>());
        // Few of each are left: now by age, whoever it is.
        let gone = let_go(&mut newcomers, 0);
        let rest: Vec<u32> = (0..5).chain(105 - even..105).collect();
        assert_eq!(gone, rest);
        assert!(newcomers.ranks.is_empty() && newcomers.order.is_empty());
    }

    #[test]
    fn one_of_each_address_goes_by_age() {
        let mut newcomers = Newcomers::default();
        for last in [7, 3, 9, 1] {
            newcomers.enter(ip(last), u32::from(20 - last), last.into());
        }
        assert_eq!(let_go(&mut newcomers, 0), [9, 7, 3, 1]);
    }

    #[test]
    fn who_is_a_websocket_or_gone_is_not_counted() {
        let mut newcomers = Newcomers::default();
        for number in 0..100 {
            newcomers.enter(ip(1), number, number);
            newcomers.leave(ip(1), number, number);
            newcomers.leave(ip(1), number, number);
        }
        assert_eq!(newcomers.first_to_go(), None);
        assert!(newcomers.ranks.is_empty() && newcomers.order.is_empty());
        newcomers.enter(ip(2), 100, 5);
        assert_eq!(newcomers.first_to_go(), Some(5));
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let mut newcomers = Newcomers::default();
        let v6 = |network: u16, host: u32| {
            IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, host as u16])
        };
        newcomers.enter(v6(1, 1), 0, 0);
        for number in 1..50 {
            newcomers.enter(v6(2, number), number, number);
        }
        assert_eq!(newcomers.first_to_go(), Some(1));
    }
}
