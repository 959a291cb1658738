import { configDefaults, defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.{ts,tsx}'],
    // They install and build apps: `make examples`.
    exclude: [...configDefaults.exclude, ...(process.env.SHOPWIRE_EXAMPLES ? [] : ['test/examples/**'])],
    // For a server that has to start on a busy machine; nothing waits for that long.
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
