// Debian's chromium on the live page of a real server.

import { existsSync } from 'node:fs';

import { chromium, type Browser, type BrowserContextOptions, type Locator, type Page } from 'playwright-core';

const PROGRAM = process.env.CHROMIUM ?? '/usr/bin/chromium';

export function launch(args: string[] = []): Promise<Browser> {
  if (!existsSync(PROGRAM)) throw new Error(`there is no browser at ${PROGRAM}: \`make browser\` installs it, or name one in CHROMIUM`);
  return chromium.launch({ executablePath: PROGRAM, args });
}

/** A page, and what went wrong on it. */
export interface Opened {
  page: Page;
  /** Errors of scripts, and violations of the content policy. */
  faults: string[];
  /** Addresses of the WebSockets that it opened. */
  sockets: string[];
}

export async function open(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Opened> {
  const context = await browser.newContext({ locale: 'en', ...options });
  return openIn(await context.newPage(), url);
}

export async function openIn(page: Page, url: string): Promise<Opened> {
  const opened: Opened = { page, faults: [], sockets: [] };
  page.on('pageerror', (error) => opened.faults.push(String(error)));
  page.on('console', (message) => {
    // A server that is gone is no fault of the page; the browser reports it all the same.
    const text = message.text();
    if (message.type() === 'error' && !/Failed to load resource|WebSocket connection/.test(text)) opened.faults.push(text);
  });
  page.on('dialog', (dialog) => {
    opened.faults.push(`a dialog says ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('websocket', (socket) => opened.sockets.push(socket.url()));
  await page.goto(url);
  return opened;
}

/** Where the page says that it stands. */
export const pill = (page: Page): Locator => page.locator('.pill');

export const live = (page: Page): Promise<void> => page.locator('.pill[data-status=connected]').waitFor();

/** Whose orders the ticker shows, newest first. */
export const sales = (page: Page): Promise<string[]> => page.locator('.ticker li > span').allTextContents();

/** Waits until a figure says so, in its number or its note: it follows the events in steps. */
export const figure = (page: Page, label: string, text: string): Promise<void> =>
  page.locator('.figure').filter({ hasText: label }).filter({ hasText: text }).waitFor();

/** Asks until it holds; says what did not if the time is over. */
export async function eventually(what: string, holds: () => Promise<boolean>, seconds = 20): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
