// `shopwire/emit`: what a shop's API routes call when something happened. For Node; one connection for the whole process.

import { Emitter, EmitError, EmitManyError } from './emitter.js';
import type { EmitOptions, EmitterOptions } from './emitter.js';
import type { EventData, EventType, IngestLine, InventoryUpdated, SystemNotification } from './generated/events.js';

export { Emitter, EmitError, EmitManyError };
export type { EmitOptions, EmitterOptions };
export type * from './generated/events.js';

/** The types of one kind, `TypeOf<'order'>`. */
type TypeOf<Word extends string> = Extract<EventType, `${Word}:${string}`>;

/** Where the process keeps its emitter: frameworks that bundle each route by itself load this module many times. */
const SHARED = Symbol.for('shopwire.emitter');
const shared = globalThis as { [SHARED]?: Emitter };

const emitter = () => (shared[SHARED] ??= new Emitter());

/** Says where to send to, for all helpers. Before the first event, or after `closeEmitter`. */
export function configureEmitter(options: EmitterOptions): void {
  if (shared[SHARED]) throw new Error('the emitter is in use: configure it before the first event, or close it first');
  shared[SHARED] = new Emitter(options);
}

/** Waits for what is under way and ends the connection. Not needed for a process to end by itself. */
export async function closeEmitter(): Promise<void> {
  const last = shared[SHARED];
  shared[SHARED] = undefined;
  await last?.close();
}

/** Sends any event. Resolves when the server has it, rejects with an {@link EmitError}. */
export function emit<T extends EventType>(type: T, data: EventData[T], options?: EmitOptions): Promise<void> {
  return emitter().emit(type, data, options);
}

/** Sends many events, in order. Rejects with an {@link EmitManyError} that names each one that was refused; the others are sent. */
export function emitMany(events: Iterable<IngestLine>): Promise<void> {
  return emitter().emitMany(events);
}

/** Sends `order:…`: to staff, and to the customer whose order it is (`customerId`). */
export const emitOrderEvent: <T extends TypeOf<'order'>>(type: T, data: EventData[T], options?: EmitOptions) => Promise<void> = emit;

/** Sends `product:…`: to everybody who watches products. */
export const emitProductEvent: <T extends TypeOf<'product'>>(type: T, data: EventData[T], options?: EmitOptions) => Promise<void> = emit;

/** Sends `payment:…`: to managers, and to the customer who pays (`customerId`). */
export const emitPaymentEvent: <T extends TypeOf<'payment'>>(type: T, data: EventData[T], options?: EmitOptions) => Promise<void> = emit;

/** Sends `customer:…`: to staff. */
export const emitCustomerEvent: <T extends TypeOf<'customer'>>(type: T, data: EventData[T], options?: EmitOptions) => Promise<void> = emit;

/** Sends `system:notification`: to admins. */
export function emitSystemNotification(data: SystemNotification, options?: EmitOptions): Promise<void> {
  return emit('system:notification', data, options);
}

/** When a change of stock is worth an alert. */
export interface StockAlerts {
  /** At so many or fewer, `inventory:low_stock` is sent beside `inventory:updated`. */
  threshold?: number;
  /** At so many or fewer, its severity is critical. Default: a quarter of the threshold. */
  critical?: number;
}

/** A change of stock; the difference can be left out. */
export type StockChange = Omit<InventoryUpdated, 'difference'> & { difference?: number };

type InventoryData<T extends TypeOf<'inventory'>> = T extends 'inventory:updated' ? StockChange : EventData[T];

/**
 * Sends `inventory:…`: to staff. With a `threshold`, `inventory:updated` brings its alert along: when the stock falls to the
 * threshold, `inventory:low_stock`; to `critical`, the same with that severity; to nothing, `inventory:out_of_stock`. Each is sent by the
 * change that crosses the line, and not again by those below it.
 */
export function emitInventoryEvent<T extends TypeOf<'inventory'>>(
  type: T,
  data: InventoryData<T>,
  options: EmitOptions & StockAlerts = {},
): Promise<void> {
  const { threshold, critical, ...rest } = options;
  if (type !== 'inventory:updated') return emit(type, data as EventData[T], rest);
  const change = data as StockChange;
  const updated = { ...change, difference: change.difference ?? change.newStock - change.oldStock };
  const alert = stockAlert(change, { threshold, critical });
  if (!alert) return emit('inventory:updated', updated, rest);
  // A key of its own that a retry makes again.
  const key = rest.key && `${rest.key}:alert`;
  return both(emit('inventory:updated', updated, rest), emitter().emit(alert.type, alert.data as never, { ...rest, key }));
}

type Alert = IngestLine<'inventory:low_stock' | 'inventory:out_of_stock'>;

function stockAlert(change: StockChange, { threshold, critical = (threshold ?? 0) / 4 }: StockAlerts): Alert | undefined {
  const { productId, productName, sku, oldStock, newStock } = change;
  const product = { productId, productName, sku };
  const fellTo = (line: number) => newStock <= line && oldStock > line;
  if (threshold === undefined) return undefined;
  if (fellTo(0)) return { type: 'inventory:out_of_stock', data: product };
  if (!fellTo(critical) && !fellTo(threshold)) return undefined;
  const severity = newStock <= critical ? 'critical' : 'low';
  return { type: 'inventory:low_stock', data: { ...product, currentStock: newStock, threshold, severity } };
}

/** Waits for both, and only then tells the first one's fault. */
async function both(first: Promise<void>, second: Promise<void>): Promise<void> {
  for (const end of await Promise.allSettled([first, second])) if (end.status === 'rejected') throw end.reason;
}
