// Made by `shopwire schema --typescript` from the server's event catalogue. Do not edit it.

/** A role that a token can carry; a connection without a token is public. */
export type Role = 'admin' | 'manager' | 'staff' | 'customer' | 'guest';

/** What a client subscribes to: a family of event types. */
export type Namespace = 'orders' | 'customers' | 'products' | 'inventory' | 'payments' | 'system';

/** An order's status: one of those that every shop has, or of the server's `[orders] statuses`. */
export type OrderStatus = 'pending' | 'processing' | 'shipped' | 'delivered' | 'cancelled' | (string & {});

/** `order:created`: A customer placed an order. */
export interface OrderCreated {
  /** The order's id. It must be a string of 1 to 128 characters, none of them a control character. */
  orderId: string;
  /** The id of the customer, who owns the event. It must be a string of 1 to 128 characters, none of them a control character. */
  customerId: string;
  /** The customer's name. It must be a string of at most 4096 bytes. */
  customerName: string;
  /** What the order costs, in the shop's currency. It must be a number, 0 or more. */
  total: number;
  /** The status it begins with. */
  status: OrderStatus;
  /** Where it was placed, such as web. It must be a string of at most 4096 bytes. */
  channel: string;
}

/** `order:updated`: An order's content changed. */
export interface OrderUpdated {
  /** The order's id. It must be a string of 1 to 128 characters, none of them a control character. */
  orderId: string;
  /** The id of the customer, who owns the event. It must be a string of 1 to 128 characters, none of them a control character. */
  customerId?: string;
  /** The fields that changed, with their new values. */
  changes: Record<string, unknown>;
}

/** `order:status_changed`: An order moved on. */
export interface OrderStatusChanged {
  /** The order's id. It must be a string of 1 to 128 characters, none of them a control character. */
  orderId: string;
  /** The id of the customer, who owns the event. It must be a string of 1 to 128 characters, none of them a control character. */
  customerId: string;
  /** The customer's name. It must be a string of at most 4096 bytes. */
  customerName: string;
  /** The status it had. */
  oldStatus: OrderStatus;
  /** The status it has now. */
  newStatus: OrderStatus;
  /** When it moved on. It must be milliseconds since 1970 without a fraction, 0 to 9007199254740991. */
  timestamp: number;
}

/** `order:deleted`: An order was removed. */
export interface OrderDeleted {
  /** The order's id. It must be a string of 1 to 128 characters, none of them a control character. */
  orderId: string;
  /** The id of the customer, who owns the event. It must be a string of 1 to 128 characters, none of them a control character. */
  customerId?: string;
}

/** `customer:activity`: A customer did something in the shop. */
export interface CustomerActivity {
  /** The id of the customer, who owns the event. It must be a string of 1 to 128 characters, none of them a control character. */
  customerId: string;
  /** The customer's name. It must be a string of at most 4096 bytes. */
  customerName?: string;
  /** What the customer did. */
  action: 'viewing' | 'cart_add' | 'cart_remove' | 'checkout_start' | 'checkout_complete';
  /** The id of the product it was about. It must be a string of 1 to 128 characters, none of them a control character. */
  productId?: string;
  /** The name of the product it was about. It must be a string of at most 4096 bytes. */
  productName?: string;
  /** When it happened. It must be milliseconds since 1970 without a fraction, 0 to 9007199254740991. */
  timestamp: number;
}

/** `customer:viewing_product`: A customer looks at a product. */
export interface CustomerViewingProduct {
  /** The id of the customer, who owns the event. It must be a string of 1 to 128 characters, none of them a control character. */
  customerId: string;
  /** The product's id. It must be a string of 1 to 128 characters, none of them a control character. */
  productId: string;
  /** The product's name. It must be a string of at most 4096 bytes. */
  productName: string;
  /** How long the customer has looked at it, in ms. It must be a number, 0 or more. */
  duration?: number;
}

