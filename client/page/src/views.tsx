// The shop as it happens.

import { memo, useMemo, type ReactNode } from 'react';

import type { Namespace } from '../../src/index.js';
import { readable } from '../../src/react/components.js';
import { LiveCustomerCount, LiveSalesTicker, useShopwire } from '../../src/react/index.js';
import { change, clock, currency, money, shortMoney, shortWhole, whole } from './format.js';
import { useShop, type Notice, type Order, type Payment, type StockItem } from './shop.js';

export function ShopView() {
  const isBusy = useShop('isBusy');
  return (
    <div className="shop" data-busy={isBusy}>
      <Notices />
      <Figures />
      <Board />
      <Stock />
      <Ticker />
      <Customers />
      <Payments />
      <Prices />
    </div>
  );
}

/** Said of what the server has told nothing of, not even that there is nothing. */
const NOT_KNOWN = 'Not known.';

interface CardProps {
  title: string;
  namespace: Namespace;
  className?: string;
  aside?: ReactNode;
  isEmpty: boolean;
  /** Said while there is nothing to show. */
  empty: string;
  children: ReactNode;
}

function Card({ title, namespace, className = '', aside, isEmpty, empty, children }: CardProps) {
  const isDenied = useShop('denied').has(namespace);
  const isKnown = useShop('known').has(namespace);
  return (
    <section className={`card ${className}`} aria-label={title}>
      <header>
        <h2>{title}</h2>
        {!isDenied && isKnown && aside}
      </header>
      {isDenied ? (
        <Denied namespace={namespace} />
      ) : isEmpty ? (
        <p className="none">{isKnown ? empty : NOT_KNOWN}</p>
      ) : (
        children
      )}
    </section>
  );
}

function Denied({ namespace }: { namespace: Namespace }) {
  const who = useShopwire().identity ? 'This role' : 'The public';
  return (
    <p className="none denied">
      {who} may not see {namespace}.
    </p>
  );
}

function Figures() {
  const sales = useShop('sales');
  const { byStatus, isMore } = useShop('counts');
  const known = useShop('known');
  const stock = useShop('stock');
  const payments = useShop('payments');
  const denied = useShop('denied');
  const open = total(byStatus, (status) => status !== 'delivered' && status !== 'cancelled');
  const low = stock.filter(({ level }) => level !== 'ok').length;
  const failed = payments.filter(({ outcome }) => outcome === 'failed').length;
  const count = `${whole(sales.count)} ${sales.count === 1 ? 'order' : 'orders'}`;
  const note = sales.since === undefined ? 'no orders yet' : `${count} since ${clock(sales.since)}`;
  const figure = (name: Namespace, value: string, label: string, about: string, mood?: 'bad') => {
    const why = denied.has(name) ? `may not see ${name}` : known.has(name) ? undefined : 'not known';
    return (
      <div className="figure" data-mood={why ? undefined : mood}>
        <dt>{label}</dt>
        <dd>
          <strong>{why ? '–' : value}</strong>
          <small>{why ?? about}</small>
        </dd>
      </div>
    );
  };
  return (
    <dl className="figures">
      {figure('orders', shortMoney(sales.sum), 'Sales', note)}
      {figure('orders', `${shortWhole(open)}${isMore ? '+' : ''}`, 'Orders under way', 'not delivered yet')}
      {figure('inventory', whole(low), 'Stock alerts', 'low or sold out', low > 0 ? 'bad' : undefined)}
      {figure('payments', whole(failed), 'Failed payments', payments.length ? `of the last ${payments.length}` : 'no payments yet', failed > 0 ? 'bad' : undefined)}
    </dl>
  );
}

const LANES = [
  { title: 'Pending', holds: (status: string) => status === 'pending' },
  { title: 'Processing', holds: (status: string) => status === 'processing' },
  { title: 'Shipped', holds: (status: string) => status === 'shipped' },
  { title: 'Done', holds: (status: string) => status === 'delivered' || status === 'cancelled' },
];
/** A shop's own statuses stand in the lane of those that are being worked on. */
const KNOWN = ['pending', 'processing', 'shipped', 'delivered', 'cancelled'];
const PER_LANE = 6;
/** Of these the style shows so many where the lanes are below each other. */
const PER_NARROW_LANE = 3;

