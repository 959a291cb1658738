// @vitest-environment happy-dom
// README.md: its first example as a reader would paste it, and all its examples by the compiler.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { build } from 'esbuild';
import { afterEach, expect, test, vi } from 'vitest';
import WebSocket from 'ws';

import { order, Server, token, until } from './server.js';

const folder = resolve(import.meta.dirname, '..');
const blocks = [...readFileSync(join(folder, 'README.md'), 'utf8').matchAll(/^```(tsx?)\n([^]*?)^```/gm)];

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
  vi.unstubAllGlobals();
});

test('the first example shows an order', async () => {
  const server = await Server.start();
  ends.push(() => server.stop());
  const example = blocks[0]![2]!;
  const adapted = example.replace('ws://127.0.0.1:3001/api/ws', server.url).replace('PASTE THE TOKEN HERE', token('ann', 'admin'));
  expect(adapted).toContain(server.url);
  const { outputFiles } = await build({
    stdin: { contents: adapted, resolveDir: folder, loader: 'ts' },
    alias: { shopwire: join(folder, 'src/index.ts') },
    bundle: true,
    format: 'iife',
    write: false,
  });
  const said = vi.spyOn(console, 'log').mockImplementation(() => {});
  vi.stubGlobal('WebSocket', WebSocket);
  new Function(outputFiles[0]!.text)();
  await until('it is connected', () => said.mock.calls.some(([status]) => status === 'connected'));
  await server.emitter().emit('order:created', order('o-1'));
  await until('it shows the order', () => document.body.textContent === 'Ada ordered for 12.5');
});

test('every example compiles', () => {
  // In this folder, where the package's own name leads to what was built.
  const place = mkdtempSync(join(folder, 'dist', 'examples-'));
  ends.push(() => rmSync(place, { recursive: true }));
  const files = blocks.map(([, extension, code], index) => {
    const file = join(place, `example-${index}.${extension}`);
    // The stylesheet has no types.
    writeFileSync(file, code!.replace("import 'shopwire/style.css';\n", ''));
    return file;
  });
  expect(files.length).toBeGreaterThan(5);
  const project = join(place, 'tsconfig.json');
  writeFileSync(project, JSON.stringify({ extends: '../../tsconfig.json', compilerOptions: { noUnusedLocals: false }, files, include: [] }));
  const { status, stdout } = spawnSync('node', [join(folder, 'node_modules/typescript/bin/tsc'), '--project', project], { encoding: 'utf8' });
  expect(stdout).toBe('');
  expect(status).toBe(0);
});
