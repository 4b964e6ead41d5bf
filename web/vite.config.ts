import { defineConfig } from 'vitest/config';

// Where `npm run dev` sends requests of the API: the mock server, or a real one.
const server = process.env.NAGAYA_URL ?? 'http://127.0.0.1:7780';

export default defineConfig({
  base: './',
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
  build: {
    target: 'es2022',
    outDir: process.env.NAGAYA_WEB_OUT ?? '../build/web',
    emptyOutDir: true,
    // The content security policy allows no data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  server: { proxy: { '/v1': { target: server, ws: true, changeOrigin: false } } },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