/** So many orders have a status of these. */
const total = (byStatus: Readonly<Record<string, number>>, holds: (status: string) => boolean): number =>
  Object.entries(byStatus).reduce((sum, [status, count]) => sum + (holds(status) ? count : 0), 0);

function Board() {
  const orders = useShop('orders');
  const { byStatus, isMore } = useShop('counts');
  return (
    <Card title="Orders" namespace="orders" className="board" isEmpty={orders.length === 0} empty="No orders yet. The first one appears here.">
      <div className="lanes">
        {LANES.map(({ title, holds }) => {
          const isHere = (status: string) => holds(KNOWN.includes(status) ? status : 'processing');
          const shown = orders.filter(({ status }) => isHere(status)).slice(0, PER_LANE);
          const count = total(byStatus, isHere);
          const more = `${whole(count)}${isMore ? '+' : ''}`;
          return (
            <section key={title} aria-label={`${title}: ${more}`}>
              <h3>
                {title} <span className="count">{more}</span>
              </h3>
              <ul>
                {shown.map((order) => (
                  <OrderCard key={order.id} order={order} />
                ))}
              </ul>
              <More className="wide" count={count} shown={shown.length} />
              <More className="narrow" count={count} shown={Math.min(shown.length, PER_NARROW_LANE)} />
            </section>
          );
        })}
      </div>
    </Card>
  );
}

const More = ({ className, count, shown }: { className: string; count: number; shown: number }) =>
  count > shown && <p className={`more ${className}`}>and {whole(count - shown)} more</p>;

const OrderCard = memo(function OrderCard({ order }: { order: Order }) {
  return (
    <li className="order">
      <span className="name">{order.customer || '–'}</span>
      <span className="amount">{order.total === undefined ? '' : money(order.total)}</span>
      <span className="id">
        <bdi>{order.id}</bdi> {order.channel && <>· {order.channel}</>}
      </span>
      {/* Not a component that listens by itself: the card is in the lane of this status, and moves with it. */}
      <span className="shopwire-badge" data-status={order.status}>
        <span className="shopwire-status">{readable(order.status)}</span>
      </span>
    </li>
  );
});

const LEVELS: Record<StockItem['level'], string> = { ok: 'in stock', low: 'low', critical: 'critical', out: 'sold out' };
const URGENCY: StockItem['level'][] = ['out', 'critical', 'low', 'ok'];

function Stock() {
  const stock = useShop('stock');
  const alerts = stock.filter(({ level }) => level !== 'ok').length;
  // The urgent first, so that nobody has to look for them.
  const rows = useMemo(() => [...stock].sort((one, other) => URGENCY.indexOf(one.level) - URGENCY.indexOf(other.level)), [stock]);
  const most = Math.max(1, ...stock.map(({ stock }) => stock));
  return (
    <Card
      title="Stock"
      namespace="inventory"
      className="stock"
      aside={
        <span role="status" className={alerts ? 'alert' : 'fine'}>
          {alerts ? `${alerts} ${alerts === 1 ? 'alert' : 'alerts'}` : 'all well'}
        </span>
      }
      isEmpty={stock.length === 0}
      empty="No stock was told yet."
    >
      <div className="scroll" tabIndex={0} role="group" aria-label="Stock by product">
        <table>
          <thead className="unseen">
            <tr>
              <th scope="col">Product</th>
              <th scope="col">Stock</th>
              <th scope="col">State</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ id, name, sku, stock, level }) => (
              <tr key={id} data-level={level}>
                <th scope="row">
                  <span className="clamped">{name}</span> <small className="clamped">{sku}</small>
                </th>
                <td>
                  <span className="gauge">
                    <svg className="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
                      <rect className="rail" width="100" height="6" rx="3" />
                      <rect className="fill" width={Math.max(0, Math.min(100, (stock / most) * 100))} height="6" rx="3" />
                    </svg>
                    <span>{shortWhole(stock)}</span>
                  </span>
                </td>
                <td>
                  <span className="tag">{LEVELS[level]}</span>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Card>
  );
}

