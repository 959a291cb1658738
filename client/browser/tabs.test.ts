// Tabs that share a connection, in a browser: with its own locks and channels, and tabs that it closes.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { build } from 'vite';

import type { Emitter } from '../src/emitter.js';
import { order, Server } from '../test/server.js';
import { eventually, launch, openIn, type Opened } from './browser.js';

let browser: Browser;
let script: { body: Buffer; contentType: string };
beforeAll(async () => {
  const outDir = mkdtempSync(join(tmpdir(), 'shopwire-tabs-'));
  const lib = { entry: join(import.meta.dirname, 'tabs-page.ts'), formats: ['es' as const], fileName: 'page' };
  await build({ configFile: false, logLevel: 'error', build: { outDir, lib, target: 'es2022' } });
  script = { body: readFileSync(join(outDir, 'page.js')), contentType: 'text/javascript' };
  rmSync(outDir, { recursive: true });
  browser = await launch();
});
afterAll(() => browser?.close());

let server: Server;
let emitter: Emitter;
let context: BrowserContext;
beforeEach(async () => {
  server = await Server.start({}, ['--dev']);
  emitter = server.emitter();
  context = await browser.newContext();
  await context.route('**/page/page.js', (route) => route.fulfill(script));
});
afterEach(async () => {
  await context.close();
  emitter.close();
  await server.stop();
});

async function tab(): Promise<Opened> {
  const opened = await openIn(await context.newPage(), server.url.replace('ws:', 'http:').replace('/api/ws', '/'));
  await isLive(opened.page);
  return opened;
}

const isLive = (page: Page): Promise<void> => page.locator('html[data-status=connected]').waitFor({ state: 'attached' });

const emit = (id: string) => emitter.emit('order:created', order(id));

const has = ({ page }: Opened, ids: string[]) =>
  eventually(`a tab has seen ${ids}`, async () => {
    const seen = await page.evaluate(() => (window as unknown as { seen: string[] }).seen);
    return String(seen) === String(ids);
  });

/** The tabs that have opened a connection themselves. */
const connected = (tabs: Opened[]) => tabs.filter(({ sockets }) => sockets.length > 0);

test('three tabs have one connection, and each sees everything once', async () => {
  const tabs = [await tab(), await tab(), await tab()];
  await emit('one');
  await emit('two');
  for (const each of tabs) await has(each, ['one', 'two']);
  expect(connected(tabs)).toEqual([tabs[0]]);
  expect(tabs[0]!.sockets).toHaveLength(1);
  expect(tabs.flatMap(({ faults }) => faults)).toEqual([]);
});

test('when the tab with the connection is closed another has one, and nothing is missing or there twice', async () => {
  const tabs = [await tab(), await tab(), await tab()];
  await emit('one');
  for (const each of tabs) await has(each, ['one']);
  const [first, ...others] = tabs as [Opened, Opened, Opened];
  // Events go on while the connection changes hands.
  const closing = first.page.close();
  const ids = Array.from({ length: 50 }, (_, index) => `while-${index}`);
  for (const id of ids) await emit(id);
  await closing;
  await emit('last');
  for (const each of others) await has(each, ['one', ...ids, 'last']);
  expect(connected(others)).toHaveLength(1);
  expect(others.flatMap(({ faults }) => faults)).toEqual([]);
});
