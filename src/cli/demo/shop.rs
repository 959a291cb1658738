//! The shop that `emit --demo` plays: customers, carts, orders, stock, prices, payments.
//!
//! Pure: a seed and the time of day in, events out. It keeps its own books, so that what it tells
//! fits together: stock falls by what was ordered, a low one is restocked, an order moves on after
//! its payment. One happening may bring several events; they come one at a time.

use std::collections::VecDeque;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::event::EventType;

/// Who comes to the shop. The first one is whom `serve --dev` hands out a customer's token for.
pub(super) const CUSTOMERS: [(&str, &str); 16] = [
    ("dev-customer", "Dana Whitfield"),
    ("c-1001", "Ada Okafor"),
    ("c-1002", "Bruno Keller"),
    ("c-1003", "Chiara Rossi"),
    ("c-1004", "Daniel Novak"),
    ("c-1005", "Elif Yılmaz"),
    ("c-1006", "Finn O’Brien"),
    ("c-1007", "Grace Lindqvist"),
    ("c-1008", "Hugo Martínez"),
    ("c-1009", "Ines Duarte"),
    ("c-1010", "Jun Takahashi"),
    ("c-1011", "Katja Schäfer"),
    ("c-1012", "Liam Nguyen"),
    ("c-1013", "Maya Patel"),
    ("c-1014", "Noor Haddad"),
    ("c-1015", "Oskar Wiśniewski"),
];
/// One visit in so many is the first customer's.
const FIRST_CUSTOMER_SHARE: usize = 4;

/// Name, sku, price in cents, usual stock.
const PRODUCTS: [(&str, &str, u32, u32); 12] = [
    ("Walnut desk lamp", "LMP-WAL-01", 8_900, 24),
    ("Linen cushion", "CSH-LIN-04", 3_450, 40),
    ("Stoneware mug, set of 4", "MUG-STN-4", 4_200, 36),
    ("Merino throw", "THR-MER-02", 12_900, 14),
    ("Oak side table", "TBL-OAK-07", 24_900, 9),
    ("Beeswax candle", "CND-BEE-11", 1_890, 60),
    ("Wool rug 160×230", "RUG-WOL-23", 38_900, 6),
    ("Brass wall hook", "HOK-BRS-03", 1_250, 48),
    ("Carafe with tumbler", "CRF-GLS-02", 3_990, 22),
    ("Cotton bath towel", "TWL-COT-06", 2_790, 52),
    ("Ceramic planter", "PLT-CER-09", 3_290, 18),
    ("Bookend pair", "BKE-STL-02", 2_490, 26),
];

const VISITORS_MAX: usize = 9;
const OPEN_ORDERS_MAX: usize = 14;
const CART_MAX: usize = 3;
/// Happenings between two system messages, about.
const NOTICE_EVERY: u32 = 45;

const NOTICES: [(&str, &str, &str); 5] = [
    (
        "Carrier pickup at 16:00",
        "Parcels packed by 15:30 leave today.",
        "info",
    ),
    (
        "Payment provider slow",
        "Card payments take up to 20 s. Nothing to do; we are watching it.",
        "warning",
    ),
    (
        "Payment provider back to normal",
        "Card payments are as quick as usual.",
        "success",
    ),
    (
        "Label printer 2 out of paper",
        "Packing continues on printer 1.",
        "warning",
    ),
    (
        "Nightly price import finished",
        "12 products checked, none rejected.",
        "success",
    ),
];

/// One event of the shop.
#[derive(Debug)]
pub(super) struct Event {
    /// Its type.
    pub(super) kind: EventType,
    /// Its data.
    pub(super) data: Value,
    /// Tells how things stand when the shop opens: no need to wait before the next one.
    pub(super) is_opening: bool,
}

/// The shop and its books.
pub(super) struct Shop {
    rng: Rng,
    now_ms: u64,
    /// Events that have happened and were not told yet.
    untold: VecDeque<Event>,
    products: Vec<Product>,
    visits: Vec<Visit>,
    orders: Vec<Order>,
    next_order: u64,
    next_payment: u64,
    until_notice: u32,
}

struct Product {
    id: String,
    name: &'static str,
    sku: &'static str,
    cents: u32,
    stock: u32,
    usual: u32,
}

impl Product {
    fn threshold(&self) -> u32 {
        self.usual / 4
    }

    fn is_low(&self) -> bool {
        self.stock <= self.threshold()
    }
}

