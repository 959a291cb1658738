// What the package brings along.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

import { expect, test } from 'vitest';

const folder = resolve(import.meta.dirname, '..');

test('the package holds its license, the same as the repository, and none of its sources', () => {
  const told = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: folder, encoding: 'utf8' });
  const paths: string[] = JSON.parse(told)[0].files.map(({ path }: { path: string }) => path);
  expect(paths.filter((path) => !path.startsWith('dist/')).sort()).toEqual(['LICENSE', 'README.md', 'package.json', 'style.css']);
  expect(readFileSync(resolve(folder, 'LICENSE'), 'utf8')).toBe(readFileSync(resolve(folder, '../LICENSE'), 'utf8'));
});
