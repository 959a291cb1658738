//! The directory on paper: scenes told one by one, and random shops against a plain model.

use std::sync::Arc;
use std::time::Instant;

use super::*;
use crate::access::Access;
use crate::event::{Block, BlockBuilder, Epoch, EventType, Line, Parser, Rules};

pub(in crate::reactor) fn identity(user: &str, role: Role, session: Option<&str>) -> Identity {
    let session = session.map(str::to_owned);
    Identity {
        user: user.to_owned(),
        role,
        session,
        issued_at: None,
        expires_at: 1,
    }
}

pub(in crate::reactor) fn mask(namespaces: &[Namespace]) -> NamespaceMask {
    let mut mask = NamespaceMask::default();
    namespaces.iter().for_each(|&each| mask.insert(each));
    mask
}

/// A directory with what makes blocks for it.
pub(in crate::reactor) struct Bench {
    pub(in crate::reactor) directory: Directory,
    hasher: NameHasher,
    plan: Plan,
    last_id: u64,
}

impl Bench {
    pub(in crate::reactor) fn new() -> Self {
        let hasher = NameHasher::default();
        let directory = Directory::new(AccessTable::default(), hasher.clone());
        Self {
            directory,
            hasher,
            plan: Plan::default(),
            last_id: 0,
        }
    }

    pub(in crate::reactor) fn seat(
        &mut self,
        key: u32,
        user: &str,
        role: Role,
        namespaces: &[Namespace],
    ) {
        self.directory.enter(key);
        if role != Role::Public {
            self.directory
                .identify(key, &identity(user, role, Some(&format!("s{key}"))));
        }
        self.directory
            .subscribe(key, mask(namespaces), TypeMask::default());
    }

    pub(in crate::reactor) fn block(&mut self, lines: &[String]) -> Arc<Block> {
        let mut parser = Parser::new(Rules {
            order_statuses: Vec::new(),
            max_message: 1 << 20,
        });
        let mut builder = BlockBuilder::new(Epoch::new(1, 1), self.hasher.clone(), 1 << 20);
        for line in lines {
            let Ok(Line::Event(event)) = parser.parse(line.as_bytes()) else {
                panic!("not an event: {line}")
            };
            self.last_id += 1;
            builder.push(&event, self.last_id, 0).unwrap();
        }
        builder.finish(Instant::now(), 0)
    }

    /// What each connection sees of these blocks when it is asked alone, as in a replay.
    fn look(&self, blocks: &[Arc<Block>], connections: u32) -> Vec<Vec<u64>> {
        let seen_by = |key| {
            let view = self.directory.view(key);
            blocks
                .iter()
                .flat_map(|block| block.frames.iter().map(move |frame| (block, frame)))
                .filter(|(block, frame)| view.sees(block, frame))
                .map(|(_, frame)| frame.id)
                .collect()
        };
        (0..connections).map(seen_by).collect()
    }

    /// What each connection gets of these blocks: the numbers of the events, in order.
    pub(in crate::reactor) fn deliver(
        &mut self,
        blocks: &[Arc<Block>],
        connections: u32,
    ) -> Vec<Vec<u64>> {
        let mut got = vec![Vec::new(); connections as usize];
        self.directory.plan(blocks, &mut self.plan);
        let ids: Vec<u64> = blocks
            .iter()
            .flat_map(|block| block.frames.iter().map(|frame| frame.id))
            .collect();
        let mut frames = Vec::new();
        for &class in self.plan.classes() {
            let (members, numbers) = self.directory.class(class);
            for &key in members {
                if !self.directory.is_touched(key) {
                    got[key as usize].extend(numbers.iter().map(|&number| ids[number as usize]));
                }
            }
        }
        for index in 0..self.plan.touched() {
            let key = self.directory.touched(&self.plan, index, &mut frames);
            got[key as usize].extend(frames.iter().map(|&number| ids[number as usize]));
        }
        self.directory.clear(&mut self.plan);
        got
    }
}