struct Visit {
    customer: usize,
    cart: Vec<(usize, u32)>,
}

struct Order {
    id: String,
    customer: usize,
    items: Vec<(usize, u32)>,
    cents: u32,
    status: &'static str,
    payment: Payment,
}

#[derive(PartialEq)]
enum Payment {
    Failed,
    Received(String),
}

impl Shop {
    /// A shop whose order numbers begin behind `first`; the same seed and times make the same one.
    pub(super) fn open(seed: u64, first: u64) -> Shop {
        let mut rng = Rng::with_seed(seed);
        let products = PRODUCTS.iter().enumerate();
        let products = products.map(|(index, &(name, sku, cents, usual))| Product {
            id: format!("p-{:02}", index + 1),
            name,
            sku,
            cents,
            stock: rng.u32(usual / 3..=usual),
            usual,
        });
        let mut shop = Shop {
            products: products.collect(),
            rng,
            now_ms: 0,
            untold: VecDeque::new(),
            visits: Vec::new(),
            orders: Vec::new(),
            next_order: 100_000 + first % 900_000,
            next_payment: 1,
            until_notice: NOTICE_EVERY / 4,
        };
        for index in 0..shop.products.len() {
            shop.count_stock(index);
        }
        for event in &mut shop.untold {
            event.is_opening = true;
        }
        shop
    }

    /// The next event, as of `now_ms`.
    pub(super) fn next(&mut self, now_ms: u64) -> Event {
        self.now_ms = now_ms;
        loop {
            if let Some(event) = self.untold.pop_front() {
                return event;
            }
            self.happen();
        }
    }

    /// Lets one thing happen, if it can just now.
    fn happen(&mut self) {
        self.until_notice = self.until_notice.saturating_sub(1);
        if self.until_notice == 0 {
            return self.notice();
        }
        match self.rng.u32(0..100) {
            0..12 if self.visits.len() < VISITORS_MAX => self.arrive(),
            // The more are open the more moves, so that there are some at each step and none waits for ever.
            58..88 if self.orders.len() > self.rng.usize(0..OPEN_ORDERS_MAX) => {
                self.move_an_order();
            }
            12..88 if !self.visits.is_empty() => self.go_on_visiting(),
            88..94 => self.restock(),
            94..97 => self.change_a_price(),
            97..99 => self.give_back(),
            _ => {}
        }
    }

    fn tell(&mut self, kind: EventType, data: Value) {
        self.untold.push_back(Event {
            kind,
            data,
            is_opening: false,
        });
    }