/** `customer:added_to_cart`: A customer put a product into the cart. */
export interface CustomerAddedToCart {
  /** The id of the customer, who owns the event. It must be a string of 1 to 128 characters, none of them a control character. */
  customerId: string;
  /** The product's id. It must be a string of 1 to 128 characters, none of them a control character. */
  productId: string;
  /** The product's name. It must be a string of at most 4096 bytes. */
  productName: string;
  /** How many were put into the cart. It must be a number without a fraction, 1 or more. */
  quantity: number;
}

/** `customer:online`: A customer's first connection opened. */
export interface CustomerOnline {
  /** The id of the customer, who owns the event. It must be a string of 1 to 128 characters, none of them a control character. */
  customerId: string;
  /** That the customer is here. */
  isOnline: true;
  /** When the customer was last seen. It must be milliseconds since 1970 without a fraction, 0 to 9007199254740991. */
  lastSeen: number;
}

/** `customer:offline`: A customer's last connection closed. */
export interface CustomerOffline {
  /** The id of the customer, who owns the event. It must be a string of 1 to 128 characters, none of them a control character. */
  customerId: string;
  /** That the customer is gone. */
  isOnline: false;
  /** When the customer was last seen. It must be milliseconds since 1970 without a fraction, 0 to 9007199254740991. */
  lastSeen: number;
}

/** `inventory:updated`: A product's stock changed. */
export interface InventoryUpdated {
  /** The product's id. It must be a string of 1 to 128 characters, none of them a control character. */
  productId: string;
  /** The product's name. It must be a string of at most 4096 bytes. */
  productName: string;
  /** The product's stock keeping unit. It must be a string of at most 4096 bytes. */
  sku: string;
  /** How many there were. */
  oldStock: number;
  /** How many there are now. */
  newStock: number;
  /** newStock - oldStock. */
  difference: number;
  /** Why it changed. */
  reason?: 'sale' | 'restock' | 'adjustment' | 'return';
}

/** `inventory:low_stock`: A product's stock fell below its threshold. */
export interface InventoryLowStock {
  /** The product's id. It must be a string of 1 to 128 characters, none of them a control character. */
  productId: string;
  /** The product's name. It must be a string of at most 4096 bytes. */
  productName: string;
  /** The product's stock keeping unit. It must be a string of at most 4096 bytes. */
  sku: string;
  /** How many are left. */
  currentStock: number;
  /** The stock below which it counts as low. */
  threshold: number;
  /** How urgent it is. */
  severity: 'low' | 'critical';
}

/** `inventory:out_of_stock`: A product is sold out. */
export interface InventoryOutOfStock {
  /** The product's id. It must be a string of 1 to 128 characters, none of them a control character. */
  productId: string;
  /** The product's name. It must be a string of at most 4096 bytes. */
  productName: string;
  /** The product's stock keeping unit. It must be a string of at most 4096 bytes. */
  sku: string;
}

/** `inventory:restocked`: A product came back into stock. */
export interface InventoryRestocked {
  /** The product's id. It must be a string of 1 to 128 characters, none of them a control character. */
  productId: string;
  /** The product's name. It must be a string of at most 4096 bytes. */
  productName: string;
  /** The product's stock keeping unit. It must be a string of at most 4096 bytes. */
  sku: string;
  /** How many there are now. */
  newStock: number;
  /** How many were added. */
  addedQuantity: number;
}

/** `product:price_changed`: A product's price changed. */
export interface ProductPriceChanged {
  /** The product's id. It must be a string of 1 to 128 characters, none of them a control character. */
  productId: string;
  /** The product's name. It must be a string of at most 4096 bytes. */
  productName: string;
  /** The product's stock keeping unit. It must be a string of at most 4096 bytes. */
  sku: string;
  /** What it cost, in the shop's currency. It must be a number, 0 or more. */
  oldPrice: number;
  /** What it costs now, in the shop's currency. It must be a number, 0 or more. */
  newPrice: number;
  /** The change in percent of the old price, below 0 if it fell. */
  changePercentage: number;
}

