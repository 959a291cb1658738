// The event catalogue of the shopwire server. What `shopwire schema --typescript` prints goes here.

/** What clients subscribe to. */
export type Namespace = 'orders' | 'customers' | 'products' | 'inventory' | 'payments' | 'system';

/** The roles that a token can carry. */
export type Role = 'admin' | 'manager' | 'staff' | 'customer' | 'guest';

/** Where an order stands: one of these, or one of the server configuration's own. */
export type OrderStatus = 'pending' | 'processing' | 'shipped' | 'delivered' | 'cancelled' | (string & {});

/** A customer placed an order. */
export interface OrderCreated {
  orderId: string;
  customerId: string;
  customerName: string;
  /** Zero or more. */
  total: number;
  status: OrderStatus;
  channel: string;
}

/** An order's content changed. */
export interface OrderUpdated {
  orderId: string;
  customerId?: string;
  changes: Record<string, unknown>;
}

/** An order moved on. */
export interface OrderStatusChanged {
  orderId: string;
  customerId: string;
  customerName: string;
  oldStatus: OrderStatus;
  newStatus: OrderStatus;
  /** Milliseconds since 1970. */
  timestamp: number;
}

/** An order was removed. */
export interface OrderDeleted {
  orderId: string;
  customerId?: string;
}

/** A customer did something in the shop. */
export interface CustomerActivity {
  customerId: string;
  customerName?: string;
  action: 'viewing' | 'cart_add' | 'cart_remove' | 'checkout_start' | 'checkout_complete';
  productId?: string;
  productName?: string;
  /** Milliseconds since 1970. */
  timestamp: number;
}

/** A customer looks at a product. */
export interface CustomerViewingProduct {
  customerId: string;
  productId: string;
  productName: string;
  /** Zero or more. */
  duration?: number;
}

/** A customer put a product into the cart. */
export interface CustomerAddedToCart {
  customerId: string;
  productId: string;
  productName: string;
  /** A whole number, one or more. */
  quantity: number;
}

/** A customer's first connection opened. */
export interface CustomerOnline {
  customerId: string;
  isOnline: true;
  /** Milliseconds since 1970. */
  lastSeen: number;
}

/** A customer's last connection closed. */
export interface CustomerOffline {
  customerId: string;
  isOnline: false;
  /** Milliseconds since 1970. */
  lastSeen: number;
}

/** A product's stock changed. */
export interface InventoryUpdated {
  productId: string;
  productName: string;
  sku: string;
  oldStock: number;
  newStock: number;
  /** newStock − oldStock. */
  difference: number;
  reason?: 'sale' | 'restock' | 'adjustment' | 'return';
}

/** A product's stock fell below its threshold. */
export interface InventoryLowStock {
  productId: string;
  productName: string;
  sku: string;
  currentStock: number;
  threshold: number;
  severity: 'low' | 'critical';
}

/** A product is sold out. */
export interface InventoryOutOfStock {
  productId: string;
  productName: string;
  sku: string;
}

/** A product came back into stock. */
export interface InventoryRestocked {
  productId: string;
  productName: string;
  sku: string;
  newStock: number;
  addedQuantity: number;
}

/** A product's price changed. */
export interface ProductPriceChanged {
  productId: string;
  productName: string;
  sku: string;
  /** Zero or more. */
  oldPrice: number;
  /** Zero or more. */
  newPrice: number;
  changePercentage: number;
}

/** A product is new in the shop. */
export interface ProductCreated {
  productId: string;
  productName: string;
  category: string;
  /** Zero or more. */
  price: number;
}

/** A product's description changed. */
export interface ProductUpdated {
  productId: string;
  changes: Record<string, unknown>;
}

/** A product left the shop. */
export interface ProductDeleted {
  productId: string;
}

/** A payment came in. */
export interface PaymentReceived {
  paymentId: string;
  orderId: string;
  customerId: string;
  /** Zero or more. */
  amount: number;
  method: string;
  status: 'success' | 'pending' | 'failed';
}

/** A payment did not come in. */
export interface PaymentFailed {
  paymentId: string;
  orderId: string;
  customerId: string;
  /** Zero or more. */
  amount: number;
  reason: string;
  retryable: boolean;
}

/** A payment was given back. */
export interface PaymentRefunded {
  paymentId: string;
  orderId: string;
  customerId: string;
  /** Zero or more. */
  amount: number;
  reason?: string;
}

/** A message for people. */
export interface SystemNotification {
  title: string;
  message: string;
  severity: 'info' | 'warning' | 'error' | 'success';
  targetRoles?: readonly Role[];
  /** A path on the shop's own host, or an absolute http or https URL. */
  actionUrl?: string;
}

/** A message that something is wrong. */
export interface SystemAlert {
  title: string;
  message: string;
  severity: 'info' | 'warning' | 'error' | 'success';
  targetRoles?: readonly Role[];
}

/** The shop will be worked on. */
export interface SystemMaintenance {
  message: string;
  /** Milliseconds since 1970. */
  scheduledAt?: number;
  /** Milliseconds. */
  duration?: number;
}

/** What an event's `data` is, by its type. */
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

/** The type of an event. */
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
    /** The same key again within 10 minutes is acknowledged with the first one's id and not sent again. */
    key?: string;
  };
}[T];
