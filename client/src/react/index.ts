'use client';
// `shopwire/react`: hooks and components on one connection.

export {
  LiveCustomerCount,
  LiveSalesTicker,
  OrderStatusBadge,
  type Labels,
  type LiveCustomerCountProps,
  type LiveSalesTickerProps,
  type OrderStatusBadgeProps,
} from './components.js';
export {
  useConnection,
  useOnlineCount,
  useOrderStatus,
  useWebSocket,
  useWebSocketEvent,
  useWebSocketNamespace,
  type NamespaceOptions,
  type OrderState,
  type ShopwireSocket,
} from './hooks.js';
export { ShopwireProvider, useShopwire, type ShopwireProviderProps } from './provider.js';
