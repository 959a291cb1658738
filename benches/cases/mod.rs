//! The hot path's cases, one by one: what both harnesses measure.
//!
//! `time` (divan) and `instructions` (gungraun) include this folder and each turn the table
//! [`for_each_case`] into benchmarks of their own. So a case is written once, and its time and its
//! count are of the same work on the same input. A case makes its input ready, does its work once
//! and checks the outcome; only then does a harness measure the [`Work`].
//!
//! Nothing here may depend on luck, or a count would change from run to run: ids are hashed by
//! [`NameHasher::fixed`](shopwire::event::NameHasher::fixed), tokens are signed beforehand, and no
//! work reads a clock.

pub mod audience;
pub mod events;
pub mod frames;
pub mod lines;
pub mod replays;
pub mod rings;
pub mod tokens;

/// A piece of work that is ready to be done, any number of times, at the same cost each.
pub type Work = Box<dyn FnMut()>;

/// Calls the macro `$harness` with every case: `group { name = its Work, … } …`.
macro_rules! for_each_case {
    ($harness:ident) => {
        $harness! {
            parse {
                order_created = cases::events::parse(EventType::OrderCreated),
                order_updated = cases::events::parse(EventType::OrderUpdated),
                order_status_changed = cases::events::parse(EventType::OrderStatusChanged),
                order_deleted = cases::events::parse(EventType::OrderDeleted),
                customer_activity = cases::events::parse(EventType::CustomerActivity),
                customer_viewing_product = cases::events::parse(EventType::CustomerViewingProduct),
                customer_added_to_cart = cases::events::parse(EventType::CustomerAddedToCart),
                customer_online = cases::events::parse(EventType::CustomerOnline),
                customer_offline = cases::events::parse(EventType::CustomerOffline),
                inventory_updated = cases::events::parse(EventType::InventoryUpdated),
                inventory_low_stock = cases::events::parse(EventType::InventoryLowStock),
                inventory_out_of_stock = cases::events::parse(EventType::InventoryOutOfStock),
                inventory_restocked = cases::events::parse(EventType::InventoryRestocked),
                product_price_changed = cases::events::parse(EventType::ProductPriceChanged),
                product_created = cases::events::parse(EventType::ProductCreated),
                product_updated = cases::events::parse(EventType::ProductUpdated),
                product_deleted = cases::events::parse(EventType::ProductDeleted),
                payment_received = cases::events::parse(EventType::PaymentReceived),
                payment_failed = cases::events::parse(EventType::PaymentFailed),
                payment_refunded = cases::events::parse(EventType::PaymentRefunded),
                system_notification = cases::events::parse(EventType::SystemNotification),
                system_alert = cases::events::parse(EventType::SystemAlert),
                system_maintenance = cases::events::parse(EventType::SystemMaintenance),
            }
            encode {
                order = cases::events::encode(1),
                hundred_orders = cases::events::encode(100),
            }
            ingest {
                hundred_orders = cases::events::ingest(100),
            }
            route {
                event_to_8_shards = cases::rings::route_event(8),
                block_to_8_shards = cases::rings::route_block(8),
            }
            ring {
                single = cases::rings::pass(1),
                batch_of_64 = cases::rings::pass(64),
            }
            audience {
                broadcast_10 = cases::audience::broadcast(10),
                broadcast_1000 = cases::audience::broadcast(1_000),
                broadcast_10000 = cases::audience::broadcast(10_000),
                own_10 = cases::audience::own(10),
                own_1000 = cases::audience::own(1_000),
                own_10000 = cases::audience::own(10_000),
            }
            batch {
                class_10 = cases::audience::class_batch(10),
                class_1000 = cases::audience::class_batch(1_000),
                class_10000 = cases::audience::class_batch(10_000),
                touched_10 = cases::audience::touched_batches(10),
                touched_1000 = cases::audience::touched_batches(1_000),
                touched_10000 = cases::audience::touched_batches(10_000),
            }
            replay {
                block_all = cases::replays::all_of_a_block(),
                block_own = cases::replays::own_of_a_block(),
                since_in_64_mib = cases::replays::since(),
                last_100_in_64_mib = cases::replays::last(100),
            }
            frame {
                header = cases::frames::header(),
                unmask_4_kib = cases::frames::unmask(4096),
                message = cases::frames::message(),
                message_in_3_fragments = cases::frames::fragments(),
                message_in_2_reads = cases::frames::two_reads(),
            }
            token {
                hs256 = cases::tokens::hs256(),
                es256 = cases::tokens::es256(),
                rs256 = cases::tokens::rs256(),
            }
        }
    };
}
pub(crate) use for_each_case;

/// Holds the table against the catalogue: a new type needs a case.
macro_rules! count_parsed_types {
    (parse { $($kind:ident = $work:expr,)* } $($rest:tt)*) => {
        const _: () = assert!(
            [$(stringify!($kind)),*].len() == shopwire::event::EventType::ALL.len(),
            "every event type needs its case in the group `parse`"
        );
    };
}
for_each_case!(count_parsed_types);
