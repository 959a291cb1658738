// examples/nextjs-shop: built, started, and used; and the way to it from polling, as MIGRATION.md shows it.

import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, expect, test } from 'vitest';

import { SECRET, Server, until } from '../server.js';
import { examples, Program } from './example.js';

const folder = join(examples, 'nextjs-shop');
const next = ['node', join(folder, 'node_modules/next/dist/bin/next')];
const quiet = { NEXT_TELEMETRY_DISABLED: '1' };

let server: Server;
let app: Program;
let url: string;

beforeAll(async () => {
  server = await Server.start();
  const env = { ...quiet, WS_SOCKET: server.socket, WS_JWT_SECRET: SECRET };
  const build = new Program([...next, 'build'], { cwd: folder, env: { ...env, NEXT_PUBLIC_SHOPWIRE_URL: server.url } });
  expect(await build.end(), build.lines.join('\n')).toBe(0);
  app = new Program([...next, 'start', '--hostname', '127.0.0.1', '--port', '0'], { cwd: folder, env });
  [, url] = (await app.line(/Local:\s+(http:\S+)/)) as unknown as [string, string];
  await app.line(/Ready/);
}, 240_000);
afterAll(async () => {
  await app?.stop();
  await server?.stop();
});

test('an order over the API reaches a page that listens with the token of the app', async () => {
  const answer = await fetch(`${url}/api/token`);
  expect(answer.headers.get('cache-control')).toBe('no-store');
  const client = server.client({ token: await answer.text(), namespaces: ['orders', 'inventory'] });
  const seen: [string, object][] = [];
  client.on('*', (data, { type }) => seen.push([type, data]));
  await until('it is connected', () => client.isConnected);
  const cart = { customerId: 'c-1', customerName: 'Ada', productId: 'p-1', quantity: 7 };
  const post = (body: object) => fetch(`${url}/api/orders`, { method: 'POST', body: JSON.stringify(body) });
  const taken = await post(cart);
  const { orderId, untold } = await taken.json();
  expect([taken.status, untold]).toEqual([201, undefined]);
  await fetch(`${url}/api/orders`, { method: 'PATCH', body: JSON.stringify({ orderId, status: 'shipped' }) });
  await until('all have come', () => seen.length === 4);
  expect(seen.map(([type]) => type)).toEqual(['order:created', 'inventory:updated', 'inventory:low_stock', 'order:status_changed']);
  expect(seen[0]![1]).toMatchObject({ orderId, total: 87.5 });
  expect(seen[3]![1]).toMatchObject({ orderId, oldStatus: 'pending', newStatus: 'shipped' });
  const wrong = await post({ ...cart, productId: 'p-9' });
  expect([wrong.status, await wrong.json()]).toEqual([400, { error: 'there is no product p-9; there are p-1, p-2' }]);
});

test('the page is rendered on the server with what there is', async () => {
  const made = await fetch(`${url}/api/orders`, {
    method: 'POST',
    body: JSON.stringify({ customerId: 'c-2', customerName: 'Grace', productId: 'p-2', quantity: 1 }),
  });
  expect(made.status).toBe(201);
  const page = await (await fetch(url)).text();
  expect(page).toContain('Grace');
  expect(page).toContain('pending');
});

test('what cannot be told is said, and what was done is done', async () => {
  await server.kill();
  const answer = await fetch(`${url}/api/orders`, {
    method: 'POST',
    body: JSON.stringify({ customerId: 'c-3', customerName: 'Edsger', productId: 'p-2', quantity: 1 }),
  });
  const { untold } = await answer.json();
  expect([answer.status, untold]).toEqual([201, expect.stringContaining(server.socket)]);
  await server.run();
});

test('the migration applies to a shop that polls, and makes this one of it', () => {
  const diffs = [...readFileSync(join(folder, 'MIGRATION.md'), 'utf8').matchAll(/^```diff\n([^]*?)^```/gm)].map(([, diff]) => diff!);
  expect(diffs).toHaveLength(4);
  const place = mkdtempSync(join(tmpdir(), 'shopwire-migration-'));
  try {
    for (const name of ['app', 'lib', 'package.json', 'tsconfig.json', 'next-env.d.ts']) cpSync(join(folder, name), join(place, name), { recursive: true });
    symlinkSync(join(folder, 'node_modules'), join(place, 'node_modules'));
    // Outside of any repository, as in a folder of the reader's.
    const apply = (diff: string, ...args: string[]) =>
      execFileSync('git', ['apply', ...args, '-'], { cwd: place, input: diff, env: { ...process.env, GIT_CEILING_DIRECTORIES: tmpdir() } });
    const read = () => execFileSync('sh', ['-c', 'find app lib -type f | sort | xargs tail -n +1'], { cwd: place, encoding: 'utf8' });
    const live = read();
    for (const diff of [...diffs].reverse()) apply(diff, '--reverse');
    const polling = read();
    expect(polling).toContain('setInterval');
    expect(polling).not.toContain('shopwire');
    const { status, stdout } = spawnSync('node', ['node_modules/typescript/bin/tsc', '--noEmit', '--incremental', 'false'], { cwd: place, encoding: 'utf8' });
    expect([stdout, status]).toEqual(['', 0]);
    for (const diff of diffs) apply(diff);
    expect(read()).toBe(live);
  } finally {
    rmSync(place, { recursive: true });
  }
});
