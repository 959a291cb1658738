'use client';
// Ready-made parts of a page. They show what the server said and nothing else, say when they are not live, and take their
// looks from `shopwire/style.css` or from your own rules for the same classes.

import { useEffect, useMemo, useState, type CSSProperties } from 'react';

import type { OrderStatus } from '../generated/events.js';
import { useConnection, useNewest, useOnlineCount, useOrderStatus } from './hooks.js';
import { useShopwire, useWant } from './provider.js';

/** Texts that can be replaced, for another language or another shop. */
export interface Labels {
  /** Shown while nothing new can come. */
  notLive?: string;
  /** Shown before that, until the first connection stands; and while another one is being made. Default: `notLive`, else connecting. */
  connecting?: string;
}

interface LookProps {
  /** BCP 47, `de-CH`. Default: the browser's. */
  locale?: string;
  /** Added to the component's own class. */
  className?: string;
  style?: CSSProperties;
}

const classes = (own: string, given?: string) => (given ? `${own} ${given}` : own);

/** Seen by screen readers alone. */
const UNSEEN: CSSProperties = { position: 'absolute', width: 1, height: 1, overflow: 'hidden', clipPath: 'inset(50%)', whiteSpace: 'nowrap' };

function NotLive({ labels: { notLive, connecting = notLive ?? 'connecting' } }: { labels: Labels }) {
  const { status, reason } = useConnection();
  if (status === 'connected') return null;
  const text = status === 'idle' || status === 'connecting' ? connecting : (notLive ?? 'not live');
  return (
    <span className="shopwire-not-live" title={reason || undefined}>
      {text}
    </span>
  );
}

export interface OrderStatusBadgeProps extends LookProps {
  orderId: string;
  /** The status as your own page knows it, until an event says otherwise. */
  initialStatus?: OrderStatus;
  /** Read each change out. For one that a page is about; a list says by itself what of it matters. Default: false. */
  announce?: boolean;
  /** Texts by status, and `unknown`, `deleted`, `notLive` and `connecting`. */
  labels?: Labels & { [status: string]: string | undefined };
}

/** An order's status, live. */
export function OrderStatusBadge({ orderId, initialStatus, announce, labels = {}, locale, className, style }: OrderStatusBadgeProps) {
  const { status: known, changedAt, isDeleted } = useOrderStatus(orderId, initialStatus);
  const connection = useConnection().status;
  const status = isDeleted ? 'deleted' : (known ?? 'unknown');
  const time = changedAt === undefined ? undefined : format(changedAt, locale, { dateStyle: 'medium', timeStyle: 'short' });
  return (
    <span className={classes('shopwire-badge', className)} style={style} data-status={status} data-connection={connection}>
      <span className="shopwire-status" role={announce ? 'status' : undefined} title={time}>
        {labels[status] ?? readable(status)}
      </span>{' '}
      <NotLive labels={labels} />
    </span>
  );
}

/** `on_hold` as people write it. */
export const readable = (status: string) => status.charAt(0).toUpperCase() + status.slice(1).replaceAll('_', ' ');

export interface LiveCustomerCountProps extends LookProps {
  labels?: Labels & {
    /** Behind the number. Default: customer(s) online. */
    online?: (count: number) => string;
    /** Instead of a number that is not known. */
    unknown?: string;
  };
}

/** How many customers are online, live. */
export function LiveCustomerCount({ labels = {}, locale, className, style }: LiveCustomerCountProps) {
  const count = useOnlineCount();
  const connection = useConnection().status;
  const { online = (count) => (count === 1 ? 'customer online' : 'customers online'), unknown = '–' } = labels;
  const number = count === undefined ? unknown : new Intl.NumberFormat(known(locale)).format(count);
  const text = online(count ?? 0);
  // A number that is not known is nothing to read out.
  const isKnown = count !== undefined;
  const calm = useCalm(isKnown ? `${number} ${text}` : (labels.unknown ?? ''), isKnown);
  return (
    <span className={classes('shopwire-count', className)} style={style} data-connection={connection}>
      <span aria-hidden="true">
        <span className="shopwire-dot" /> <strong>{number}</strong> {text}
      </span>{' '}
      <span role="status" style={UNSEEN}>
        {calm}
      </span>
      <NotLive labels={labels} />
    </span>
  );
}

