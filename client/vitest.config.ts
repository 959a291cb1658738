import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.{ts,tsx}'],
    // For a server that has to start on a busy machine; nothing waits for that long.
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
