//! Ingest lines as a shop writes them.

use shopwire::event::EventType;

/// A line of this type, with all the fields that the catalogue has for it.
pub fn of(kind: EventType) -> &'static str {
    match kind {
        EventType::OrderCreated => {
            r#"{"type":"order:created","data":{"orderId":"ord-48213","customerId":"cus-731","customerName":"Ada Lovelace","total":129.95,"status":"pending","channel":"web"},"key":"ord-48213-created"}"#
        }
        EventType::OrderUpdated => {
            r#"{"type":"order:updated","data":{"orderId":"ord-48213","customerId":"cus-731","changes":{"note":"ring twice","items":[{"sku":"TP-1","quantity":2},{"sku":"CU-4","quantity":6}]}}}"#
        }
        EventType::OrderStatusChanged => {
            r#"{"type":"order:status_changed","data":{"orderId":"ord-48213","customerId":"cus-731","customerName":"Ada Lovelace","oldStatus":"processing","newStatus":"shipped","timestamp":1700000000000}}"#
        }
        EventType::OrderDeleted => {
            r#"{"type":"order:deleted","data":{"orderId":"ord-48213","customerId":"cus-731"}}"#
        }
        EventType::CustomerActivity => {
            r#"{"type":"customer:activity","data":{"customerId":"cus-731","customerName":"Ada Lovelace","action":"checkout_start","productId":"pro-17","productName":"Teapot","timestamp":1700000000000}}"#
        }
        EventType::CustomerViewingProduct => {
            r#"{"type":"customer:viewing_product","data":{"customerId":"cus-731","productId":"pro-17","productName":"Teapot","duration":5400}}"#
        }
        EventType::CustomerAddedToCart => {
            r#"{"type":"customer:added_to_cart","data":{"customerId":"cus-731","productId":"pro-17","productName":"Teapot","quantity":2}}"#
        }
        EventType::CustomerOnline => {
            r#"{"type":"customer:online","data":{"customerId":"cus-731","isOnline":true,"lastSeen":1700000000000}}"#
        }
        EventType::CustomerOffline => {
            r#"{"type":"customer:offline","data":{"customerId":"cus-731","isOnline":false,"lastSeen":1700000000000}}"#
        }
        EventType::InventoryUpdated => {
            r#"{"type":"inventory:updated","data":{"productId":"pro-17","productName":"Teapot","sku":"TP-1","oldStock":12,"newStock":9,"difference":-3,"reason":"sale"}}"#
        }
        EventType::InventoryLowStock => {
            r#"{"type":"inventory:low_stock","data":{"productId":"pro-17","productName":"Teapot","sku":"TP-1","currentStock":2,"threshold":5,"severity":"critical"}}"#
        }
        EventType::InventoryOutOfStock => {
            r#"{"type":"inventory:out_of_stock","data":{"productId":"pro-17","productName":"Teapot","sku":"TP-1"}}"#
        }
        EventType::InventoryRestocked => {
            r#"{"type":"inventory:restocked","data":{"productId":"pro-17","productName":"Teapot","sku":"TP-1","newStock":42,"addedQuantity":40}}"#
        }
        EventType::ProductPriceChanged => {
            r#"{"type":"product:price_changed","data":{"productId":"pro-17","productName":"Teapot","sku":"TP-1","oldPrice":20,"newPrice":17.5,"changePercentage":-12.5}}"#
        }
        EventType::ProductCreated => {
            r#"{"type":"product:created","data":{"productId":"pro-18","productName":"Teapot, large","category":"kitchen","price":32.9}}"#
        }
        EventType::ProductUpdated => {
            r#"{"type":"product:updated","data":{"productId":"pro-17","changes":{"description":"Stoneware, 1.2 litres","tags":["kitchen","tea"]}}}"#
        }
        EventType::ProductDeleted => r#"{"type":"product:deleted","data":{"productId":"pro-17"}}"#,
        EventType::PaymentReceived => {
            r#"{"type":"payment:received","data":{"paymentId":"pay-5520","orderId":"ord-48213","customerId":"cus-731","amount":129.95,"method":"card","status":"success"}}"#
        }
        EventType::PaymentFailed => {
            r#"{"type":"payment:failed","data":{"paymentId":"pay-5520","orderId":"ord-48213","customerId":"cus-731","amount":129.95,"reason":"card declined","retryable":true}}"#
        }
        EventType::PaymentRefunded => {
            r#"{"type":"payment:refunded","data":{"paymentId":"pay-5520","orderId":"ord-48213","customerId":"cus-731","amount":64.5,"reason":"one cup arrived broken"}}"#
        }
        EventType::SystemNotification => {
            r#"{"type":"system:notification","data":{"title":"Stock count","message":"The stock count begins at ten","severity":"info","targetRoles":["admin","staff"],"actionUrl":"/admin/stock"}}"#
        }
        EventType::SystemAlert => {
            r#"{"type":"system:alert","data":{"title":"Payments","message":"The card provider answers slowly","severity":"warning","targetRoles":["admin","manager"]}}"#
        }
        EventType::SystemMaintenance => {
            r#"{"type":"system:maintenance","data":{"message":"We are back at six","scheduledAt":1700000000000,"duration":3600000}}"#
        }
    }
}

/// An order of the customer `cus-{customer}`.
pub fn order(number: usize, customer: usize) -> String {
    format!(
        r#"{{"type":"order:created","data":{{"orderId":"ord-{number}","customerId":"cus-{customer}","customerName":"Ada Lovelace","total":129.95,"status":"pending","channel":"web","note":"leave it with the neighbour at number twelve, please"}},"key":"ord-{number}-created"}}"#
    )
}

/// A new price, for everybody.
pub fn price(number: usize) -> String {
    format!(
        r#"{{"type":"product:price_changed","data":{{"productId":"pro-{number}","productName":"Teapot","sku":"TP-1","oldPrice":20,"newPrice":18,"changePercentage":-10}}}}"#
    )
}

/// A new stock, which customers may not see.
pub fn stock(number: usize) -> String {
    format!(
        r#"{{"type":"inventory:updated","data":{{"productId":"pro-{number}","productName":"Teapot","sku":"TP-1","oldStock":12,"newStock":9,"difference":-3,"reason":"sale"}}}}"#
    )
}
