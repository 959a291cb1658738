import { LiveCustomerCount, LiveSalesTicker } from 'shopwire/react';

import { orders } from '@/lib/shop';

import { Orders } from './orders';

export const dynamic = 'force-dynamic';

export default function Page() {
  return (
    <main>
      <h1>Orders</h1>
      <LiveCustomerCount locale="en" />
      <LiveSalesTicker currency="EUR" locale="en" max={5} />
      <Orders initial={[...orders()]} />
    </main>
  );
}
