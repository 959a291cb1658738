//! What becomes of a host's own batches, on paper.

use super::*;

fn receipt(batch: u64, first: u64, repeats: &[(u32, u64)]) -> Receipt {
    Receipt {
        batch,
        first,
        repeats: repeats.to_vec(),
        is_stored: false,
    }
}

fn given(batches: &[(u64, RangeInclusive<u64>)]) -> (OwnBatches, Instant) {
    let (mut own, now) = (OwnBatches::default(), Instant::now());
    for (number, events) in batches {
        let block = Arc::new(Block::of_frames(Vec::new(), now));
        own.give(*number, events.clone(), (100, Some(block)), now, now);
    }
    (own, now)
}

#[test]
fn events_are_named_as_the_receipt_says() {
    let (mut own, now) = given(&[(1, 1..=4), (3, 6..=6)]);
    let since = Since {
        received: now,
        given: now,
    };
    let read = own.read(receipt(1, 1000, &[(1, 70), (2, 71)]));
    assert_eq!(read, Some(ReadBack::Waited(since)));
    assert_eq!(own.resolved_to(), 4);
    assert!(own.take_news() && !own.take_news());
    let number = |called: Called| (called.alone.is_none()).then_some(called.number);
    let names = [1, 2, 3, 4].map(|each| own.name(each, HOST).and_then(number));
    assert_eq!(names, [Some(1000), Some(70), Some(71), Some(1001)]);
    assert_eq!(own.name(6, HOST), None);
    own.forget_names();
    assert_eq!(own.name(1, HOST), None);
    assert_eq!((own.weight(), own.events()), (100, 1));
    assert_eq!(own.read(receipt(1, 1000, &[])), None, "once");
    assert_eq!(own.read(receipt(2, 1000, &[])), None, "of nobody");
}

const NOTHING: u64 = 0;
const HOST: u64 = 0xab;

#[test]
fn what_is_delivered_alone_is_named_at_once_and_still_to_come() {
    let (mut own, now) = given(&[(1, 1..=2), (2, 3..=3)]);
    own.read(receipt(1, 1000, &[]));
    let taken = own.deliver_alone(1001, 1001);
    assert_eq!(
        taken.iter().map(|(batch, _)| *batch).collect::<Vec<_>>(),
        [2]
    );
    assert!(own.deliver_alone(1001, 1001).is_empty(), "once");
    let block = Arc::new(Block::of_frames(Vec::new(), now));
    own.give(4, 4..=6, (100, Some(block)), now, now);
    assert_eq!(own.resolved_to(), 3);
    own.deliver_alone(1001, 1002);
    assert_eq!(
        (own.resolved_to(), own.events(), own.alone_events()),
        (6, 0, 4)
    );
    assert_eq!(own.alone(), Some((2, 4, 3)));
    own.forget_names();
    assert_eq!(own.name(1, HOST), None, "from before");
    let called = Called {
        number: 1001,
        alone: Some((
            Mark {
                host: HOST,
                batch: 4,
                place: 2,
            },
            1004,
        )),
    };
    for _ in 0..2 {
        assert_eq!(own.name(5, HOST), Some(called));
        own.forget_names();
    }
    assert!(!own.is_empty() && own.weight() == 200);
    own.expire(NOTHING, now + limits::CLUSTER_HOLD);
    assert!(own.take_lost().is_empty(), "nobody waits");
    assert_eq!(own.read(receipt(2, 1002, &[])), Some(ReadBack::Delivered));
    assert_eq!(own.read(receipt(4, 1003, &[])), Some(ReadBack::Delivered));
    assert_eq!(own.read(receipt(4, 1003, &[])), None, "once");
    assert!(own.is_empty() && own.weight() == 0 && own.alone_events() == 0);
    assert_eq!(own.name(5, HOST), None);
}

#[test]
fn what_redis_has_had_and_does_not_tell_is_given_up() {
    let (mut own, now) = given(&[(1, 1..=1), (2, 2..=2)]);
    own.deliver_alone(9, 9);
    let later = now + limits::CLUSTER_UNREAD;
    assert_eq!(own.give_up_unread(0, true, now), None, "it has none");
    assert_eq!(own.give_up_unread(1, false, now), None);
    assert_eq!(own.give_up_unread(1, true, now), None);
    assert_eq!(own.deadline(1), Some(later));
    assert_eq!(
        own.give_up_unread(1, false, later),
        None,
        "out of reach again"
    );
    assert_eq!(own.give_up_unread(1, true, later), None, "since now");
    let later = later + limits::CLUSTER_UNREAD;
    assert_eq!(own.give_up_unread(1, true, later), Some(1));
    assert_eq!(own.alone(), Some((2, 2, 1)));
    assert_eq!(own.read(receipt(2, 10, &[])), Some(ReadBack::Delivered));
}

#[test]
fn what_is_lost_waits_for_what_came_before() {
    let (mut own, now) = given(&[(1, 1..=1), (2, 2..=3), (4, 5..=5)]);
    own.expire(1, now + limits::CLUSTER_HOLD);
    assert!(!own.take_news());
    own.read(receipt(1, 10, &[]));
    assert_eq!(own.resolved_to(), 5);
    assert_eq!(own.take_lost(), [2..=3, 5..=5]);
    assert!(own.take_lost().is_empty());
    assert_eq!(own.read(receipt(2, 11, &[])), None, "it has come after all");
    assert!(own.is_empty() && own.weight() == 0 && own.events() == 0);
}

#[test]
fn what_is_not_written_in_time_is_given_up_and_what_is_written_waits_longer() {
    let (mut own, now) = given(&[(1, 1..=1), (2, 2..=2)]);
    assert_eq!(own.deadline(NOTHING), Some(now + limits::CLUSTER_HOLD));
    own.expire(
        NOTHING,
        now + limits::CLUSTER_HOLD - Duration::from_millis(1),
    );
    assert!(own.take_lost().is_empty());
    // The first one was written meanwhile.
    assert_eq!(own.deadline(1), Some(now + limits::CLUSTER_HOLD));
    own.expire(1, now + limits::CLUSTER_HOLD);
    assert!(own.take_lost().is_empty(), "they keep their order");
    assert_eq!(own.deadline(1), Some(now + limits::CLUSTER_UNREAD));
    own.expire(1, now + limits::CLUSTER_UNREAD);
    assert_eq!(own.take_lost(), [1..=1, 2..=2]);
    assert_eq!(own.deadline(NOTHING), None);
}
