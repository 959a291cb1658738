// `shopwire/emit`: what a shop's API routes call when something happened. For Node; one connection for the whole process.

import { randomUUID } from 'node:crypto';

import { faultIn, named } from './checks.js';
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

/** What JavaScript may call a helper with: a type that is not its own is no slip of the data, and is said by itself. */
function checkType(helper: string, kind: string, type: unknown, { key }: EmitOptions): void {
  if (typeof type === 'string' && type.startsWith(kind)) return;
  throw new EmitError('unknown_type', `the first argument of ${helper} is a type that begins with ${kind}, and not ${named(type)}`, { key });
}

/** `emit` for the types of one kind. */
type Helper<Word extends string> = <T extends TypeOf<Word>>(type: T, data: EventData[T], options?: EmitOptions) => Promise<void>;

function newHelper(helper: string, kind: string) {
  return async <T extends EventType>(type: T, data: EventData[T], options?: EmitOptions) => {
    checkType(helper, kind, type, options ?? {});
    return emit(type, data, options);
  };
}

/** Sends `order:…`: to staff, and to the customer whose order it is (`customerId`). */
export const emitOrderEvent: Helper<'order'> = newHelper('emitOrderEvent', 'order:');

/** Sends `product:…`: to everybody who watches products. */
export const emitProductEvent: Helper<'product'> = newHelper('emitProductEvent', 'product:');

/** Sends `payment:…`: to managers, and to the customer who pays (`customerId`). */
export const emitPaymentEvent: Helper<'payment'> = newHelper('emitPaymentEvent', 'payment:');

/** Sends `customer:…`: to staff. */
export const emitCustomerEvent: Helper<'customer'> = newHelper('emitCustomerEvent', 'customer:');

/** Sends `system:notification`: to admins. */
export async function emitSystemNotification(data: SystemNotification, options?: EmitOptions): Promise<void> {
  if (typeof data === 'string') {
    throw new EmitError('invalid_payload', 'the first argument of emitSystemNotification is the data of a system:notification, and not its type', { field: 'data' });
  }
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

/** Behind the key of a change, for its alert: a key of its own that a retry makes again. */
const ALERT = ':alert';
/** Keys that the server takes have at most 128 characters. */
const KEY_MAX = 128 - ALERT.length;

type InventoryData<T extends TypeOf<'inventory'>> = T extends 'inventory:updated' ? StockChange : EventData[T];

/**
 * Sends `inventory:…`: to staff. With a `threshold`, `inventory:updated` brings its alert along: when the stock falls to the
 * threshold, `inventory:low_stock`; to `critical`, the same with that severity; to nothing, `inventory:out_of_stock`. Each is sent by the
 * change that crosses the line, and not again by those below it. With a threshold a `key` has at most 122 characters. The error's `key` is
 * the change's, whichever of the two was not taken: sending the change again with it makes neither a second time.
 */
export async function emitInventoryEvent<T extends TypeOf<'inventory'>>(
  type: T,
  data: InventoryData<T>,
  options?: EmitOptions & StockAlerts,
): Promise<void> {
  const { threshold, critical, key = randomUUID(), ...rest } = options ?? {};
  checkType('emitInventoryEvent', 'inventory:', type, { key });
  // Told by the emitter: taken apart as above, no trace of it is left.
  if (faultIn(options)) return emit(type, data as EventData[T], options);
  // What is no object the server refuses.
  if (type !== 'inventory:updated' || Object(data) !== data) return emit(type, data as EventData[T], { ...rest, key });
  const change = data as StockChange;
  const updated = { ...change, difference: change.difference ?? change.newStock - change.oldStock };
  const isKey = typeof key === 'string' && key !== '';
  if (isKey && threshold !== undefined && key.length > KEY_MAX) {
    const message = `key must have at most ${KEY_MAX} characters beside a threshold, has ${key.length}: the alert's is this one and ${ALERT}`;
    throw new EmitError('invalid_payload', message, { field: 'key', key });
  }
  // What is no key the server refuses; made longer for the alert it could be one.
  const alert = isKey ? stockAlert(change, { threshold, critical }) : undefined;
  const sent = [emit('inventory:updated', updated, { ...rest, key })];
  if (alert) sent.push(emit(alert.type, alert.data as never, { ...rest, key: key + ALERT }));
  // Both are waited for, and only then the first one's fault is told.
  for (const end of await Promise.allSettled(sent)) {
    if (end.status === 'fulfilled') continue;
    const { code, message, field } = end.reason as EmitError;
    throw new EmitError(code, message, { field, key });
  }
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
