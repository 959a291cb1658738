// What a page has to load: bundled and minified as an app's build does it, gzipped as its server does it.

import { gzipSync } from 'node:zlib';

import { build } from 'esbuild';
import { expect, test } from 'vitest';

const folder = new URL('..', import.meta.url).pathname;

async function gzipped(code: string): Promise<number> {
  const result = await build({
    stdin: { contents: code, resolveDir: folder, loader: 'ts' },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    jsx: 'automatic',
    external: ['react', 'react/jsx-runtime'],
    write: false,
  });
  return gzipSync(result.outputFiles[0]!.contents, { level: 9 }).length;
}

test('the core is below 4 kB, React below 3 kB more', async () => {
  const core = await gzipped(`export { ShopwireClient } from './src/index.ts';`);
  const reading = await gzipped(`export { ShopwireClient, eventsOf } from './src/index.ts';`);
  const both = await gzipped(`export { ShopwireClient } from './src/index.ts'; export * from './src/react/index.ts';`);
  console.info(`gzipped: core ${core} B, eventsOf ${reading - core} B more, React ${both - core} B more`);
  expect(core).toBeLessThan(4_000);
  expect(reading - core).toBeLessThan(300);
  expect(both - core).toBeLessThan(3_000);
});

test('sharing tabs is below 4.5 kB, and only loaded by who uses it', async () => {
  const core = await gzipped(`export { ShopwireClient } from './src/index.ts';`);
  const both = await gzipped(`export { ShopwireClient } from './src/index.ts'; export { shareTabs } from './src/tabs/index.ts';`);
  console.info(`gzipped: tabs ${both - core} B more`);
  expect(both - core).toBeLessThan(4_500);
});

test('what is not used is not loaded', async () => {
  expect(await gzipped(`import { namespaceOf } from './src/index.ts'; console.log(namespaceOf('order:created'));`)).toBeLessThan(400);
  const hook = await gzipped(`export { useWebSocket, ShopwireProvider } from './src/react/index.ts';`);
  const all = await gzipped(`export * from './src/react/index.ts';`);
  expect(hook).toBeLessThan(all - 1_000);
});