/** `product:created`: A product is new in the shop. */
export interface ProductCreated {
  /** The product's id. It must be a string of 1 to 128 characters, none of them a control character. */
  productId: string;
  /** The product's name. It must be a string of at most 4096 bytes. */
  productName: string;
  /** What kind of product it is. It must be a string of at most 4096 bytes. */
  category: string;
  /** What it costs, in the shop's currency. It must be a number, 0 or more. */
  price: number;
}

/** `product:updated`: A product's description changed. */
export interface ProductUpdated {
  /** The product's id. It must be a string of 1 to 128 characters, none of them a control character. */
  productId: string;
  /** The fields that changed, with their new values. */
  changes: Record<string, unknown>;
}

/** `product:deleted`: A product left the shop. */
export interface ProductDeleted {
  /** The product's id. It must be a string of 1 to 128 characters, none of them a control character. */
  productId: string;
}

/** `payment:received`: A payment came in. */
export interface PaymentReceived {
  /** The payment's id. It must be a string of 1 to 128 characters, none of them a control character. */
  paymentId: string;
  /** The order's id. It must be a string of 1 to 128 characters, none of them a control character. */
  orderId: string;
  /** The id of the customer, who owns the event. It must be a string of 1 to 128 characters, none of them a control character. */
  customerId: string;
  /** How much, in the shop's currency. It must be a number, 0 or more. */
  amount: number;
  /** How it was paid, such as card. It must be a string of at most 4096 bytes. */
  method: string;
  /** How it went. */
  status: 'success' | 'pending' | 'failed';
}

/** `payment:failed`: A payment did not come in. */
export interface PaymentFailed {
  /** The payment's id. It must be a string of 1 to 128 characters, none of them a control character. */
  paymentId: string;
  /** The order's id. It must be a string of 1 to 128 characters, none of them a control character. */
  orderId: string;
  /** The id of the customer, who owns the event. It must be a string of 1 to 128 characters, none of them a control character. */
  customerId: string;
  /** How much, in the shop's currency. It must be a number, 0 or more. */
  amount: number;
  /** Why it did not come in. It must be a string of at most 4096 bytes. */
  reason: string;
  /** Whether it may work when tried again. */
  retryable: boolean;
}

/** `payment:refunded`: A payment was given back. */
export interface PaymentRefunded {
  /** The payment's id. It must be a string of 1 to 128 characters, none of them a control character. */
  paymentId: string;
  /** The order's id. It must be a string of 1 to 128 characters, none of them a control character. */
  orderId: string;
  /** The id of the customer, who owns the event. It must be a string of 1 to 128 characters, none of them a control character. */
  customerId: string;
  /** How much, in the shop's currency. It must be a number, 0 or more. */
  amount: number;
  /** Why it was given back. It must be a string of at most 4096 bytes. */
  reason?: string;
}

/** `system:notification`: A message for people. */
export interface SystemNotification {
  /** The headline. It must be a string of at most 4096 bytes. */
  title: string;
  /** The text. It must be a string of at most 4096 bytes. */
  message: string;
  /** What kind of message it is. */
  severity: 'info' | 'warning' | 'error' | 'success';
  /** The roles that may get it, as to.roles has it; where both are given, those in both. It must be a non-empty list of roles out of admin, manager, staff, customer, guest. */
  targetRoles?: readonly Role[];
  /** Where a click on it leads. It must start with one / or with http:// or https:// and a host, without control characters, in at most 4096 bytes. */
  actionUrl?: string;
}

/** `system:alert`: A message that something is wrong. */
export interface SystemAlert {
  /** The headline. It must be a string of at most 4096 bytes. */
  title: string;
  /** The text. It must be a string of at most 4096 bytes. */
  message: string;
  /** What kind of message it is. */
  severity: 'info' | 'warning' | 'error' | 'success';
  /** The roles that may get it, as to.roles has it; where both are given, those in both. It must be a non-empty list of roles out of admin, manager, staff, customer, guest. */
  targetRoles?: readonly Role[];
}

