// README.md's examples in new projects, as `npm create vite` makes them and with the package as it is published: they pass the
// project's own type check and build. Offline: what the project would install is this package's own.

import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { afterAll, beforeAll, expect, test } from 'vitest';

const folder = resolve(import.meta.dirname, '..');
const readme = readFileSync(join(folder, 'README.md'), 'utf8');
/** The first example in a language. */
const example = (language: string) => new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\``, 'm').exec(readme)![1]!;

let place: string;
let packed: string;

beforeAll(() => {
  place = mkdtempSync(join(tmpdir(), 'shopwire-vite-'));
  // Without its scripts: `make client` has built it, and other tests are reading that.
  const name = execFileSync('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', place], { cwd: folder, encoding: 'utf8' });
  packed = join(place, name.trim());
});
afterAll(() => rmSync(place, { recursive: true }));

function newProject(template: string): string {
  const project = join(place, template);
  const create = join(folder, 'node_modules/create-vite/index.js');
  execFileSync('node', [create, template, '--template', template, '--no-interactive'], { cwd: place });
  const modules = join(project, 'node_modules');
  mkdirSync(join(modules, 'shopwire'), { recursive: true });
  execFileSync('tar', ['-xzf', packed, '-C', join(modules, 'shopwire'), '--strip-components', '1']);
  for (const name of ['.bin', '@types', 'react', 'react-dom', 'typescript', 'vite']) symlinkSync(join(folder, 'node_modules', name), join(modules, name));
  return project;
}

/** Runs the project's own build; returns what it made. */
function build(project: string): string {
  const { status, stdout, stderr } = spawnSync('npm', ['run', 'build'], { cwd: project, encoding: 'utf8' });
  expect(status, stdout + stderr).toBe(0);
  const assets = join(project, 'dist/assets');
  return readdirSync(assets)
    .filter((name) => name.endsWith('.js'))
    .map((name) => readFileSync(join(assets, name), 'utf8'))
    .join();
}

test('the first example is checked and built in a new project', () => {
  const project = newProject('vanilla-ts');
  writeFileSync(join(project, 'src/main.ts'), example('ts'));
  const code = build(project);
  expect(code).toContain('PASTE THE TOKEN HERE');
  expect(code).toContain('shopwire.v1');
});

test('the line that installs it works as it stands, with the build that goes before packing', () => {
  const line = /^npm install .*npm pack.*$/m.exec(readme)![0];
  const root = mkdtempSync(join(place, 'install-'));
  const source = join(root, 'shopwire/client');
  for (const name of ['package.json', 'README.md', 'src', 'style.css', 'tsconfig.json', 'tsconfig.build.json']) {
    cpSync(join(folder, name), join(source, name), { recursive: true });
  }
  symlinkSync(join(folder, 'node_modules'), join(source, 'node_modules'));
  const shop = join(root, 'shop');
  mkdirSync(shop);
  writeFileSync(join(shop, 'package.json'), '{"private":true}');
  // Whoever runs the tests by npm may have asked it for less.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_config_')));
  const { status, stdout, stderr } = spawnSync('sh', ['-c', line], { cwd: shop, encoding: 'utf8', env: { ...env, npm_config_offline: 'true' } });
  expect(status, stdout + stderr).toBe(0);
  expect(existsSync(join(shop, 'node_modules/shopwire/dist/index.js'))).toBe(true);
});

test('an example that is wrong is refused', () => {
  const project = newProject('vanilla');
  writeFileSync(join(project, 'main.ts'), example('ts').replace('customerName', 'customersName'));
  const compile = ['--noEmit', '--module', 'esnext', '--moduleResolution', 'bundler', '--target', 'es2023', '--skipLibCheck', 'main.ts'];
  const { status, stdout } = spawnSync(join(project, 'node_modules/.bin/tsc'), compile, { cwd: project, encoding: 'utf8' });
  expect(stdout).toContain("'customersName' does not exist");
  expect(status).not.toBe(0);
});

test('the React example is checked and built in a new project', () => {
  const project = newProject('react-ts');
  // Its plugin is for hot reloading.
  writeFileSync(join(project, 'vite.config.ts'), 'export default {};\n');
  writeFileSync(join(project, 'src/App.tsx'), example('tsx'));
  expect(build(project)).toContain('shopwire.v1');
});
