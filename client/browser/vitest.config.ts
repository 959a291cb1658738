import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['browser/*.test.ts'],
    // For a browser that has to start on a busy machine; nothing waits for that long.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