pub(in crate::reactor) fn order(customer: &str, to: &str) -> String {
    format!(
        r#"{{"type":"order:deleted","data":{{"orderId":"o","customerId":"{customer}"}},"to":{to}}}"#
    )
}

#[test]
fn own_events_reach_their_owner_and_broadcasts_whole_classes() {
    use Namespace::{Orders, Products};
    let mut bench = Bench::new();
    bench.seat(0, "anna", Role::Admin, &[Orders, Products]);
    bench.seat(1, "carl", Role::Customer, &[Orders, Products]);
    bench.seat(2, "cora", Role::Customer, &[Orders]);
    bench.seat(3, "", Role::Public, &[Products]);
    let product = r#"{"type":"product:deleted","data":{"productId":"p"}}"#.to_owned();
    let lines = [
        order("carl", "{}"),
        product.clone(),
        order("cora", "{}"),
        product,
    ];
    let block = bench.block(&lines);
    let got = bench.deliver(&[block], 4);
    assert_eq!(got, [vec![1, 2, 3, 4], vec![1, 2, 4], vec![3], vec![2, 4]]);
}

#[test]
fn named_users_narrow_and_exclusions_leave_out() {
    let mut bench = Bench::new();
    bench.seat(0, "anna", Role::Admin, &[Namespace::Orders]);
    bench.seat(1, "bert", Role::Staff, &[Namespace::Orders]);
    bench.seat(2, "bert", Role::Staff, &[Namespace::Orders]);
    bench.seat(3, "carl", Role::Customer, &[Namespace::Orders]);
    let lines = [
        order("x", r#"{"userIds":["bert","carl","bert"]}"#),
        order("carl", r#"{"excludeUserIds":["carl"]}"#),
        order("x", r#"{"owners":["carl"],"excludeSessionId":"s1"}"#),
        order("carl", r#"{"roles":["admin"]}"#),
        order("x", r#"{"userIds":["bert"],"excludeUserIds":["bert"]}"#),
    ];
    let block = bench.block(&lines);
    let got = bench.deliver(&[block], 4);
    assert_eq!(got, [vec![2, 3, 4], vec![1, 2], vec![1, 2, 3], vec![1, 3]]);
}

#[test]
fn a_refresh_moves_a_connection_and_tells_presence() {
    let mut bench = Bench::new();
    bench.seat(
        0,
        "carl",
        Role::Admin,
        &[Namespace::Orders, Namespace::System],
    );
    let as_customer = identity("carl", Role::Customer, None);
    let identified = bench.directory.identify(0, &as_customer);
    assert_eq!(identified.dropped, mask(&[Namespace::System]));
    assert_eq!(
        identified.presence,
        Some(PresenceChange::Arrived("carl".into()))
    );
    assert_eq!(
        bench.directory.of_session("s0"),
        [] as [u32; 0],
        "the session is gone with it"
    );
    let lines = [order("x", "{}"), order("carl", "{}")];
    let block = bench.block(&lines);
    assert_eq!(bench.deliver(&[block], 1), [[2]]);

    bench.directory.enter(1);
    assert_eq!(
        bench.directory.identify(1, &as_customer).presence,
        None,
        "already here"
    );
    assert_eq!(bench.directory.leave(0), None, "still here");
    assert_eq!(
        bench.directory.leave(1),
        Some(PresenceChange::Left("carl".into()))
    );
}

#[test]
fn a_later_subscribe_replaces_the_filter_and_classes_are_used_again() {
    let mut bench = Bench::new();
    bench.seat(0, "anna", Role::Admin, &[Namespace::Orders]);
    let mut created = TypeMask::default();
    created.insert(EventType::OrderCreated);
    bench
        .directory
        .subscribe(0, mask(&[Namespace::Orders]), created);
    let block = bench.block(&[order("x", "{}")]);
    assert_eq!(bench.deliver(&[block], 1), [[] as [u64; 0]]);
    bench
        .directory
        .subscribe(0, mask(&[Namespace::Orders]), TypeMask::default());
    let block = bench.block(&[order("x", "{}")]);
    assert_eq!(bench.deliver(&[block], 1), [[2]]);
    for _ in 0..100 {
        bench
            .directory
            .subscribe(0, mask(&[Namespace::Orders]), created);
        bench
            .directory
            .subscribe(0, mask(&[Namespace::Orders]), TypeMask::default());
    }
    assert!(
        bench.directory.classes.len() <= 2,
        "{}",
        bench.directory.classes.len()
    );
}

/// The sum in `limits.rs` counts on it.
#[test]
fn a_seat_is_small() {
    let (seat, known) = (size_of::<Seat>(), size_of::<Known>());
    assert!(seat <= 32 && known <= 16, "{seat}, {known}");
}

#[test]
fn one_who_is_held_back_is_in_no_plan_and_sees_as_before() {
    let mut bench = Bench::new();
    bench.seat(0, "carl", Role::Customer, &[Namespace::Orders]);
    bench.seat(1, "anna", Role::Admin, &[Namespace::Orders]);
    bench.directory.hold(0);
    bench.directory.hold(1);
    bench
        .directory
        .subscribe(1, mask(&[Namespace::Products]), TypeMask::default());
    let lines = [order("carl", "{}"), order("x", r#"{"userIds":["carl"]}"#)];
    let blocks = [bench.block(&lines)];
    assert_eq!(bench.deliver(&blocks, 2), [[] as [u64; 0], []]);
    assert_eq!(bench.look(&blocks, 2), [vec![1, 2], vec![1]]);
    bench.directory.release(0);
    bench.directory.release(1);
    assert_eq!(bench.deliver(&blocks, 2), [vec![1, 2], vec![1]]);
}

#[test]
fn subscribing_tells_who_may_never_from_who_needs_a_token() {
    let access = AccessTable::default();
    let check = |role, namespace| may_subscribe(&access, role, namespace);
    assert_eq!(check(Role::Public, Namespace::Products), Ok(()));
    assert_eq!(
        check(Role::Public, Namespace::Orders),
        Err(Refused::Unauthorized)
    );
    assert_eq!(
        check(Role::Guest, Namespace::Orders),
        Err(Refused::Forbidden)
    );
    let mut closed = AccessTable::default();
    closed
        .set_row(Namespace::System, &[(Role::Admin, Access::None)])
        .unwrap();
    assert_eq!(
        may_subscribe(&closed, Role::Public, Namespace::System),
        Err(Refused::Forbidden)
    );
}

/// Connections and events at random; the model is section 2 of the contract, read aloud.
#[test]
fn random_shops_agree_with_the_model() {
    for seed in 0..200 {
        random_shop(seed);
    }
}

pub(in crate::reactor) struct Member {
    pub(in crate::reactor) user: String,
    pub(in crate::reactor) role: Role,
    pub(in crate::reactor) session: String,
    pub(in crate::reactor) namespaces: Vec<Namespace>,
}

pub(in crate::reactor) struct Sent {
    pub(in crate::reactor) kind: EventType,
    customer: Option<String>,
    roles: Option<Vec<Role>>,
    users: Option<Vec<String>>,
    owners: Vec<String>,
    excluded: Vec<String>,
    session: Option<String>,
}

fn random_shop(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bench = Bench::new();
    let name = |random: &mut fastrand::Rng| format!("u{}", random.u8(0..6));
    let members: Vec<Member> = (0..random.u32(1..30))
        .map(|key| {
            let role = *random.choice(&Role::ALL).unwrap();
            let namespaces = Namespace::ALL
                .into_iter()
                .filter(|_| random.bool())
                .collect();
            let user = if role == Role::Public {
                String::new()
            } else {
                name(&mut random)
            };
            Member {
                user,
                role,
                session: format!("s{key}"),
                namespaces,
            }
        })
        .collect();
    for (key, member) in members.iter().enumerate() {
        bench.seat(key as u32, &member.user, member.role, &member.namespaces);
    }
    let (mut sent, mut lines) = (Vec::new(), Vec::new());
    for _ in 0..random.usize(1..40) {
        let event = random_event(&mut random, &name);
        lines.push(line_of(&event));
        sent.push(event);
    }
    let blocks: Vec<_> = lines
        .chunks(random.usize(1..10))
        .map(|lines| bench.block(lines))
        .collect();
    let got = bench.deliver(&blocks, members.len() as u32);
    assert_eq!(
        bench.look(&blocks, members.len() as u32),
        got,
        "seed {seed}: alone and in the plan alike"
    );
    let access = AccessTable::default();
    for (key, member) in members.iter().enumerate() {
        let expected: Vec<u64> = sent
            .iter()
            .zip(1..)
            .filter(|(event, _)| may_receive(&access, member, event))
            .map(|(_, id)| id)
            .collect();
        assert_eq!(got[key], expected, "seed {seed}, connection {key}");
    }
}

pub(in crate::reactor) fn random_event(
    random: &mut fastrand::Rng,
    name: &impl Fn(&mut fastrand::Rng) -> String,
) -> Sent {
    let kinds = [
        EventType::OrderDeleted,
        EventType::ProductDeleted,
        EventType::PaymentRefunded,
    ];
    let kind = *random.choice(&kinds).unwrap();
    let names = |random: &mut fastrand::Rng| -> Vec<String> {
        (0..random.usize(1..4)).map(|_| name(random)).collect()
    };
    Sent {
        kind,
        customer: (kind != EventType::ProductDeleted).then(|| name(random)),
        roles: (random.u8(0..4) == 0).then(|| {
            (0..random.usize(1..3))
                .map(|_| *random.choice(&Role::IN_TOKENS).unwrap())
                .collect()
        }),
        users: (random.u8(0..4) == 0).then(|| names(random)),
        owners: if random.u8(0..4) == 0 {
            names(random)
        } else {
            Vec::new()
        },
        excluded: if random.u8(0..4) == 0 {
            names(random)
        } else {
            Vec::new()
        },
        session: (random.u8(0..4) == 0).then(|| format!("s{}", random.u8(0..30))),
    }
}

pub(in crate::reactor) fn line_of(event: &Sent) -> String {
    let mut data =
        serde_json::json!({ "orderId": "o", "productId": "p", "paymentId": "y", "amount": 1 });
    if let Some(customer) = &event.customer {
        data["customerId"] = customer.as_str().into();
    }
    let mut to = serde_json::Map::new();
    if let Some(roles) = &event.roles {
        to.insert(
            "roles".into(),
            roles.iter().map(|role| role.name()).collect(),
        );
    }
    if let Some(users) = &event.users {
        to.insert("userIds".into(), users.clone().into());
    }
    if !event.owners.is_empty() {
        to.insert("owners".into(), event.owners.clone().into());
    }
    to.insert("excludeUserIds".into(), event.excluded.clone().into());
    if let Some(session) = &event.session {
        to.insert("excludeSessionId".into(), session.as_str().into());
    }
    serde_json::json!({ "type": event.kind.name(), "data": data, "to": to }).to_string()
}

pub(in crate::reactor) fn may_receive(access: &AccessTable, member: &Member, event: &Sent) -> bool {
    let is_public = member.role == Role::Public;
    let bears = |names: &[String]| !is_public && names.contains(&member.user);
    let owns = event
        .customer
        .as_ref()
        .is_some_and(|customer| !is_public && *customer == member.user)
        || bears(&event.owners)
        || event.users.as_ref().is_some_and(|users| bears(users));
    let table = match access.get(member.role, event.kind.namespace()) {
        Access::All => true,
        Access::Own => owns,
        Access::None => false,
    };
    table
        && member.namespaces.contains(&event.kind.namespace())
        && event
            .roles
            .as_ref()
            .is_none_or(|roles| roles.contains(&member.role))
        && event.users.as_ref().is_none_or(|users| bears(users))
        && !bears(&event.excluded)
        && event
            .session
            .as_ref()
            .is_none_or(|session| is_public || *session != member.session)
}