function Ticker() {
  const isDenied = useShop('denied').has('orders');
  const isKnown = useShop('known').has('orders');
  if (isDenied) {
    return (
      <section className="card ticker" aria-label="Latest sales">
        <header>
          <h2>Latest sales</h2>
        </header>
        <Denied namespace="orders" />
      </section>
    );
  }
  return <LiveSalesTicker className="card ticker" currency={currency} max={8} labels={{ empty: isKnown ? undefined : NOT_KNOWN }} />;
}

function Customers() {
  const visitors = useShop('visitors');
  return (
    <Card
      title="Customers"
      namespace="customers"
      className="customers"
      aside={<LiveCustomerCount labels={{ online: () => 'online' }} />}
      isEmpty={visitors.length === 0}
      empty="Nobody was seen in the shop yet."
    >
      <ul className="lines">
        {visitors.slice(0, 8).map(({ id, name, doing, at }) => (
          <li key={id}>
            <span className="face" aria-hidden="true">
              {initials(name ?? id)}
            </span>
            <span className="text">
              <strong>{name ?? id}</strong> {doing}
            </span>
            <time>{clock(at)}</time>
          </li>
        ))}
      </ul>
    </Card>
  );
}

const initials = (name: string) =>
  name
    .split(/\s+/)
    .slice(0, 2)
    .map((word) => [...word][0] ?? '')
    .join('');

const OUTCOMES: Record<Payment['outcome'], string> = {
  received: 'received',
  pending: 'pending',
  failed: 'failed',
  refunded: 'refunded',
};

function Payments() {
  const payments = useShop('payments');
  return (
    <Card title="Payments" namespace="payments" className="payments" isEmpty={payments.length === 0} empty="No payments yet.">
      <ul className="lines">
        {payments.slice(0, 8).map(({ key, order, amount, outcome, note, at }) => (
          <li key={key} data-outcome={outcome}>
            <span className="text">
              <strong>{money(amount)}</strong> <span className="id">{order}</span> {note}
            </span>
            <span className="tag">{OUTCOMES[outcome]}</span>
            <time>{clock(at)}</time>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Prices() {
  const prices = useShop('prices');
  return (
    <Card title="Prices" namespace="products" className="prices" isEmpty={prices.length === 0} empty="No price has changed yet.">
      <ul className="lines">
        {prices.slice(0, 8).map(({ id, name, from, to, percent, at }) => (
          <li key={id}>
            <span className="text">
              <strong>{name}</strong> {from !== undefined && <s>{money(from)}</s>} {money(to)}
            </span>
            {percent !== undefined && (
              <span className="tag" data-change={percent < 0 ? 'down' : 'up'}>
                {change(percent)}
              </span>
            )}
            <time>{clock(at)}</time>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Notices() {
  const notices = useShop('notices');
  const isDenied = useShop('denied').has('system');
  if (isDenied || notices.length === 0) return null;
  return (
    <section className="notices" aria-label="System notices" role="log">
      {notices.slice(0, 2).map((notice) => (
        <NoticeLine key={notice.key} notice={notice} />
      ))}
    </section>
  );
}

function NoticeLine({ notice: { title, message, severity, url, at } }: { notice: Notice }) {
  return (
    <p className="notice" data-severity={severity}>
      <span className="tag">{severity}</span>
      <span className="text">
        <strong>{title}</strong> <bdi>{message}</bdi>{' '}
        {url && (
          <a href={url} rel="noopener noreferrer" target="_blank">
            Open
          </a>
        )}
      </span>
      <time>{clock(at)}</time>
    </p>
  );
}
