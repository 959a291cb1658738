// What the tabs' test runs in place of the live page: it keeps the orders that it sees, over the connection of all tabs.

import { signIn } from '../page/src/session.js';
import { ShopwireClient } from '../src/index.js';
import { shareTabs } from '../src/tabs/index.js';

const seen: string[] = [];
Object.assign(window, { seen });

const token = async () => (await signIn('admin')).token;
const client = new ShopwireClient({ token, namespaces: ['orders'], WebSocket: shareTabs() });
client.on('order:created', ({ orderId }) => seen.push(orderId));
client.on('gap', () => seen.push('a gap'));
client.on('status', ({ status }) => {
  document.documentElement.dataset.status = status;
});