/** `system:maintenance`: The shop will be worked on. */
export interface SystemMaintenance {
  /** The text. It must be a string of at most 4096 bytes. */
  message: string;
  /** When it begins. It must be milliseconds since 1970 without a fraction, 0 to 9007199254740991. */
  scheduledAt?: number;
  /** How long it will take, in ms. It must be a number, 0 or more. */
  duration?: number;
}

/** Every event type with its data. Fields beyond these are passed on unread. */
export interface EventData {
  'order:created': OrderCreated;
  'order:updated': OrderUpdated;
  'order:status_changed': OrderStatusChanged;
  'order:deleted': OrderDeleted;
  'customer:activity': CustomerActivity;
  'customer:viewing_product': CustomerViewingProduct;
  'customer:added_to_cart': CustomerAddedToCart;
  'customer:online': CustomerOnline;
  'customer:offline': CustomerOffline;
  'inventory:updated': InventoryUpdated;
  'inventory:low_stock': InventoryLowStock;
  'inventory:out_of_stock': InventoryOutOfStock;
  'inventory:restocked': InventoryRestocked;
  'product:price_changed': ProductPriceChanged;
  'product:created': ProductCreated;
  'product:updated': ProductUpdated;
  'product:deleted': ProductDeleted;
  'payment:received': PaymentReceived;
  'payment:failed': PaymentFailed;
  'payment:refunded': PaymentRefunded;
  'system:notification': SystemNotification;
  'system:alert': SystemAlert;
  'system:maintenance': SystemMaintenance;
}

/** The name of an event type. */
export type EventType = keyof EventData;

const namespaces = {
  order: 'orders',
  customer: 'customers',
  inventory: 'inventory',
  product: 'products',
  payment: 'payments',
  system: 'system',
} as const;

/** The namespace of an event type, as a type. */
export type NamespaceOf<T extends EventType> = T extends `${infer Word}:${string}`
  ? Word extends keyof typeof namespaces
    ? (typeof namespaces)[Word]
    : never
  : never;

/** The namespace that events of this type come in. */
export function namespaceOf<T extends EventType>(type: T): NamespaceOf<T> {
  const word = type.slice(0, type.indexOf(':')) as keyof typeof namespaces;
  return namespaces[word] as NamespaceOf<T>;
}

/** An event as it comes from the server. Its `type` tells what its `data` is. */
export type ShopEvent<T extends EventType = EventType> = {
  [K in T]: {
    /** Opaque, and never used twice; where to go on from after a lost connection. */
    id: string;
    type: K;
    namespace: NamespaceOf<K>;
    data: EventData[K];
    /** When it happened, in ms since 1970; the server's clock where the line has none. */
    timestamp: number;
  };
}[T];

/** Whom an event is for, within what the server's access table allows. Absent or {}: everyone it allows. */
export interface Target {
  /** Only these roles get it; at least one. */
  roles?: readonly Role[];
  /** Only these users get it, also of those who may see all, and they own it; at least one. */
  userIds?: readonly string[];
  /** These users own it, beside data.customerId; at least one. */
  owners?: readonly string[];
  /** These users do not get it. */
  excludeUserIds?: readonly string[];
  /** This session does not get it. */
  excludeSessionId?: string;
}

/** A line for the ingest socket. */
export type IngestLine<T extends EventType = EventType> = {
  [K in T]: {
    type: K;
    data: EventData[K];
    to?: Target;
    /** When it happened, in ms since 1970; the server's clock where the line has none. */
    timestamp?: number;
    namespace?: NamespaceOf<K>;
    /** The same key again within 10 minutes, for an event of the same namespace, is acknowledged with the first one's id and not sent again. */
    key?: string;
  };
}[T];
