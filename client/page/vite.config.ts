// Builds the live page into page/built, which the server's build script embeds: few files with fixed names, each beside itself
// compressed. A file whose content did not change is left alone, so that the server is not built anew for it.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import { defineConfig, type Plugin } from 'vite';

const built = join(import.meta.dirname, 'built');

function write(): Plugin {
  const put = (name: string, bytes: Uint8Array) => {
    const path = join(built, name);
    if (!existsSync(path) || Buffer.compare(readFileSync(path), bytes) !== 0) writeFileSync(path, bytes);
  };
  return {
    name: 'write',
    generateBundle: {
      order: 'post',
      handler(_, bundle) {
        // An image's build has no such folder.
        mkdirSync(built, { recursive: true });
        const icon = join(import.meta.dirname, 'public/icon.svg');
        const files = Object.values(bundle).map((file) => [file.fileName, file.type === 'chunk' ? file.code : file.source] as const);
        for (const [name, content] of [...files, ['icon.svg', readFileSync(icon)] as const]) {
          const bytes = Buffer.from(content);
          put(name, bytes);
          put(`${name}.gz`, gzipSync(bytes, { level: 9 }));
        }
      },
    },
  };
}

export default defineConfig(({ mode }) => ({
  root: import.meta.dirname,
  base: '/page/',
  logLevel: 'warn',
  define: { 'process.env.NODE_ENV': JSON.stringify(mode) },
  build: {
    outDir: built,
    // Written by the plugin below, but for tests, which build elsewhere.
    write: mode !== 'production',
    emptyOutDir: false,
    copyPublicDir: false,
    target: 'es2022',
    modulePreload: false,
    minify: mode === 'production',
    rollupOptions: {
      // `use client` is for other bundlers; the second warning is about where the first one belongs.
      onwarn: (warning, warn) => ['MODULE_LEVEL_DIRECTIVE', 'SOURCEMAP_ERROR'].includes(warning.code ?? '') || warn(warning),
      output: { entryFileNames: 'page.js', assetFileNames: 'page.[ext]' },
    },
  },
  plugins: mode === 'production' ? [write()] : [],
}));