/** How long a number has to stand before it is read out. */
const CALM_MS = 3_000;

/** A text once it no longer changes: nobody wants each step read out. A number that is no longer known is gone at once. */
function useCalm(text: string, isKnown: boolean): string {
  const [calm, setCalm] = useState(text);
  useEffect(() => {
    if (!isKnown) setCalm(text);
    const timer = setTimeout(() => setCalm(text), CALM_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return calm;
}

export interface LiveSalesTickerProps extends LookProps {
  /** ISO 4217, `EUR`: events carry amounts without one. */
  currency: string;
  /** How many sales are shown. Default: 10. */
  max?: number;
  labels?: Labels & { title?: string; empty?: string; pause?: string; resume?: string };
}

/** The newest sales, live: begins with those that the server still keeps. */
export function LiveSalesTicker({ currency, max = 10, labels = {}, locale, className, style }: LiveSalesTickerProps) {
  const client = useShopwire();
  useWant(client, { namespaces: ['orders'], events: ['order:created'], last: max });
  const newest = useNewest('order:created', max);
  const [frozen, setFrozen] = useState<typeof newest>();
  const connection = useConnection().status;
  const money = useMemo(() => moneyIn(currency, known(locale)), [locale, currency]);
  // What is held was seen by the one who was here.
  useEffect(() => client.on('identity', () => setFrozen(undefined)), [client]);
  const { title = 'Latest sales', empty = 'No sales yet', pause = 'Pause', resume = 'Resume' } = labels;
  const sales = frozen ?? newest;
  return (
    <section className={classes('shopwire-ticker', className)} style={style} aria-label={title} data-connection={connection}>
      <header>
        <strong>{title}</strong> <NotLive labels={labels} />{' '}
        <button type="button" onClick={() => setFrozen(frozen ? undefined : newest)}>
          {frozen ? resume : pause}
        </button>
      </header>
      <div role="log" aria-label={title}>
        {sales.length === 0 && <p>{empty}</p>}
        <ul>
          {sales.map(({ id, data, timestamp }) => (
            <li key={id}>
              <span>{data.customerName}</span> <data value={data.total}>{money.format(data.total)}</data>{' '}
              <time>{format(timestamp, locale, { timeStyle: 'short' })}</time>
            </li>
          ))}
        </ul>
      </div>
    </section>
  );
}

/** A time as people write it; nothing for one that is beyond what a Date can hold. */
function format(time: number, locale: string | undefined, options: Intl.DateTimeFormatOptions): string | undefined {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return undefined;
  // Making one takes far longer than using it, and a busy ticker shows hundreds of times a second.
  const key = `${locale} ${Object.values(options)}`;
  const made = (formats[key] ??= new Intl.DateTimeFormat(known(locale), options));
  return made.format(date);
}

const formats: { [key: string]: Intl.DateTimeFormat } = {};

const refused = new Set<string>();

/** Said once. A page stands, whatever it was told to look like. */
function warn(what: string): undefined {
  if (!refused.has(what)) console.warn(`shopwire: ${what}`);
  refused.add(what);
}

/** The locale, or the browser's own for one that Intl refuses, such as `de_CH`. */
function known(locale: string | undefined): string | undefined {
  try {
    return Intl.getCanonicalLocales(locale)[0];
  } catch {
    return warn(`${locale} is no locale like de-CH; the browser's own is taken`);
  }
}

function moneyIn(currency: string, locale: string | undefined): Intl.NumberFormat {
  try {
    return new Intl.NumberFormat(locale, { style: 'currency', currency });
  } catch {
    warn(`${currency} is no currency like EUR; amounts are shown without`);
    return new Intl.NumberFormat(locale);
  }
}
