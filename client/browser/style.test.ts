// The components' looks as an app's bundler hands them on.

import { readFileSync } from 'node:fs';

import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { launch } from './browser.js';

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

/** `light-dark()` as Lightning CSS writes it for browsers that do not know it. */
const lowered = readFileSync(new URL('../style.css', import.meta.url), 'utf8').replace(
  /light-dark\(([^,()]+), ([^,()]+)\)/g,
  'var(--lightningcss-light,$1) var(--lightningcss-dark,$2)',
);
/** What it makes of a page's `color-scheme: dark`. */
const DARK = '@layer base { html { --lightningcss-light: ; --lightningcss-dark: initial; color-scheme: dark } }';

test.each([
  ['a page that says nothing of its colours', '', 'rgb(138, 90, 0)'],
  ['a dark page', DARK, 'rgb(240, 184, 74)'],
])('colours hold where a bundler has lowered them: %s', async (_, own, expected) => {
  expect(lowered).not.toContain('light-dark(#');
  const page = await browser.newPage();
  await page.setContent(`<style>${own}</style><style>${lowered}</style>
    <span class="shopwire-badge" data-status="pending"><span class="shopwire-status">Pending</span></span>`);
  const looks = await page.locator('.shopwire-status').evaluate((badge) => {
    const { color, borderTopStyle } = getComputedStyle(badge);
    return [color, borderTopStyle];
  });
  expect(looks).toEqual([expected, 'solid']);
  await page.close();
});
