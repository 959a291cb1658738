// The live page over https and its connection over wss, with a certificate that an authority of the test's own has signed.

import { execFileSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';

import { order, Server } from '../test/server.js';
import { eventually, launch, live, open, sales } from './browser.js';

const folder = mkdtempSync(join(tmpdir(), 'shopwire-tls-'));
const at = (name: string) => join(folder, name);
const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc', '-days', '2'];

/** An authority, and the chain and key of a server for 127.0.0.1. */
function authority(name: string): void {
  openssl('req', '-x509', ...NEW_KEY, '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.pem`);
  writeFileSync(at('leaf.cnf'), 'subjectAltName = IP:127.0.0.1\nbasicConstraints = CA:FALSE\nextendedKeyUsage = serverAuth\n');
  openssl('req', ...NEW_KEY, '-subj', '/CN=127.0.0.1', '-keyout', `${name}-server.key`, '-out', 'leaf.csr');
  openssl('x509', '-req', '-in', 'leaf.csr', '-CA', `${name}.pem`, '-CAkey', `${name}.key`, '-days', '2', '-extfile', 'leaf.cnf', '-out', 'leaf.pem');
  writeFileSync(at(`${name}-chain.pem`), readFileSync(at('leaf.pem'), 'utf8') + readFileSync(at(`${name}.pem`), 'utf8'));
}

/** How Chromium names a key that it is to trust. */
function spki(name: string): string {
  const key = new X509Certificate(readFileSync(at(`${name}.pem`))).publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(key).digest('base64');
}

let browser: Browser;
beforeAll(async () => {
  authority('ours');
  authority('other');
  browser = await launch([`--ignore-certificate-errors-spki-list=${spki('ours')}`]);
});
afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true });
});

let server: Server;
const serve = async (name: string) => {
  server = await Server.start({}, ['--dev', '--tls-cert', at(`${name}-chain.pem`), '--tls-key', at(`${name}-server.key`)]);
  return server.url.replace('wss:', 'https:').replace('/api/ws', '/');
};
afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
  await server.stop();
});

/** What becomes of a WebSocket that a page's script opens. */
const attempt = (page: Page): Promise<string> =>
  page.evaluate(
    (url) =>
      new Promise<string>((resolve) => {
        const socket = new WebSocket(url);
        socket.onopen = () => resolve('open');
        socket.onclose = ({ code }) => resolve(`closed ${code}`);
      }),
    server.url,
  );

test('the page is loaded and connects over TLS, and events arrive', async () => {
  const url = await serve('ours');
  expect(server.url).toMatch(/^wss:/);
  const { page, faults, sockets } = await open(browser, url);
  await live(page);
  const emitter = server.emitter();
  await emitter.emit('order:created', order('o-1'));
  await eventually('the ticker shows the order', async () => String(await sales(page)) === 'Ada');
  emitter.close();
  expect([...new Set(sockets)]).toEqual([server.url]);
  expect(faults).toEqual([]);
});

test('a page of another origin is refused, over the same TLS', async () => {
  const url = await serve('ours');
  const own = await open(browser, url);
  await live(own.page);
  expect(await attempt(own.page)).toBe('open');
  const context = await browser.newContext();
  const foreign = await context.newPage();
  const page = { contentType: 'text/html', body: '<!doctype html><title>elsewhere</title>' };
  await foreign.route('https://elsewhere.example/', (route) => route.fulfill(page));
  await foreign.goto('https://elsewhere.example/');
  expect(await attempt(foreign)).toBe('closed 1006');
});

test('a certificate of an authority that the browser does not know is refused', async () => {
  const url = await serve('other');
  await expect(open(browser, url)).rejects.toThrow('ERR_CERT_AUTHORITY_INVALID');
});