    /// The ids of those who are in the shop.
    pub(super) fn visitors(&self) -> Vec<&'static str> {
        let ids = self.visits.iter().map(|visit| CUSTOMERS[visit.customer].0);
        ids.collect()
    }

    // Customers.

    fn arrive(&mut self) {
        let customer = match self.rng.usize(0..FIRST_CUSTOMER_SHARE) {
            0 => 0,
            _ => self.rng.usize(1..CUSTOMERS.len()),
        };
        if self.visits.iter().any(|visit| visit.customer == customer) {
            return;
        }
        self.visits.push(Visit {
            customer,
            cart: Vec::new(),
        });
        let product = self.rng.usize(0..self.products.len());
        self.activity(customer, "viewing", Some(product));
    }

    fn go_on_visiting(&mut self) {
        let at = self.rng.usize(0..self.visits.len());
        let product = self.rng.usize(0..self.products.len());
        let Visit { customer, cart } = &self.visits[at];
        let (customer, has_cart, is_full) = (*customer, !cart.is_empty(), cart.len() >= CART_MAX);
        match self.rng.u32(0..100) {
            0..35 => {
                let duration = self.rng.u32(2_000..90_000);
                let shown = &self.products[product];
                let data = json!({"customerId": CUSTOMERS[customer].0, "productId": shown.id,
                    "productName": shown.name, "duration": duration});
                self.tell(EventType::CustomerViewingProduct, data);
            }
            35..65 if !is_full && self.products[product].stock > 0 => self.add_to_cart(at, product),
            65..69 if has_cart => {
                let (product, _) = self.visits[at].cart.remove(0);
                self.activity(customer, "cart_remove", Some(product));
            }
            69..92 if has_cart => self.check_out(at),
            92.. if !has_cart => {
                self.visits.swap_remove(at);
            }
            _ => self.activity(customer, "viewing", Some(product)),
        }
    }

    fn add_to_cart(&mut self, visit: usize, product: usize) {
        let quantity = self.rng.u32(1..=3).min(self.products[product].stock);
        let Visit { customer, cart } = &mut self.visits[visit];
        match cart.iter_mut().find(|(there, _)| *there == product) {
            Some((_, count)) => *count += quantity,
            None => cart.push((product, quantity)),
        }
        let (customer, added) = (CUSTOMERS[*customer].0, &self.products[product]);
        let data = json!({"customerId": customer, "productId": added.id, "productName": added.name,
            "quantity": quantity});
        self.tell(EventType::CustomerAddedToCart, data);
    }

    fn activity(&mut self, customer: usize, action: &str, product: Option<usize>) {
        let (id, name) = CUSTOMERS[customer];
        let mut data = json!({"customerId": id, "customerName": name, "action": action,
            "timestamp": self.now_ms});
        if let Some(product) = product {
            data["productId"] = self.products[product].id.as_str().into();
            data["productName"] = self.products[product].name.into();
        }
        self.tell(EventType::CustomerActivity, data);
    }

    fn check_out(&mut self, visit: usize) {
        if self.orders.len() >= OPEN_ORDERS_MAX {
            return self.move_an_order();
        }
        let Visit { customer, cart } = self.visits.swap_remove(visit);
        // Others may have bought it meanwhile.
        let items: Vec<(usize, u32)> = cart
            .into_iter()
            .map(|(product, count)| (product, count.min(self.products[product].stock)))
            .filter(|&(_, count)| count > 0)
            .collect();
        if items.is_empty() {
            return;
        }
        let prices = items
            .iter()
            .map(|&(product, count)| self.products[product].cents * count);
        let cents = prices.sum();
        self.next_order += 1;
        let order = Order {
            id: format!("o-{}", self.next_order),
            customer,
            items,
            cents,
            status: "pending",
            payment: Payment::Failed,
        };
        let (customer_id, name) = CUSTOMERS[customer];
        let channel = ["web", "web", "app", "shop"][self.rng.usize(0..4)];
        self.activity(customer, "checkout_complete", None);
        self.tell(
            EventType::OrderCreated,
            json!({"orderId": order.id, "customerId": customer_id, "customerName": name,
                "total": money(cents), "status": "pending", "channel": channel}),
        );
        for &(product, count) in &order.items {
            self.sell(product, count);
        }
        self.orders.push(order);
        self.pay(self.orders.len() - 1);
    }

    // Orders and payments.

    /// Tries the payment of an order.
    fn pay(&mut self, order: usize) {
        let succeeds = self.rng.u32(0..100) < 88;
        let method = ["card", "card", "paypal", "invoice"][self.rng.usize(0..4)];
        let payment = format!("pay-{}-{}", self.next_order, self.next_payment);
        self.next_payment += 1;
        let Order {
            id,
            customer,
            cents,
            payment: state,
            ..
        } = &mut self.orders[order];
        let mut data = json!({"paymentId": payment, "orderId": id, "customerId": CUSTOMERS[*customer].0,
            "amount": money(*cents)});
        if succeeds {
            *state = Payment::Received(payment);
            data["method"] = method.into();
            data["status"] = "success".into();
            self.tell(EventType::PaymentReceived, data);
        } else {
            let reasons = [
                "Card declined by the bank",
                "3-D Secure timed out",
                "Insufficient funds",
            ];
            data["reason"] = reasons[self.rng.usize(0..reasons.len())].into();
            data["retryable"] = true.into();
            self.tell(EventType::PaymentFailed, data);
        }
    }

    fn move_an_order(&mut self) {
        let at = self.rng.usize(0..self.orders.len());
        let order = &self.orders[at];
        let is_paid = order.payment != Payment::Failed;
        let next = match order.status {
            "pending" if !is_paid => return self.pay(at),
            "pending" if self.rng.u32(0..100) < 6 => return self.cancel(at),
            "pending" => "processing",
            "processing" => "shipped",
            _ => "delivered",
        };
        self.set_status(at, next);
        if next == "delivered" {
            self.orders.swap_remove(at);
        }
    }

    fn set_status(&mut self, order: usize, status: &'static str) {
        let order = &mut self.orders[order];
        let (customer_id, name) = CUSTOMERS[order.customer];
        let before = std::mem::replace(&mut order.status, status);
        let data = json!({"orderId": order.id, "customerId": customer_id, "customerName": name,
            "oldStatus": before, "newStatus": status, "timestamp": self.now_ms});
        self.tell(EventType::OrderStatusChanged, data);
    }

    fn cancel(&mut self, order: usize) {
        self.set_status(order, "cancelled");
        let order = self.orders.swap_remove(order);
        if let Payment::Received(payment) = &order.payment {
            let data = json!({"paymentId": payment, "orderId": order.id,
                "customerId": CUSTOMERS[order.customer].0, "amount": money(order.cents),
                "reason": "Order cancelled"});
            self.tell(EventType::PaymentRefunded, data);
        }
        for (product, count) in order.items {
            self.set_stock(product, self.products[product].stock + count, "return");
        }
    }

    // Goods.

    fn count_stock(&mut self, product: usize) {
        self.set_stock(product, self.products[product].stock, "adjustment");
        if self.products[product].is_low() {
            self.warn_of_low_stock(product);
        }
    }

    fn sell(&mut self, product: usize, count: u32) {
        let was_low = self.products[product].is_low();
        self.set_stock(product, self.products[product].stock - count, "sale");
        let sold = &self.products[product];
        if sold.stock == 0 {
            let data = json!({"productId": sold.id, "productName": sold.name, "sku": sold.sku});
            self.tell(EventType::InventoryOutOfStock, data);
        } else if sold.is_low() && !was_low {
            self.warn_of_low_stock(product);
        }
    }

    fn warn_of_low_stock(&mut self, product: usize) {
        let low = &self.products[product];
        let severity = if low.stock <= low.threshold() / 3 {
            "critical"
        } else {
            "low"
        };
        let data = json!({"productId": low.id, "productName": low.name, "sku": low.sku,
            "currentStock": low.stock, "threshold": low.threshold(), "severity": severity});
        self.tell(EventType::InventoryLowStock, data);
    }

    fn set_stock(&mut self, product: usize, stock: u32, reason: &str) {
        let product = &mut self.products[product];
        let before = std::mem::replace(&mut product.stock, stock);
        let data = json!({"productId": product.id, "productName": product.name, "sku": product.sku,
            "oldStock": before, "newStock": stock,
            "difference": i64::from(stock) - i64::from(before), "reason": reason});
        self.tell(EventType::InventoryUpdated, data);
    }

    /// The emptiest shelf that is low is filled again.
    fn restock(&mut self) {
        let low = (0..self.products.len()).filter(|&at| self.products[at].is_low());
        let Some(emptiest) = low.min_by_key(|&at| self.products[at].stock) else {
            return;
        };
        let added = self.products[emptiest].usual;
        let stock = self.products[emptiest].stock + added;
        self.set_stock(emptiest, stock, "restock");
        let filled = &self.products[emptiest];
        let data = json!({"productId": filled.id, "productName": filled.name, "sku": filled.sku,
            "newStock": stock, "addedQuantity": added});
        self.tell(EventType::InventoryRestocked, data);
    }

    fn change_a_price(&mut self) {
        let at = self.rng.usize(0..self.products.len());
        let usual = PRODUCTS[at].2;
        // Back to the list price, or a reduction of 5 to 30 percent.
        let percent = 100 - 5 * self.rng.u32(1..=6);
        let product = &mut self.products[at];
        let price = match product.cents == usual {
            true => usual * percent / 100,
            false => usual,
        };
        let before = std::mem::replace(&mut product.cents, price);
        let change = (f64::from(price) / f64::from(before) - 1.0) * 100.0;
        let data = json!({"productId": product.id, "productName": product.name, "sku": product.sku,
            "oldPrice": money(before), "newPrice": money(price),
            "changePercentage": (change * 10.0).round() / 10.0});
        self.tell(EventType::ProductPriceChanged, data);
    }

    /// Something comes back from a customer of yesterday.
    fn give_back(&mut self) {
        let product = self.rng.usize(0..self.products.len());
        if self.products[product].stock < self.products[product].usual {
            self.set_stock(product, self.products[product].stock + 1, "return");
        }
    }

    fn notice(&mut self) {
        self.until_notice = self.rng.u32(NOTICE_EVERY / 2..NOTICE_EVERY * 3 / 2);
        let (title, message, severity) = NOTICES[self.rng.usize(0..NOTICES.len())];
        let data = json!({"title": title, "message": message, "severity": severity});
        self.tell(EventType::SystemNotification, data);
    }
}

/// Cents as the catalogue's amounts are.
fn money(cents: u32) -> f64 {
    f64::from(cents) / 100.0
}

#[cfg(test)]
#[path = "shop_tests.rs"]
mod tests;
